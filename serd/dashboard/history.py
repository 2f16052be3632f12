"""Past events: those of the journals that can be read, and those seen since the start, as one."""

from __future__ import annotations

import heapq
import logging
from collections import Counter, OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from serd.errors import SerdError
from serd.events.clock import parse_rfc3339
from serd.events.corrections import NOT, CorrectionStore
from serd.events.history import History

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from serd.events.event import Event

_log = logging.getLogger(__name__)

SEEN_MAX: Final = 20_000
"""Events kept in memory, some 25 MB: a day of a hundred rooms with 200 utterances each."""

SCANNED_MAX: Final = 50_000
"""Events, from the latest back, that one timeline is made of."""


class Seen:
    """The latest events that came over MQTT, each once, the oldest given up first."""

    def __init__(self, most: int = SEEN_MAX) -> None:
        self._most = most
        self._events: OrderedDict[str, Event] = OrderedDict()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> None:
        """Keep an event."""
        self._events[event.id] = event
        if len(self._events) > self._most:
            self._events.popitem(last=False)

    def newest_first(self) -> list[Event]:
        """All of them by the time they began, the latest first."""
        return sorted(self._events.values(), key=lambda event: event.started_at, reverse=True)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are wanted."""

    since_ms: int
    """From when on, milliseconds since 1970."""
    until_ms: int
    """Before when."""
    node: str | None = None
    emotions: frozenset[str] = frozenset()
    """Only these; empty means all."""

    def fits(self, event: Event) -> bool:
        """Whether an event is wanted."""
        return (
            self.node in {None, event.node}
            and (not self.emotions or event.emotion in self.emotions)
            and self.since_ms <= parse_rfc3339(event.started_at) < self.until_ms
        )


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Events, the oldest first."""

    events: list[Event]
    truncated: bool
    """Whether there were more, older ones."""


class Bin(msgspec.Struct, kw_only=True):
    """What was heard in a stretch of time."""

    start_ms: int
    count: int = 0
    valence: float = 0.0
    """Mean over the utterances."""
    arousal: float = 0.0
    emotions: dict[str, int] = {}
    """How many utterances of each."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A time in stretches of equal length; those in which nobody spoke are left out."""

    since_ms: int
    until_ms: int
    bin_ms: int
    total: int
    truncated: bool
    bins: list[Bin]


def find(journals: Sequence[Path], seen: Sequence[Event], query: Query, limit: int) -> Found:
    """The latest events that fit. Blocks while it reads.

    Args:
        journals: Files to read; what cannot be read is left out.
        seen: Events in memory, the latest first.
        query: Which are wanted.
        limit: At most this many.
    """
    newest = list(islice(_newest_first(journals, seen, query), limit + 1))
    return Found(events=newest[:limit][::-1], truncated=len(newest) > limit)


def corrections(
    journals: Sequence[Path], events: Sequence[Event], said: Mapping[str, str | None]
) -> dict[str, str]:
    """What people said that events really were. Blocks while it reads.

    Args:
        journals: Files to read; what cannot be read is left out.
        events: Those that are asked about.
        said: What went through this dashboard, by event; it counts where no journal of the event's
            node can be read.

    Returns:
        By the event's id an emotion, or ``not``; events of which nothing was said are left out.
    """
    covered: set[str] = set()
    known: dict[str, str] = {}
    for path in journals:
        try:
            with History(path) as journal:
                covered.update(journal.nodes())
            known |= {one.id: one.emotion or NOT for one in CorrectionStore(path).all()}
        except SerdError as error:
            _log.debug("%s", error)
    found = {event.id: (known if event.node in covered else said).get(event.id) for event in events}
    return {identifier: word for identifier, word in found.items() if word is not None}


def timeline(journals: Sequence[Path], seen: Sequence[Event], query: Query, bins: int) -> Timeline:
    """How a time was, in ``bins`` stretches. Blocks while it reads."""
    bin_ms = max(1000, -(-(query.until_ms - query.since_ms) // bins))
    found: dict[int, Bin] = {}
    counts: dict[int, Counter[str]] = {}
    total = 0
    events = _newest_first(journals, seen, query)
    for event in islice(events, SCANNED_MAX):
        total += 1
        place = (parse_rfc3339(event.started_at) - query.since_ms) // bin_ms
        one = found.get(place)
        if one is None:
            one = found[place] = Bin(start_ms=query.since_ms + place * bin_ms)
            counts[place] = Counter()
        one.count += 1
        one.valence += event.valence
        one.arousal += event.arousal
        counts[place][event.emotion] += 1
    for place, one in found.items():
        one.valence = round(one.valence / one.count, 3)
        one.arousal = round(one.arousal / one.count, 3)
        one.emotions = dict(counts[place])
    return Timeline(
        since_ms=query.since_ms,
        until_ms=query.until_ms,
        bin_ms=bin_ms,
        total=total,
        truncated=next(events, None) is not None,
        bins=[found[place] for place in sorted(found)],
    )


def readable(path: Path) -> SerdError | None:
    """Why a journal cannot be read now; None if it can."""
    try:
        with History(path):
            return None
    except SerdError as error:
        return error


def describe(journals: Sequence[Path], seen: int) -> dict[str, Any]:
    """Where history comes from, for people."""
    return {"seen": seen, "journals": sum(readable(path) is None for path in journals)}


def _newest_first(journals: Sequence[Path], seen: Iterable[Event], query: Query) -> Iterator[Event]:
    opened: list[History] = []
    streams: list[Iterable[Event]] = [(event for event in seen if query.fits(event))]
    try:
        for path in journals:
            try:
                journal = History(path)
            except SerdError as error:
                _log.debug("%s", error)
                continue
            opened.append(journal)
            streams.append(_journalled(journal, query))
        known: set[str] = set()
        for event in heapq.merge(*streams, key=lambda event: event.started_at, reverse=True):
            if event.id not in known:
                known.add(event.id)
                yield event
    finally:
        for journal in opened:
            journal.close()


def _journalled(journal: History, query: Query) -> Iterator[Event]:
    emotions = query.emotions
    only = next(iter(emotions)) if len(emotions) == 1 else None
    try:
        for event in journal.query(
            since_ms=query.since_ms,
            until_ms=query.until_ms,
            node=query.node,
            emotion=only,
            newest_first=True,
        ):
            if not emotions or event.emotion in emotions:
                yield event
    except SerdError as error:  # damaged or deleted under our hands: the rest is still shown
        _log.warning("%s", error)
