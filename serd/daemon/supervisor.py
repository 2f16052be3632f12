"""Supervises the parts of the daemon that must not stop unnoticed, and judges its health.

A part is a thread with a name and a heartbeat. The heartbeat is any value that changes while the
part works, or while it waits for a known reason. The pipeline's changes with every block that it
has received *and processed*, so it stalls when no samples arrive as well as when nothing consumes
them. (The capturing thread belongs to PortAudio; its samples are its only sign of life.)

A stall is measured in checks made, not in time passed: a machine that was suspended, or a process
that was stopped, does not count as hung.

The watchdog, the metrics and ``/healthz`` share one verdict (:class:`Health`). The daemon is
healthy if every part works or waits for a known reason: muted, quiet hours, a microphone that is
missing and retried. It is unhealthy if it is deaf without a reason: no sound arrives, or nothing
processes it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from serd.errors import SerdError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

STALL_S: Final = 10.0
"""After stalling for this long, a part is unhealthy, unless it may take longer."""

CHECK_MAX_S: Final = 2.0
"""The most that one check adds to a stall, however long ago the previous check was."""

RESTART_INTERVAL_S: Final = 3600.0
"""A part that died may be restarted again once it has worked for this long."""


class PartFailedError(SerdError):
    """A part of the daemon hangs, or died and could not be restarted: a bug, exit code 70."""


class Part(Struct, frozen=True, kw_only=True):
    """One thread to supervise."""

    name: str
    """For people."""
    alive: Callable[[], bool]
    """Whether the thread is running."""
    heartbeat: Callable[[], float]
    """A value that changes while it works, or waits for a known reason."""
    timeout_s: float
    """After stalling for this long, it counts as hung."""
    unwell_s: float | None = None
    """After stalling for this long, it is unhealthy, and the watchdog is no longer fed; None:
    `STALL_S`."""
    restart: Callable[[], bool] | None = None
    """Starts it again after its thread has ended; returns whether that was possible."""


class Standstill(Struct, frozen=True, kw_only=True):
    """How long a part has stalled, as far as the supervisor has seen."""

    name: str
    seconds: float
    well: bool
    """Whether that is still acceptable."""


class _Watched:
    __slots__ = ("beat", "part", "restarted_at", "still_s")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.beat = part.heartbeat()
        self.still_s = 0.0
        self.restarted_at: float | None = None

    @property
    def well(self) -> bool:
        unwell_s = STALL_S if self.part.unwell_s is None else self.part.unwell_s
        return self.still_s < min(unwell_s, self.part.timeout_s)


class Supervisor:
    """Checks on parts and restarts those that died.

    Args:
        parts: What to supervise.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, parts: Sequence[Part], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._watched = [_Watched(part) for part in parts]
        self._clock = clock
        self._looked_at = clock()
        self.restarts = 0
        """Number of parts restarted."""

    def look(self) -> bool:
        """Check every part once; call it about every second.

        Returns:
            True if the watchdog may be fed: every part is alive and none has stalled.

        Raises:
            PartFailedError: A part hangs, or died and cannot be restarted.
        """
        now = self._clock()
        seconds = min(now - self._looked_at, CHECK_MAX_S)
        self._looked_at = now
        well = True
        for watched in self._watched:
            well = self._check(watched, now, seconds) and well
        return well

    def standstills(self) -> list[Standstill]:
        """The result of the latest check, and how long ago it was; from any thread.

        The watchdog is fed if and only if all of it is well. The last entry is the main thread,
        which does the checking: if it hangs, the other entries are out of date.
        """
        found = [
            Standstill(name=watched.part.name, seconds=watched.still_s, well=watched.well)
            for watched in self._watched
        ]
        ago = max(0.0, self._clock() - self._looked_at)
        return [*found, Standstill(name="main thread", seconds=ago, well=ago < STALL_S)]

    def _check(self, watched: _Watched, now: float, seconds: float) -> bool:
        part = watched.part
        if not part.alive():
            self._restart(watched, now)
            return True
        beat = part.heartbeat()
        if beat != watched.beat:
            watched.beat, watched.still_s = beat, 0.0
            return True
        watched.still_s += seconds
        if watched.still_s >= part.timeout_s:
            raise PartFailedError(f"the {part.name} hangs: no sign of life for "
                                  f"{watched.still_s:.0f} s")  # fmt: skip
        return watched.well

    def _restart(self, watched: _Watched, now: float) -> None:
        part = watched.part
        recently = watched.restarted_at is not None and (
            now - watched.restarted_at < RESTART_INTERVAL_S
        )
        if recently or part.restart is None or not part.restart():
            raise PartFailedError(f"the {part.name} has died" + (" again" if recently else ""))
        log.error("the %s had died and was started again", part.name)
        self.restarts += 1
        watched.restarted_at, watched.still_s = now, 0.0


class NodeHealth(Struct, frozen=True, kw_only=True):
    """The state of one node."""

    state: str
    """starting, listening, dead, muted, quiet, waiting, ended or stopped."""
    said: str
    """The same in words, with what is wrong."""
    trouble: str | None
    """What is wrong with its microphone, the journal or its broker; null if nothing is."""
    connected: bool
    """Whether it is connected to its broker."""


class Health(Struct, frozen=True, kw_only=True):
    """The state of the daemon; the body of ``/healthz``."""

    status: str
    """``ok``, ``starting``, or what is wrong."""
    nodes: dict[str, NodeHealth]
    """By name."""
    parts: list[Standstill]
    """For each part, how long it has stalled."""

    @property
    def well(self) -> bool:
        """Whether the watchdog may be fed."""
        return self.status == "ok"
