"""Watches over the parts of the daemon that must not stop quietly.

A part is a thread with a name and a heartbeat. The heartbeat is any value that moves on while the
part does its work, or while it waits and knows why: the pipeline's moves with every block that it
has taken *and worked on*, so it stands still when no samples arrive as well as when nobody consumes
them. (The thread that captures is PortAudio's and has no other sign of life than its samples.)

How long a part stands still is counted in looks that were taken at it, not in time that has passed:
a machine that was suspended, or a process that was stopped, is not taken for a part that hangs.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from serd.errors import SerdError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

QUIET_S: Final = 10.0
"""A part that has stood still for so long no longer vouches for the daemon."""

LOOK_S: Final = 2.0
"""The most that one look counts for, however long ago the last one was."""

FORGIVEN_S: Final = 3600.0
"""A part that has worked for so long since it was restarted may be restarted again."""


class PartFailedError(SerdError):
    """A part of the daemon died or hangs, and could not be brought back: a bug, exit code 70."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must go on."""

    name: str
    """For people."""
    alive: Callable[[], bool]
    """Whether its thread runs."""
    heartbeat: Callable[[], float]
    """A value that moves on while it works, or knowingly waits."""
    patience_s: float
    """Standing still for so long is hanging."""
    restart: Callable[[], bool] | None = None
    """Starts it again after its thread has ended; says whether that is possible."""


class _Watched:
    __slots__ = ("beat", "part", "restarted_at", "still_s")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.beat = part.heartbeat()
        self.still_s = 0.0
        self.restarted_at: float | None = None


class Supervisor:
    """Looks after parts; its own heartbeat is the service manager's watchdog.

    Args:
        parts: What to look after.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, parts: Sequence[Part], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._watched = [_Watched(part) for part in parts]
        self._clock = clock
        self._looked_at = clock()
        self.restarts = 0
        """Parts that were started again."""

    def look(self) -> bool:
        """Look after every part once; call it about every second.

        Returns:
            Whether the watchdog may be fed: every part lives, and none stands still.

        Raises:
            PartFailedError: A part hangs, or has died and cannot be started again.
        """
        now = self._clock()
        seconds = min(now - self._looked_at, LOOK_S)
        self._looked_at = now
        well = True
        for watched in self._watched:
            well = self._look_at(watched, now, seconds) and well
        return well

    def _look_at(self, watched: _Watched, now: float, seconds: float) -> bool:
        part = watched.part
        if not part.alive():
            self._restart(watched, now)
            return True
        beat = part.heartbeat()
        if beat != watched.beat:
            watched.beat, watched.still_s = beat, 0.0
            return True
        watched.still_s += seconds
        if watched.still_s >= part.patience_s:
            raise PartFailedError(f"the {part.name} hangs: no sign of life for "
                                  f"{watched.still_s:.0f} s")  # fmt: skip
        return watched.still_s < min(QUIET_S, part.patience_s)

    def _restart(self, watched: _Watched, now: float) -> None:
        part = watched.part
        recently = watched.restarted_at is not None and now - watched.restarted_at < FORGIVEN_S
        if recently or part.restart is None or not part.restart():
            raise PartFailedError(f"the {part.name} has died" + (" again" if recently else ""))
        log.error("the %s had died and was started again", part.name)
        self.restarts += 1
        watched.restarted_at, watched.still_s = now, 0.0
