"""A thousand simulated nodes on one broker: loss, latency and cost.

``python -m benchmarks.fleet`` runs them on loopback; ``report`` writes the table of docs/fleet.md.
"""
