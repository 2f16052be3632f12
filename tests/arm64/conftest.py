"""Skips everything here but for ``make test-arm64``: it needs root and emulates a machine."""

from __future__ import annotations

import os

import pytest

VARIABLE = "SERD_ARM64"
"""Set by ``make test-arm64``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, or end at once with a plain reason, what cannot run here."""
    wanted = bool(os.environ.get(VARIABLE))
    skip = pytest.mark.skip(reason="make test-arm64 runs these, as root")
    for item in items:
        if item.get_closest_marker("arm64") and not wanted:
            item.add_marker(skip)
    if wanted and os.geteuid() != 0:
        pytest.exit("make test-arm64 installs in a Debian root: sudo make test-arm64", 77)
