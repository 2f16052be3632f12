from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.errors import UnavailableError
from serd.events.history import History
from serd.events.journal import Journal
from serd.events.retention import Pruned
from tests.events.making import START_MS, ManualClock, event

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def kept(path: Path, node: str = "kitchen") -> list[int]:
    with History(path) as history:
        return [e.seq for e in history.query(node=node)]


def daily(count: int, node: str = "kitchen") -> list[int]:
    return [START_MS + day * DAY * 1000 for day in range(count)]


def filled(path: Path, days: int, acked: int, node: str = "kitchen") -> tuple[Journal, ManualClock]:
    manual = ManualClock(wall=START_MS / 1000 + days * DAY)
    journal = Journal(path, clock=manual.clock)
    for day, moment in enumerate(daily(days)):
        journal.append(event(day, node=node, started_ms=moment))
    if acked:
        journal.ack(node, acked)
    return journal, manual


def test_events_older_than_keep_days_are_deleted(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=10)
    with journal:
        assert journal.prune(keep_days=4, max_events=100) == Pruned(
            removed=6, dropped=0, more=False
        )
        assert kept(path) == [7, 8, 9, 10]
        assert journal.prune(keep_days=4, max_events=100).removed == 0
        assert journal.dropped.total() == 0


def test_events_above_max_events_are_deleted(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=10)
    with journal:
        assert journal.prune(keep_days=100, max_events=3).removed == 7
        assert kept(path) == [8, 9, 10]


def test_the_newest_event_is_kept_so_that_its_number_is_not_reused(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=10)
    with journal:
        assert journal.prune(keep_days=0, max_events=0).removed == 9
        assert kept(path) == [10]
        assert journal.prune(keep_days=0, max_events=0) == Pruned(removed=0, dropped=0, more=False)
    with Journal(path) as again:
        assert again.append(event()).seq == 11


def test_acknowledged_events_are_deleted_before_waiting_ones(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=4)
    with journal:
        assert journal.prune(keep_days=100, max_events=6) == Pruned(
            removed=4, dropped=0, more=False
        )
        assert journal.waiting("kitchen") == 6
        assert journal.prune(keep_days=100, max_events=5) == Pruned(
            removed=1, dropped=1, more=False
        )
        assert journal.waiting("kitchen") == 5
        assert journal.dropped.total() == 1
        assert [e.seq for e in journal.unacked("kitchen")] == kept(path) == [6, 7, 8, 9, 10]


def test_events_waiting_for_the_broker_never_expire(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=2)
    with journal:
        assert journal.prune(keep_days=4, max_events=100) == Pruned(
            removed=2, dropped=0, more=False
        )
        assert journal.waiting("kitchen") == 8


def test_one_call_deletes_a_bounded_number_of_events(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=10)
    with journal:
        steps = [journal.prune(keep_days=0, max_events=0, limit=4) for _ in range(4)]
        assert [s.removed for s in steps] == [4, 4, 1, 0]
        assert [s.more for s in steps] == [True, True, False, False]


def test_across_nodes_acknowledged_events_are_deleted_first_then_the_oldest(path: Path) -> None:
    journal, _ = filled(path, days=5, acked=5, node="hall")
    with journal:
        for day in range(5):
            journal.append(event(day, node="attic", started_ms=START_MS + day - DAY * 1000))
        assert journal.prune(keep_days=100, max_events=7) == Pruned(
            removed=3, dropped=0, more=False
        )
        assert kept(path, "hall") == [4, 5]
        assert journal.prune(keep_days=100, max_events=4) == Pruned(
            removed=3, dropped=2, more=False
        )
        assert (kept(path, "hall"), kept(path, "attic")) == ([5], [3, 4, 5])


def test_a_wrongly_dated_event_does_not_keep_older_ones_alive(path: Path) -> None:
    """Whether the date is days or a year ahead, or in 1970: the other events expire on time."""
    now = START_MS / 1000 + 10 * DAY
    for first in (9, 400, -30_000):
        with Journal(path, clock=ManualClock(wall=now).clock) as journal:
            for day in (first, 1, first, 2, 8, 9):
                journal.append(event(started_ms=max(0, START_MS + day * DAY * 1000)))
            head = journal.last_seq("kitchen")
            journal.ack("kitchen", head)
            journal.prune(keep_days=5, max_events=100)
            assert kept(path) == [head - 1, head]
            journal.prune(keep_days=0, max_events=100)
            assert kept(path) == [head]


def test_events_dated_in_the_future_are_not_deleted_for_their_age(path: Path) -> None:
    with Journal(path, clock=ManualClock(wall=START_MS / 1000).clock) as journal:
        for day in (9000, 9001, 9002):
            journal.append(event(started_ms=START_MS + day * DAY * 1000))
        journal.ack("kitchen", 3)
        assert journal.prune(keep_days=1, max_events=100).removed == 0


def count_after_maintenance(path: Path, manual: ManualClock, *, keep_days: int = 30) -> int:
    """Run maintenance twice, a minute apart as in the daemon, and count the remaining events."""
    with Journal(path, clock=manual.clock) as journal:
        journal.maintain(keep_days=keep_days, max_events=1000)
        manual.advance(60)
        journal.maintain(keep_days=keep_days, max_events=1000)
    return len(kept(path))


def test_a_clock_years_ahead_at_startup_deletes_nothing(path: Path) -> None:
    journal, manual = filled(path, days=10, acked=10)
    journal.close()
    right = manual.wall
    manual.wall += 14 * 365 * DAY
    assert count_after_maintenance(path, manual) == 10
    with Journal(path, clock=manual.clock) as journal:  # nor once there are events with such dates
        journal.append(event(started_ms=round(manual.wall * 1000)))
        journal.ack("kitchen", 11)
    assert count_after_maintenance(path, manual) == 11
    assert count_after_maintenance(path, manual) == 11
    manual.wall = right
    assert count_after_maintenance(path, manual) == 11
    manual.wall = right + 35 * DAY  # the machine was off; events that are too old now go
    assert count_after_maintenance(path, manual) < 11


def test_a_clock_that_is_temporarily_ahead_deletes_nothing(path: Path) -> None:
    journal, manual = filled(path, days=10, acked=10)
    with journal:
        journal.maintain(keep_days=30, max_events=100)
        for ahead in (40 * DAY, 40 * DAY, 3650 * DAY):
            manual.wall += ahead
            for _ in range(3):
                journal.maintain(keep_days=30, max_events=100)
                journal.append(event(started_ms=round(manual.wall * 1000)))
                manual.advance(60)
            journal.ack("kitchen", journal.last_seq("kitchen"))
        manual.wall -= 3730 * DAY
        for _ in range(3):
            journal.maintain(keep_days=30, max_events=100)
            manual.advance(60)
        assert len(kept(path)) == 19
        # Events dated years ahead now count as of today, and expire accordingly.
        manual.advance(29 * DAY)
        journal.append(event(started_ms=round(manual.wall * 1000)))
        journal.ack("kitchen", 20)
        journal.maintain(keep_days=30, max_events=100)
        assert kept(path) == list(range(11, 21))
        manual.advance(2 * DAY)
        journal.maintain(keep_days=30, max_events=100)
        assert kept(path) == [20]


def test_events_recorded_while_the_clock_was_behind_do_not_expire_when_it_is_set(
    path: Path,
) -> None:
    """As on a machine without a real-time clock that was off for 40 days."""
    journal, manual = filled(path, days=2, acked=2)
    journal.close()
    with Journal(path, clock=manual.clock) as journal:
        for _ in range(5):
            journal.append(event(started_ms=round(manual.wall * 1000)))
            manual.advance(10)
        journal.ack("kitchen", 7)
        journal.maintain(keep_days=30, max_events=100)
        manual.wall += 40 * DAY
        manual.synchronised = True
        for _ in range(3):
            journal.maintain(keep_days=30, max_events=100)
            manual.advance(60)
        assert kept(path) == [3, 4, 5, 6, 7]
    with Journal(path, clock=manual.clock) as journal:
        journal.maintain(keep_days=30, max_events=100)
        assert kept(path) == [3, 4, 5, 6, 7]
        manual.advance(31 * DAY)
        journal.append(event(started_ms=round(manual.wall * 1000)))
        journal.maintain(keep_days=30, max_events=100)
        assert kept(path) == [8]


def test_a_long_absence_is_trusted_once_the_clock_is_synchronised_or_settled(path: Path) -> None:
    journal, manual = filled(path, days=10, acked=10)
    journal.close()
    manual.advance(1000 * DAY)
    assert count_after_maintenance(path, manual) == 10
    manual.advance(8 * DAY)  # across restarts, too
    assert count_after_maintenance(path, manual) == 1
    journal, manual = filled(path.with_name("other.db"), days=10, acked=10)
    journal.close()
    manual.advance(1000 * DAY)
    manual.synchronised = True
    assert count_after_maintenance(path.with_name("other.db"), manual) == 1


def test_a_clock_set_ahead_before_the_first_maintenance_is_not_trusted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock) as journal:
        for _ in range(3):
            journal.append(event(started_ms=round(manual.wall * 1000)))
        journal.ack("kitchen", 3)
        manual.wall += 10 * 365 * DAY
        journal.append(event(started_ms=round(manual.wall * 1000)))
        journal.maintain(keep_days=30, max_events=100)
        assert "no event is deleted for its age" in caplog.text
        manual.wall -= 10 * 365 * DAY
        journal.maintain(keep_days=30, max_events=100)
        assert kept(path) == [1, 2, 3, 4]


def test_a_failed_deletion_changes_nothing(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=0)
    with journal:
        journal._writer.connection.execute("PRAGMA query_only=ON")
        with pytest.raises(UnavailableError):
            journal.prune(keep_days=0, max_events=0)
        assert journal.waiting("kitchen") == 10
        assert journal.dropped.total() == 0
        journal._writer.connection.execute("PRAGMA query_only=OFF")
        assert journal.prune(keep_days=0, max_events=0).removed == 9


def test_a_deletion_that_fails_halfway_is_rolled_back(path: Path) -> None:
    journal, _ = filled(path, days=10, acked=3)
    with journal:
        writer = journal._writer.connection
        writer.execute(
            "CREATE TEMP TRIGGER refuse BEFORE DELETE ON main.events WHEN old.key & 0xFFFF = 6 "
            "BEGIN SELECT raise(ABORT, 'planted'); END"
        )
        with pytest.raises(UnavailableError, match="planted"):
            journal.prune(keep_days=7, max_events=2)  # 1 to 3 by age, then 4 to 8
        assert journal.waiting("kitchen") == 7
        writer.execute("DROP TRIGGER refuse")
        assert journal.prune(keep_days=7, max_events=2) == Pruned(removed=8, dropped=5, more=False)
        assert kept(path) == [9, 10]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(min_value=1, max_value=5)),
            st.tuples(st.just("ack"), st.integers(min_value=0, max_value=5)),
            st.tuples(st.just("prune"), st.integers(min_value=0, max_value=12)),
            st.tuples(st.just("reopen"), st.just(0)),
        ),
        max_size=25,
    )
)
def test_any_sequence_of_operations_matches_a_simple_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    journal = Journal(path)
    rows: list[int] = []
    last = acked = 0
    for action, n in steps:
        if action == "append":
            for made in journal.append_many([event(i) for i in range(n)]):
                last += 1
                assert made.seq == last
                rows.append(last)
        elif action == "ack" and last:
            acked = max(acked, min(last, acked + n))
            journal.ack("kitchen", acked)
        elif action == "prune":
            gone = rows[: max(0, min(len(rows) - n, len(rows) - 1))]
            rows = rows[len(gone) :]
            pruned = journal.prune(keep_days=1e5, max_events=n)
            assert (pruned.removed, pruned.dropped) == (
                len(gone),
                sum(seq > acked for seq in gone),
            )
        elif action == "reopen":
            journal.close()
            journal = Journal(path)
        waiting = [seq for seq in rows if seq > acked]
        assert [e.seq for e in journal.unacked("kitchen")] == waiting
        assert journal.waiting("kitchen") == len(waiting)
        assert journal.last_seq("kitchen") == last
    journal.close()
    assert kept(path) == rows
