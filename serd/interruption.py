"""Ctrl-C, from the first line of serd to its last: exit code 130, and no traceback.

Before a command begins and after it has ended there is nothing to clean up, so the process leaves
at once. In between, the first Ctrl-C is a ``KeyboardInterrupt``, so that temporary folders go and
the terminal is as it was; the second leaves at once. Commands that run until they are stopped take
the signal themselves (:mod:`serd.daemon.process`).

Only programs use this; whoever imports serd as a library keeps the signals.
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
"""128 + SIGINT, as a shell says it."""

_AGAIN_S: Final = 0.02


def leave_at_once(_number: int = 0, _frame: FrameType | None = None) -> None:
    """End the process without a word; what is in its buffers stays there."""
    os._exit(INTERRUPTED)


def begin() -> None:
    """From now on Ctrl-C leaves at once. For the main thread, before anything is imported."""
    signal.signal(signal.SIGINT, leave_at_once)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While it lasts, the first Ctrl-C is a ``KeyboardInterrupt``."""
    ignored = sys.unraisablehook

    def again(unraisable: Any) -> None:
        # Raised where Python cannot hand it on (a callback from C, a destructor): it would print
        # it and forget it. A moment later it comes where it can be raised.
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
    """While it lasts, Ctrl-C waits; processes started meanwhile never get it at all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
