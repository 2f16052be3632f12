"""Skips everything here but for ``make test-systemd``: it needs root and boots containers."""

from __future__ import annotations

import os

import pytest

VARIABLE = "SERD_SYSTEMD"
"""Set by ``make test-systemd``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, or fail at once with a plain reason, what cannot run here."""
    wanted = bool(os.environ.get(VARIABLE))
    skip = pytest.mark.skip(reason="make test-systemd runs these, as root")
    for item in items:
        if item.get_closest_marker("systemd") and not wanted:
            item.add_marker(skip)
    if wanted and os.geteuid() != 0:
        pytest.exit("make test-systemd boots containers and needs root: sudo make test-systemd", 77)
