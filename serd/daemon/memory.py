"""Keeps the memory of a process that runs for years from growing."""

from __future__ import annotations

import ctypes
import gc
from typing import Any, Final

_trim: Final[Any] = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""malloc_trim(3) of glibc; other C libraries have none."""


def freeze() -> None:
    """Exclude everything allocated during start-up from garbage collection.

    It lives until the end anyway. Without it the little garbage that each connection leaves is
    collected soon, rather than once it amounts to a quarter of what the imports allocated.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def unfreeze() -> None:
    """Undo :func:`freeze` at the end of the process.

    Otherwise native libraries find their objects still alive at exit, and complain on stderr.
    """
    gc.unfreeze()


def release() -> None:
    """Return freed memory to the system. Takes some milliseconds; meant for once a minute.

    Events, journal pages and blocks of sound are allocated in turn, so free memory is scattered
    between what is in use, and the heap would keep growing slowly for days.
    """
    gc.collect()
    if _trim is not None:
        _trim(0)
