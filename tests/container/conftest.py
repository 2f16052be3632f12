"""Skips these tests outside ``make test-container``: they need root, podman and an image."""

from __future__ import annotations

import os

import pytest

from tests.container.container import VARIABLE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests if there is no image."""
    if not os.environ.get(VARIABLE):
        skip = pytest.mark.skip(reason="make test-container runs these, as root")
        for item in items:
            if item.get_closest_marker("container"):
                item.add_marker(skip)
