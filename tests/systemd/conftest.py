"""Skips these tests outside ``make test-systemd``: they need root and boot containers."""

from __future__ import annotations

import os

import pytest

VARIABLE = "SERD_SYSTEMD"
"""Set by ``make test-systemd``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests, or exit with a clear reason if they cannot run here."""
    wanted = bool(os.environ.get(VARIABLE))
    skip = pytest.mark.skip(reason="make test-systemd runs these, as root")
    for item in items:
        if item.get_closest_marker("systemd") and not wanted:
            item.add_marker(skip)
    if wanted and os.geteuid() != 0:
        pytest.exit("make test-systemd boots containers and needs root: sudo make test-systemd", 77)
