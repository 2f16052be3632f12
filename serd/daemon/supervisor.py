"""Watches over the parts of the daemon that must not stop quietly.

A part is a thread with a name and a heartbeat. The heartbeat is any value that moves on while the
part does its work, or while it waits and knows why: the pipeline's moves with every block that it
has taken *and worked on*, so it stands still when no samples arrive as well as when nobody consumes
them. (The thread that captures is PortAudio's and has no other sign of life than its samples.)

How long a part stands still is counted in looks that were taken at it, not in time that has passed:
a machine that was suspended, or a process that was stopped, is not taken for a part that hangs.

The watchdog, the metrics and ``/healthz`` share one verdict (:class:`Health`). The daemon is well
if every part works, or waits for a known reason: muted, quiet hours, a microphone that is missing
and retried. It is not well if it is deaf without a reason: no sound arrives, or nothing
processes it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from serd.errors import SerdError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.daemon.node import Node

log = logging.getLogger(__name__)

QUIET_S: Final = 10.0
"""A part that has stood still for so long no longer vouches for the daemon."""

LOOK_S: Final = 2.0
"""The most that one look counts for, however long ago the last one was."""

FORGIVEN_S: Final = 3600.0
"""A part that has worked for so long since it was restarted may be restarted again."""


class PartFailedError(SerdError):
    """A part of the daemon died or hangs, and could not be brought back: a bug, exit code 70."""


class Part(Struct, frozen=True, kw_only=True):
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


class Standstill(Struct, frozen=True, kw_only=True):
    """How long a part has stood still, as far as the supervisor has seen."""

    name: str
    seconds: float
    well: bool
    """Whether it still vouches for the daemon."""


class _Watched:
    __slots__ = ("beat", "part", "restarted_at", "still_s")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.beat = part.heartbeat()
        self.still_s = 0.0
        self.restarted_at: float | None = None

    @property
    def well(self) -> bool:
        return self.still_s < min(QUIET_S, self.part.patience_s)


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

    def standstills(self) -> list[Standstill]:
        """What the last look has found, and how long ago that was; from any thread.

        The watchdog is fed exactly if all of it is well. The last entry is the one who looks: if
        the main thread hangs, nobody feeds the watchdog, and what the others did last says nothing.
        """
        found = [
            Standstill(name=watched.part.name, seconds=watched.still_s, well=watched.well)
            for watched in self._watched
        ]
        ago = max(0.0, self._clock() - self._looked_at)
        return [*found, Standstill(name="main thread", seconds=ago, well=ago < QUIET_S)]

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
        return watched.well

    def _restart(self, watched: _Watched, now: float) -> None:
        part = watched.part
        recently = watched.restarted_at is not None and now - watched.restarted_at < FORGIVEN_S
        if recently or part.restart is None or not part.restart():
            raise PartFailedError(f"the {part.name} has died" + (" again" if recently else ""))
        log.error("the %s had died and was started again", part.name)
        self.restarts += 1
        watched.restarted_at, watched.still_s = now, 0.0


class NodeHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How one node is."""

    state: str
    """starting, listening, dead, muted, quiet, waiting, ended or stopped."""
    said: str
    """The same in words, with what is wrong."""
    trouble: str | None
    """What is wrong with its microphone, the journal, or what the broker takes of it; or null."""
    connected: bool
    """Whether its broker listens."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon is; the body of ``/healthz``."""

    status: str
    """``ok``, ``starting``, or what is wrong."""
    nodes: dict[str, NodeHealth]
    """By name."""
    parts: list[Standstill]
    """Of every part, how long it has stood still."""

    @property
    def well(self) -> bool:
        """Whether the watchdog may be fed."""
        return self.status == "ok"


def examine(nodes: Sequence[Node], parts: list[Standstill], *, ready: bool) -> Health:
    """Judge.

    Args:
        nodes: All of the daemon.
        parts: The supervisor's findings (:meth:`Supervisor.standstills`).
        ready: Whether every pipeline has begun.
    """
    still = [part for part in parts if not part.well]
    status = "; ".join(f"{part.name}: no sign of life for {part.seconds:.0f} s" for part in still)
    if not status:
        status = "ok" if ready else "starting"
    return Health(
        status=status,
        nodes={
            node.name: NodeHealth(
                state=node.state,
                said=node.sentence(),
                trouble=node.trouble,
                connected=node.publisher.connected,
            )
            for node in nodes
        },
        parts=parts,
    )
