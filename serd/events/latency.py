"""How long each event took to its first hand-over, kept until the journal writes it into its row.

The latency of an event is only known after its row was synced to the disk. A second commit would
double the wear, so the row learns it with the next write. Until then a small file beside the
journal (``JOURNAL-latency``) holds it in the system's cache: after ``kill -9`` the next process
finds it there, and sends the event again with the same bytes.
"""

from __future__ import annotations

import logging
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID

from serd.events.clock import Clock, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from serd.events.event import Event

log = logging.getLogger(__name__)

Key = tuple[str, int]
"""Node and ``seq``."""

SLOTS: Final = 128
"""Latencies in the file, which is a ring: 4 kB, one page."""

_SLOT: Final = struct.Struct("<q16sd")
_ARRIVALS_KEPT: Final = 4096


class Latencies:
    """Measures latencies and holds them for the journal. The caller holds a lock.

    Args:
        journal: The journal's path.
        clock: Both clocks.
    """

    def __init__(self, journal: Path, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: dict[Key, float] = {}
        self._next_slot = 0
        self._file = -1
        self.unwritten: dict[Key, float] = {}
        """Latencies that the journal has not written yet, in ms."""
        try:
            path = journal.with_name(journal.name + "-latency")
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("%s cannot be opened: %s", path, error.strerror)

    def close(self) -> None:
        """Close the file. Latencies measured afterwards stay in memory."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1  # else a late write would go to whatever file gets this number next

    def arrived(self, events: Iterable[Event], moments: Iterable[float]) -> None:
        """Note when the last samples of events arrived (monotonic seconds), one moment for each."""
        for event, moment in zip(events, moments, strict=True):
            self._arrivals[event.node, event.seq] = moment
        while len(self._arrivals) > _ARRIVALS_KEPT:  # a long outage: the wall clock will do
            del self._arrivals[next(iter(self._arrivals))]

    def unmeasured(self, key: Key) -> bool:
        """Whether an event was appended by this process and not handed over yet."""
        return key in self._arrivals

    def measure(self, event: Event, row: int, moment: float | None) -> float:
        """Measure the latency of an event that is handed over.

        Args:
            event: The event.
            row: Its key in the journal.
            moment: When it is handed over (monotonic seconds); None: now.

        Returns:
            The latency in ms.
        """
        moment = self._clock.monotonic() if moment is None else moment
        arrived = self._arrivals.pop((event.node, event.seq), None)
        if arrived is not None:
            measured_ms = (moment - arrived) * 1000
        else:  # journalled by an earlier process, whose monotonic clock is gone
            measured_ms = float(self._clock.wall_ms_at(moment) - parse_rfc3339(event.ended_at))
        latency_ms = self.unwritten[event.node, event.seq] = max(0.0, round(measured_ms, 1))
        self._save(row, UUID(event.id).bytes, latency_ms)
        return latency_ms

    def _save(self, row: int, identifier: bytes, latency_ms: float) -> None:
        """Keep a latency for the next process."""
        with suppress(OSError):  # without it, only a crash makes a difference
            os.pwrite(
                self._file, _SLOT.pack(row, identifier, latency_ms), self._next_slot * _SLOT.size
            )
        self._next_slot = (self._next_slot + 1) % SLOTS

    def saved(self) -> Iterator[tuple[int, bytes, float]]:
        """What the last process kept, also of events that are long written or gone.

        Yields:
            Key in the journal, id, and latency in ms.
        """
        with suppress(OSError):
            content = os.pread(self._file, SLOTS * _SLOT.size, 0)
            yield from _SLOT.iter_unpack(content[: len(content) // _SLOT.size * _SLOT.size])
