"""Micro-benchmarks of single parts: ``make bench-micro``. Not run by ``make test``."""
