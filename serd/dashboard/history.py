"""Past events: from the readable journals and from MQTT since the start, merged."""

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

RECENT_MAX: Final = 20_000
"""Events kept in memory, some 25 MB: a day of a hundred nodes with 200 utterances each."""

SCANNED_MAX: Final = 50_000
"""Latest events that one timeline covers at most."""

_KNOWN_MAX: Final = 100_000
"""Ids by which an event of two sources is recognised. It stands at about the same place in both, so
that a download of any length needs no more."""


class RecentEvents:
    """The latest events from MQTT, each once; beyond the limit the oldest are dropped."""

    def __init__(self, most: int = RECENT_MAX) -> None:
        self._most = most
        self._events: OrderedDict[str, Event] = OrderedDict()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> None:
        """Add an event."""
        self._events[event.id] = event
        if len(self._events) > self._most:
            self._events.popitem(last=False)

    def newest_first(self) -> list[Event]:
        """All of them, the latest first."""
        return sorted(self._events.values(), key=lambda event: event.started_at, reverse=True)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of events."""

    since_ms: int
    """Start, milliseconds since 1970."""
    until_ms: int
    """End, exclusive."""
    node: str | None = None
    emotions: frozenset[str] = frozenset()
    """Only these emotions; empty means all."""

    def matches(self, event: Event) -> bool:
        """Whether an event is selected."""
        return (
            self.node in {None, event.node}
            and (not self.emotions or event.emotion in self.emotions)
            and self.since_ms <= parse_rfc3339(event.started_at) < self.until_ms
        )


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """The latest events of a selection, the oldest first."""

    events: list[Event]
    truncated: bool
    """Whether there are more, older ones."""


class Bin(msgspec.Struct, kw_only=True):
    """The utterances of one interval."""

    start_ms: int
    count: int = 0
    valence: float = 0.0
    """Mean over the utterances."""
    arousal: float = 0.0
    emotions: dict[str, int] = {}
    """Number of utterances by emotion."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A period in intervals of equal length, without the empty ones."""

    since_ms: int
    until_ms: int
    bin_ms: int
    total: int
    truncated: bool
    bins: list[Bin]


def find(journals: Sequence[Path], recent: Sequence[Event], query: Query, limit: int) -> EventPage:
    """Find the latest events of a selection. Blocks while it reads.

    Args:
        journals: Files to read; unreadable ones are skipped.
        recent: Events in memory, the latest first.
        query: The selection.
        limit: Maximum number of events.
    """
    newest = list(islice(_merged(journals, recent, query), limit + 1))
    return EventPage(events=newest[:limit][::-1], truncated=len(newest) > limit)


def every(journals: Sequence[Path], recent: Sequence[Event], query: Query) -> Iterator[Event]:
    """All events of a selection, the oldest first, read while they are taken; else as :func:`find`.

    Only a part of them is in memory at a time.
    """
    return _merged(journals, recent[::-1], query, newest_first=False)


def corrections(
    journals: Sequence[Path], events: Sequence[Event], made_here: Mapping[str, str | None]
) -> dict[str, str]:
    """Find the corrections of events. Blocks while it reads.

    Args:
        journals: Files to read; unreadable ones are skipped.
        events: The events.
        made_here: Corrections made in this dashboard, by event; used for nodes whose journal cannot
            be read.

    Returns:
        An emotion or ``not`` by event id, for the events that were corrected.
    """
    journalled_nodes: set[str] = set()
    known: dict[str, str] = {}
    for path in journals:
        try:
            with History(path) as journal:
                journalled_nodes.update(journal.nodes())
            known |= {one.id: one.emotion or NOT for one in CorrectionStore(path).all()}
        except SerdError as error:
            _log.debug("%s", error)
    found = {
        event.id: (known if event.node in journalled_nodes else made_here).get(event.id)
        for event in events
    }
    return {identifier: word for identifier, word in found.items() if word is not None}


def timeline(
    journals: Sequence[Path], recent: Sequence[Event], query: Query, bins: int
) -> Timeline:
    """Summarise a period in ``bins`` intervals. Blocks while it reads."""
    bin_ms = max(1000, -(-(query.until_ms - query.since_ms) // bins))
    found: dict[int, Bin] = {}
    counts: dict[int, Counter[str]] = {}
    total = 0
    events = _merged(journals, recent, query)
    for event in islice(events, SCANNED_MAX):
        total += 1
        place = (parse_rfc3339(event.started_at) - query.since_ms) // bin_ms
        interval = found.get(place)
        if interval is None:
            interval = found[place] = Bin(start_ms=query.since_ms + place * bin_ms)
            counts[place] = Counter()
        interval.count += 1
        interval.valence += event.valence
        interval.arousal += event.arousal
        counts[place][event.emotion] += 1
    for place, interval in found.items():
        interval.valence = round(interval.valence / interval.count, 3)
        interval.arousal = round(interval.arousal / interval.count, 3)
        interval.emotions = dict(counts[place])
    return Timeline(
        since_ms=query.since_ms,
        until_ms=query.until_ms,
        bin_ms=bin_ms,
        total=total,
        truncated=next(events, None) is not None,
        bins=[found[place] for place in sorted(found)],
    )


def why_unreadable(path: Path) -> SerdError | None:
    """Why a journal cannot be read now; None if it can."""
    try:
        with History(path):
            return None
    except SerdError as error:
        return error


def sources(journals: Sequence[Path], recent: int) -> dict[str, Any]:
    """Where history comes from: events in memory, readable journals, and the nodes in these."""
    readable = 0
    nodes: set[str] = set()
    for path in journals:
        try:
            with History(path) as journal:
                nodes.update(journal.nodes())
            readable += 1
        except SerdError as error:
            _log.debug("%s", error)
    return {"seen": recent, "journals": readable, "nodes": sorted(nodes)}


def _merged(
    journals: Sequence[Path], recent: Iterable[Event], query: Query, *, newest_first: bool = True
) -> Iterator[Event]:
    opened: list[History] = []
    streams: list[Iterable[Event]] = [(event for event in recent if query.matches(event))]
    try:
        for path in journals:
            try:
                journal = History(path)
            except SerdError as error:
                _log.debug("%s", error)
                continue
            opened.append(journal)
            streams.append(_journalled(journal, query, newest_first=newest_first))
        known: OrderedDict[str, None] = OrderedDict()
        for event in heapq.merge(*streams, key=lambda one: one.started_at, reverse=newest_first):
            if event.id not in known:
                known[event.id] = None
                if len(known) > _KNOWN_MAX:
                    known.popitem(last=False)
                yield event
    finally:
        for journal in opened:
            journal.close()


def _journalled(journal: History, query: Query, *, newest_first: bool) -> Iterator[Event]:
    emotions = query.emotions
    only = next(iter(emotions)) if len(emotions) == 1 else None
    try:
        for event in journal.query(
            since_ms=query.since_ms,
            until_ms=query.until_ms,
            node=query.node,
            emotion=only,
            newest_first=newest_first,
        ):
            if not emotions or event.emotion in emotions:
                yield event
    except SerdError as error:  # damaged or deleted meanwhile; the rest is still shown
        _log.warning("%s", error)
