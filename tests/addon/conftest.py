"""Skips the slow tests outside ``make test-addon``."""

from __future__ import annotations

import os

import pytest

VARIABLE = "SERD_ADDON"
"""Set by ``make test-addon``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the slow tests."""
    if not os.environ.get(VARIABLE):
        skip = pytest.mark.skip(reason="make test-addon runs these")
        for item in items:
            if item.get_closest_marker("addon"):
                item.add_marker(skip)
