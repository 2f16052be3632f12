"""Keeps the memory of a process that runs for years where it was after an hour."""

from __future__ import annotations

import ctypes
import gc
from typing import Any, Final

_trim: Final[Any] = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""malloc_trim(3) of glibc; other C libraries have none."""


def settle() -> None:
    """Take what start-up left behind out of the collector's sight, for it lives to the end.

    The little garbage of each connection is then found soon, and not only when it has become a
    quarter of all that the imports made.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def unsettle() -> None:
    """Let the collector see everything again, at the end of the process.

    Else native libraries find their objects alive at the exit, and complain on standard error.
    """
    gc.unfreeze()


def give_back() -> None:
    """Return to the system what was freed in the meantime; some milliseconds, once a minute.

    Events, pages of the journal and blocks of sound are allocated in turn, so free memory lies
    scattered between what is in use, and the heap would go on growing slowly for days.
    """
    gc.collect()
    if _trim is not None:
        _trim(0)
