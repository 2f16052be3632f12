"""The process's signals, for whichever daemon is the present one."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from types import FrameType


class Target(Protocol):
    """What can be told to stop or to begin again; both safe in a signal handler."""

    def stop(self) -> None:
        """End soon."""

    def reload(self) -> None:
        """Begin again with a new configuration."""


class Signals:
    """SIGTERM and SIGINT stop, SIGHUP reloads; also while one daemon follows another.

    A context manager for the main thread: while it lasts no such signal ends the process.
    """

    def __init__(self) -> None:
        self._target: Target | None = None
        self._stop = False
        self._before: dict[signal.Signals, Any] = {}

    def send_to(self, target: Target) -> None:
        """From now on this one is told; also of a stop that came before it."""
        self._target = target
        if self._stop:
            target.stop()

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            self._stop = True
            if self._target is not None:
                self._target.stop()
        elif self._target is not None:
            self._target.reload()

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
