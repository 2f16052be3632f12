"""Generators of documentation that is derived from the code: ``python -m tools.docs.NAME``."""
