"""Fixtures shared by all tests."""

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


# Test processes that compile librosa's functions into a shared cache at the same time corrupt it,
# and loading it then crashes. So each process, including each xdist worker, has its own cache.
_numba_cache = tempfile.mkdtemp(prefix="serd-numba-")
os.environ["NUMBA_CACHE_DIR"] = _numba_cache
atexit.register(shutil.rmtree, _numba_cache, ignore_errors=True)

# How long an example takes depends on the load of the machine, not on serd.
settings.register_profile("serd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("serd")


def pytest_configure() -> None:
    """Restore the handling of Ctrl-C if a shell has started the tests in the background.

    Such a shell makes them ignore SIGINT, and the processes that they start would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a network built with TensorFlow."""
    for item in items:
        if "networks" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.tensorflow)
