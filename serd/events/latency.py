"""How long events took from the last sample to the hand-over, until the journal has written it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from serd.events.clock import Clock, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serd.events.event import Event

Key = tuple[str, int]
"""Node and ``seq``."""

_KEPT: Final = 4096


class Latencies:
    """Remembers when utterances arrived and what was measured. The caller holds a lock.

    Args:
        clock: Both clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: dict[Key, float] = {}
        self.stamps: dict[Key, float] = {}
        """Measured, in ms, and not yet in the file."""

    def arrived(self, events: Iterable[Event], moments: Iterable[float]) -> None:
        """Note when the last samples of events arrived (monotonic seconds), one moment for each."""
        for event, moment in zip(events, moments, strict=True):
            self._arrivals[event.node, event.seq] = moment
        while len(self._arrivals) > _KEPT:  # a long outage: the wall clock will do
            del self._arrivals[next(iter(self._arrivals))]

    def unmeasured(self, key: Key) -> bool:
        """Whether an event was appended by this process and not handed over yet."""
        return key in self._arrivals

    def measure(self, event: Event, moment: float | None) -> float:
        """Stamp an event that is handed over at a moment (None: now); in ms."""
        moment = self._clock.monotonic() if moment is None else moment
        arrived = self._arrivals.pop((event.node, event.seq), None)
        if arrived is not None:
            latency_ms = (moment - arrived) * 1000
        else:  # journalled by an earlier process, whose monotonic clock is gone
            latency_ms = float(self._clock.wall_ms_at(moment) - parse_rfc3339(event.ended_at))
        stamp = self.stamps[event.node, event.seq] = max(0.0, round(latency_ms, 1))
        return stamp
