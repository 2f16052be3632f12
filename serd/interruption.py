"""Ctrl-C at any moment: exit code 130, and no traceback.

Before a command starts and after it has ended there is nothing to clean up, so the process exits at
once. In between, the first Ctrl-C raises ``KeyboardInterrupt``, so that temporary folders are
removed and the terminal is restored; the second exits at once. Commands that run until they are
stopped handle the signal themselves (:mod:`serd.daemon.process`).

Only the command line uses this; importing serd as a library changes no signal handler.
:class:`SignalEvent` is for processes that handle their signals themselves.
"""

from __future__ import annotations

import contextlib
import os
import queue
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


class SignalEvent:
    """A :class:`threading.Event` that a signal handler may set.

    The handler runs on the main thread. If it interrupts that thread inside ``Event.wait`` or
    ``Event.clear``, where the event's lock is held, ``Event.set`` waits for the lock for ever.
    """

    def __init__(self) -> None:
        self._set = False
        # Its put() may interrupt its get(), according to the documentation of SimpleQueue.
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        """Whether it has been set since the last :meth:`clear`."""
        return self._set

    def set(self) -> None:
        """Wake whoever waits; from any thread or signal handler."""
        if not self._set:  # bounds the queue
            self._set = True
            self._calls.put(None)

    def clear(self) -> None:
        """Reset; for the thread that waits. It looks at what has changed after this call."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()
        self._set = False

    def wait(self, timeout: float) -> bool:
        """Wait until it is set or ``timeout`` seconds have passed; returns whether it is set."""
        if not self._set:
            with contextlib.suppress(queue.Empty):
                self._calls.get(timeout=timeout)
        return self._set
