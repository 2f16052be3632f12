"""Ctrl-C at any moment: exit code 130, and no traceback.

Before a command starts and after it has ended there is nothing to clean up, so the process exits at
once. In between, the first Ctrl-C raises ``KeyboardInterrupt``, so that temporary folders are
removed and the terminal is restored; the second exits at once. Commands that run until they are
stopped handle the signal themselves (:mod:`serd.daemon.process`).

Only the command line uses this; importing serd as a library changes no signal handler.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""

_AGAIN_S: Final = 0.02


def leave_at_once(_number: int = 0, _frame: FrameType | None = None) -> None:
    """Exit the process silently, without flushing buffers."""
    os._exit(INTERRUPTED)


def begin() -> None:
    """Make Ctrl-C exit at once. For the main thread, before anything is imported."""
    signal.signal(signal.SIGINT, leave_at_once)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the first Ctrl-C raises ``KeyboardInterrupt``."""
    ignored = sys.unraisablehook

    def again(unraisable: Any) -> None:
        # Raised where Python cannot propagate it (a callback from C, a destructor): Python would
        # print and drop it. Sent again a moment later, it is raised where it can propagate.
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            ignored(unraisable)
            return
        signal.signal(signal.SIGINT, interrupt)
        threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, leave_at_once)
        raise KeyboardInterrupt

    sys.unraisablehook = again
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, leave_at_once)
        sys.unraisablehook = ignored


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, Ctrl-C is held back; processes started meanwhile never receive it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
