"""Skips these tests outside ``make test-arm64``: they need root and emulate a machine."""

from __future__ import annotations

import os

import pytest

VARIABLE = "SERD_ARM64"
"""Set by ``make test-arm64``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests, or exit with a clear reason if they cannot run here."""
    wanted = bool(os.environ.get(VARIABLE))
    skip = pytest.mark.skip(reason="make test-arm64 runs these, as root")
    for item in items:
        if item.get_closest_marker("arm64") and not wanted:
            item.add_marker(skip)
    if wanted and os.geteuid() != 0:
        pytest.exit("make test-arm64 installs in a Debian root: sudo make test-arm64", 77)
