"""The daemon as a process: signals, and a new daemon after each reload."""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, Self

from serd.daemon import memory
from serd.daemon.daemon import Daemon
from serd.daemon.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from serd.config.loading import Loaded
    from serd.daemon.daemon import Temporary
    from serd.daemon.event_writer import Entry
    from serd.daemon.node import StartedAt
    from serd.events.event import Event

log = logging.getLogger(__name__)


def run_daemon(
    loaded: Loaded,
    *,
    reload: Callable[[], Loaded] | None = None,
    temporary: Temporary = "recordings",
    started_at: StartedAt = None,
    on_event: Callable[[Event], None] | None = None,
) -> int:
    """Run the daemon until its end, handling signals.

    SIGTERM and SIGINT stop it cleanly. SIGHUP loads the configuration again; if that is invalid,
    the daemon carries on with the old one.

    Args:
        loaded: The initial configuration.
        reload: Loads the configuration again; None: a reload restarts with ``loaded``.
        temporary: See :class:`Daemon`.
        started_at: See :class:`Daemon`.
        on_event: See :class:`Daemon`.

    Returns:
        The exit code: 0.

    Raises:
        SerdError: The daemon could not start, or a part of it failed.
    """
    if reload is None:
        unchanged = loaded

        def reload() -> Loaded:
            return unchanged

    notifier = Notifier()
    unwritten: Sequence[Entry] = ()
    unsaved: Mapping[str, str] = {}
    before: Daemon | None = None
    with ExitStack() as stack:
        stack.callback(memory.unfreeze)
        signals = stack.enter_context(Signals())
        while True:
            daemon = Daemon(
                loaded.config,
                notifier=notifier,
                temporary=temporary,
                started_at=started_at,
                on_event=on_event,
                unwritten=unwritten,
                unsaved=unsaved,
            )
            memory.freeze()
            signals.send_to(daemon)
            if before is not None and before.reload_requested:  # since it loaded this configuration
                daemon.reload()
            before = daemon
            successor = daemon.run(reload)
            if successor is None:
                notifier.close()
                return 0
            loaded, unwritten, unsaved = successor, daemon.unwritten, daemon.unsaved
            log.info("configuration loaded again")


class Target(Protocol):
    """Receives the signals. Both methods are safe in a signal handler."""

    def stop(self) -> None:
        """Stop soon."""

    def reload(self) -> None:
        """Restart with a new configuration soon."""


class Signals:
    """SIGTERM and SIGINT stop the daemon, SIGHUP reloads it; also between two daemons.

    A context manager for the main thread. While it is active none of these signals ends the
    process.
    """

    def __init__(self) -> None:
        self._target: Target | None = None
        self._stop = False
        self._before: dict[signal.Signals, Any] = {}

    def send_to(self, target: Target) -> None:
        """Send signals to this daemon from now on, including a stop that has already come."""
        self._target = target
        if self._stop:
            target.stop()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            self._stop = True
            if self._target is not None:
                self._target.stop()
        elif self._target is not None:
            self._target.reload()

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
