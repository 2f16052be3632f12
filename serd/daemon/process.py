"""The daemon as a process: its signals, and one daemon after another when it is reloaded."""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, Self

from serd.daemon import memory
from serd.daemon.daemon import Daemon
from serd.daemon.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from serd.config.loading import Loaded
    from serd.daemon.daemon import Passing
    from serd.daemon.event_writer import Entry
    from serd.daemon.node import Began
    from serd.events.event import Event

log = logging.getLogger(__name__)


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


def run_daemon(
    loaded: Loaded,
    *,
    reload: Callable[[], Loaded] | None = None,
    passing: Passing = "recordings",
    began: Began = None,
    on_event: Callable[[Event], None] | None = None,
) -> int:
    """Run the daemon as a process: with its signals, until its end.

    SIGTERM and SIGINT end it in good order; SIGHUP loads the configuration again, and goes on with
    the old one if the new one is wrong.

    Args:
        loaded: The configuration to begin with.
        reload: Loads it again.
        passing: See :class:`Daemon`.
        began: Likewise.
        on_event: Likewise.

    Returns:
        The exit code: 0.

    Raises:
        SerdError: It could not start, or a part of it failed.
    """
    notifier = Notifier()
    with ExitStack() as stack:
        stack.callback(memory.unsettle)
        signals = stack.enter_context(Signals())
        unwritten: Sequence[Entry] = ()
        while True:
            fresh: list[Loaded] = []
            daemon = Daemon(
                loaded.config,
                notifier=notifier,
                passing=passing,
                began=began,
                on_event=on_event,
                unwritten=unwritten,
            )
            memory.settle()
            signals.send_to(daemon)
            if not daemon.run(_keeping(reload, fresh)):
                notifier.close()
                return 0
            unwritten = daemon.unwritten
            if fresh:
                loaded = fresh[-1]
                log.info("configuration loaded again")


def _keeping(
    reload: Callable[[], Loaded] | None, kept: list[Loaded]
) -> Callable[[], Loaded] | None:
    """A ``reload`` that also keeps what it gave."""
    if reload is None:
        return None

    def keep() -> Loaded:
        kept.append(reload())
        return kept[-1]

    return keep
