"""Fixtures that every room's tests may use."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests.corpora import corpora
from tests.models import (
    home_model_path,
    network,
    networks,
    six_model_path,
    tiny_info,
    tiny_model_path,
)

__all__ = [
    "corpora",
    "home_model_path",
    "network",
    "networks",
    "six_model_path",
    "tiny_info",
    "tiny_model_path",
]


# Test processes that compiled librosa's functions into one cache at the same time left it damaged,
# and whoever loaded it crashed. So each process, also each of xdist's, has a cache of its own.
_numba_cache = tempfile.mkdtemp(prefix="serd-numba-")
os.environ["NUMBA_CACHE_DIR"] = _numba_cache
atexit.register(shutil.rmtree, _numba_cache, ignore_errors=True)

# How long an example takes says how busy the machine is, and nothing about serd.
settings.register_profile("serd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("serd")


def pytest_configure() -> None:
    """Hear Ctrl-C again where a shell has begun the tests in its background.

    Such a shell has them ignore it, and so would every process that they start to press it in.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a network made by TensorFlow."""
    for item in items:
        if "networks" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.tensorflow)
