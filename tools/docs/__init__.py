"""Makers of the documents that are generated from the code: ``python -m tools.docs.NAME``."""
