"""Journals and live events form one history: each event once, in order, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from serd.dashboard import history
from serd.dashboard.history import Query, RecentEvents, find, timeline
from serd.events.journal import Journal
from tests.dashboard.making import made_day, made_event

if TYPE_CHECKING:
    from pathlib import Path

UNTIL = 1_767_225_600_000
DAY = 86_400_000
WHOLE = Query(since_ms=UNTIL - DAY, until_ms=UNTIL + DAY)


def journalled(path: Path, count: int = 40) -> list[str]:
    with Journal(path) as journal:
        return [event.id for event in journal.append_many(made_day("attic", UNTIL)[:count])]


def test_each_event_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    ids = journalled(path)
    seen = RecentEvents()
    for event in find([path], [], WHOLE, 10).events:  # the same events, received over MQTT too
        seen.add(event)
    new = made_event("hall", 1, UNTIL)
    seen.add(new)
    found = find([path, path, tmp_path / "none.db"], seen.newest_first(), WHOLE, 100)
    assert [event.id for event in found.events] == [*ids, new.id]
    assert not found.truncated
    latest = find([path], seen.newest_first(), WHOLE, 5)
    assert [event.id for event in latest.events] == [*ids[-4:], new.id]
    assert latest.truncated


def test_query_filters(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journalled(path, 60)
    seen = [made_event("hall", 1, UNTIL, "angry", share=0.9)]
    for emotions in ({"calm"}, {"calm", "angry"}, {"angry"}):
        query = replace(WHOLE, emotions=frozenset(emotions))
        found = find([path], seen, query, 1000).events
        assert {event.emotion for event in found} == emotions
    assert {e.node for e in find([path], seen, replace(WHOLE, node="hall"), 9).events} == {"hall"}
    assert not find([path], seen, replace(WHOLE, since_ms=UNTIL + 1), 9).events


def test_a_timeline_counts_every_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.db"
    ids = journalled(path, 400)
    complete = timeline([path], [], WHOLE, 48)
    assert complete.bin_ms == DAY / 24
    assert sum(one.count for one in complete.bins) == complete.total == len(ids)
    assert sum(sum(one.emotions.values()) for one in complete.bins) == len(ids)
    events = find([path], [], WHOLE, 1000).events
    mean = sum(event.valence for event in events) / len(events)
    weighted = sum(one.valence * one.count for one in complete.bins) / len(events)
    assert weighted == pytest.approx(mean, abs=0.001)
    assert not complete.truncated
    monkeypatch.setattr(history, "SCANNED_MAX", 300)
    few = timeline([path], [], WHOLE, 48)
    assert (few.total, few.truncated) == (300, True)
    assert few.bins[-1] == complete.bins[-1]  # the latest events are kept


def test_memory_is_bounded() -> None:
    seen = RecentEvents(most=3)
    events = [made_event("attic", seq, UNTIL + seq) for seq in range(5)]
    for event in [*events, events[4]]:
        seen.add(event)
    assert seen.newest_first() == events[:1:-1]


def test_a_damaged_journal_does_not_hide_other_events(tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"not a journal" * 100)
    assert history.why_unreadable(bad) is not None
    event = made_event("attic", 1, UNTIL)
    assert find([bad], [event], WHOLE, 5).events == [event]
    good = tmp_path / "journal.db"
    journalled(good)
    found = history.sources([bad, good], 1)
    assert found == {"seen": 1, "journals": 1, "nodes": ["attic"]}
