"""How good a model is: metrics, calibration, and what it would do in a home."""
