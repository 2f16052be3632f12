from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from serd.events import database as journal_file
from serd.events import journal as journal_module
from serd.events.event import encode, model_ref
from serd.events.history import History
from serd.events.journal import Journal
from serd.events.rows import INSERT, TABLE, select, to_event, to_row
from tests.events.making import MODEL, ManualClock, event

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def frames(path: Path) -> int:
    """The number of frames in the write-ahead log."""
    log = path.with_name(path.name + "-wal").stat().st_size
    return (log - 32) // (24 + journal_file.PAGE_BYTES)


# ---------------------------------------------------------------------- storage


@settings(max_examples=200)
@given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=0, max_value=10**6))
def test_an_event_round_trips_through_its_row(seed: int, latency: int) -> None:
    corrections = seed if seed % 3 == 0 else None
    made = event(seed, home=seed % 2 == 1, corrections=corrections)
    cut = (UNSET, False, True)[latency % 3]
    latency_ms = latency / 10 if latency else None
    made = msgspec.structs.replace(made, seq=5, latency_ms=latency_ms, cut=cut)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            f"{TABLE} CREATE TABLE nodes (id, name); INSERT INTO nodes VALUES (3, 'kitchen');"
            "CREATE TABLE models (id, name, version, sha256);"
        )
        model = (made.model.name, made.model.version, made.model.sha256)
        connection.execute("INSERT INTO models VALUES (1, ?, ?, ?)", model)
        connection.execute(INSERT, to_row(made, node=3, seq=5, model=1))
        (row,) = connection.execute(select(connection)).fetchall()
    assert to_event(row) == made
    assert encode(to_event(row)) == encode(made)


def test_events_are_numbered_from_one_without_gaps_across_restarts(path: Path) -> None:
    numbers = []
    for start in range(0, 30, 10):
        with Journal(path) as journal:
            numbers += [journal.append(event(start + i)).seq for i in range(10)]
    assert numbers == list(range(1, 31))


def test_appended_events_are_read_back_unchanged(path: Path) -> None:
    with Journal(path) as journal:
        appended = [journal.append(event(i)) for i in range(20)]
        assert journal.unacked("kitchen") == appended
    with Journal(path) as journal:
        assert journal.unacked("kitchen") == appended


def test_each_node_has_its_own_numbering(path: Path) -> None:
    with Journal(path) as journal:
        for i in range(6):
            assert journal.append(event(i, node=("hall", "attic")[i % 2])).seq == 1 + i // 2
        journal.ack("hall", 2)
    with Journal(path) as journal:
        assert journal.nodes() == ["attic", "hall"]
        assert [e.seq for e in journal.unacked("hall")] == [3]
        assert [e.seq for e in journal.unacked("attic")] == [1, 2, 3]
        assert {e.node for e in journal.unacked("attic")} == {"attic"}
        assert journal.append(event(node="attic")).seq == 4


def test_each_model_is_stored_once(path: Path) -> None:
    models = [model_ref("m", str(i % 3), "ab" * 32) for i in range(9)]
    with Journal(path) as journal:
        for i, model in enumerate(models):
            journal.append(event(i, model=model))
    with Journal(path) as journal:
        journal.append(event(9, model=models[0]))
        assert [e.model for e in journal.unacked("kitchen")] == [*models, models[0]]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM models").fetchone() == (3,)
    connection.close()


def test_a_batch_of_events_is_one_transaction(path: Path) -> None:
    with Journal(path) as journal:
        before = journal._writer.commits
        made = journal.append_many([event(i) for i in range(1000)], arrived=[0.0] * 1000)
        assert journal._writer.commits == before + 2  # the unknown node, then its events
        assert [e.seq for e in made] == list(range(1, 1001))
        assert journal.append_many([]) == []
        assert journal.last_seq("kitchen") == journal.waiting("kitchen") == 1000
        with pytest.raises(ValueError, match="2 events, but 1 times"):
            journal.append_many([event(), event()], arrived=[0.0])
        assert journal.last_seq("kitchen") == 1000
        before = journal._writer.commits
        journal.append_many([event(i) for i in range(1000, 1005)], arrived=[0.0] * 5)
        assert journal._writer.commits == before + 1


def test_only_appends_are_synced_to_disk(path: Path) -> None:
    full = 2
    with Journal(path) as journal:
        writer = journal._writer.connection
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer.execute("PRAGMA page_size").fetchone() == (512,)
        journal.append(event())
        actions: list[tuple[bool, Callable[[], object]]] = [
            (True, lambda: journal.append(event())),
            (True, lambda: journal.append_many([event(), event()])),
            (False, lambda: journal.set_meta("mute", "ON")),  # its mark file is
            (False, lambda: journal.hand_over(journal.unacked("kitchen")[0])),
            (False, lambda: journal.ack("kitchen", 1)),
            (False, journal.flush),
            (False, lambda: journal.prune(keep_days=0, max_events=0)),
        ]
        for synced, action in actions:
            statements: list[str] = []
            writer.set_trace_callback(statements.append)
            action()
            writer.set_trace_callback(None)
            assert (
                "PRAGMA synchronous=NORMAL" not in statements
            ) == synced or "COMMIT" not in statements
            assert writer.execute("PRAGMA synchronous").fetchone() == (full,)


# ---------------------------------------------------------------------- acknowledgements


def test_unacknowledged_events_are_returned_in_order(path: Path) -> None:
    with Journal(path) as journal:
        for i in range(10):
            journal.append(event(i))
        journal.ack("kitchen", 4)
        assert [e.seq for e in journal.unacked("kitchen")] == [5, 6, 7, 8, 9, 10]
        assert [e.seq for e in journal.unacked("kitchen", limit=2)] == [5, 6]
        assert [e.seq for e in journal.unacked("kitchen", after_seq=8)] == [9, 10]
        assert [e.seq for e in journal.unacked("kitchen", after_seq=1)] == [5, 6, 7, 8, 9, 10]
        assert journal.waiting("kitchen") == 6
        journal.ack("kitchen", 2)  # an older acknowledgement changes nothing
        assert journal.acked_seq("kitchen") == 4
    with Journal(path) as journal:
        assert journal.acked_seq("kitchen") == 4
        journal.ack("kitchen", 10)
        assert journal.unacked("kitchen") == []
        assert journal.waiting("kitchen") == 0


def test_a_nonexistent_event_cannot_be_acknowledged(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(event())
        for node, seq in (("kitchen", 2), ("cellar", 1)):
            with pytest.raises(ValueError, match=f"{node} has no event {seq}"):
                journal.ack(node, seq)
        assert journal.unacked("cellar") == []
        assert journal.waiting("cellar") == journal.last_seq("cellar") == 0


def acked_on_disk(path: Path) -> int:
    connection = sqlite3.connect(path)
    (acked,) = connection.execute("SELECT max(acked) FROM nodes").fetchone()
    connection.close()
    return int(acked)


def test_acknowledgements_are_written_after_a_number_of_events(path: Path) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock, flush_after=5) as journal:
        for i in range(12):
            journal.ack("kitchen", journal.append(event(i)).seq)
            assert acked_on_disk(path) == (i + 1) // 5 * 5
        journal.flush(if_due=True)
        assert acked_on_disk(path) == 10
        journal.flush()
        assert acked_on_disk(path) == 12


def test_acknowledgements_are_written_after_some_time(path: Path) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock, flush_every_s=10) as journal:
        for i in range(4):
            journal.append(event(i))
        journal.ack("kitchen", 1)
        manual.advance(9)
        journal.ack("kitchen", 2)
        journal.flush(if_due=True)
        assert acked_on_disk(path) == 0
        manual.advance(1)
        journal.flush(if_due=True)
        assert acked_on_disk(path) == 2
        journal.ack("kitchen", 3)
        manual.advance(10)
        journal.append(event(4))  # the next event writes them too
        assert acked_on_disk(path) == 3
        manual.advance(10)
        journal.ack("kitchen", 4)
        assert acked_on_disk(path) == 4
        journal.ack("kitchen", 5)
    assert acked_on_disk(path) == 5


# ---------------------------------------------------------------------- latency


def test_a_journal_locked_at_startup_still_has_its_latencies(path: Path, tmp_path: Path) -> None:
    left = tmp_path / "left" / path.name
    left.parent.mkdir()
    with Journal(path) as journal:
        sent = journal.hand_over(journal.append(event()))
        for suffix in ("", "-wal", "-latency"):  # as kill -9 leaves them
            shutil.copy(path.with_name(path.name + suffix), left.with_name(left.name + suffix))
    with closing(sqlite3.connect(left, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with Journal(left) as journal:
            assert journal.unacked("kitchen") == [sent]
            other.execute("ROLLBACK")
    with History(left) as history:
        assert list(history.query()) == [sent]


def test_latency_is_measured_once_at_the_first_hand_over(path: Path) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock) as journal:
        appended = journal.append(event(), arrived=manual.monotonic)
        assert appended.latency_ms is None
        manual.advance(0.00426)
        first = journal.hand_over(appended)
        assert first == msgspec.structs.replace(appended, latency_ms=4.3)
        manual.advance(60)
        assert journal.hand_over(appended) == first
        assert journal.hand_over(first) == first
        assert journal.unacked("kitchen") == [first]
    with Journal(path, clock=manual.clock) as journal:
        assert [encode(journal.hand_over(e)) for e in journal.unacked("kitchen")] == [encode(first)]


def test_latency_of_events_from_an_earlier_process_uses_the_wall_clock(path: Path) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock) as journal:
        appended = journal.append(event(0), arrived=manual.monotonic)
    manual = ManualClock(wall=manual.wall + 3600, monotonic=5.0)
    with Journal(path, clock=manual.clock) as journal:
        stamped = journal.hand_over(journal.unacked("kitchen")[0])
        assert stamped.latency_ms == 3_600_000 - round(appended.duration_s * 1000)
    manual.wall -= 86_400  # set to before the event: latency is never negative
    with Journal(path, clock=manual.clock) as journal:
        assert journal.hand_over(journal.append(event(1))).latency_ms == 0


def test_a_hand_over_commits_nothing_and_the_next_write_stores_the_latency(path: Path) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock) as journal, History(path) as history:
        first = journal.append(event(0), arrived=manual.monotonic)
        commits = journal._writer.commits
        first = journal.hand_over(first)
        assert journal._writer.commits == commits
        assert [e.latency_ms for e in history.query()] == [None]
        second = journal.hand_over(journal.append(event(1), arrived=manual.monotonic))
        assert journal._writer.commits == commits + 1
        assert next(history.query()) == first
        journal.ack("kitchen", 2)
        journal.flush()
        assert list(history.query()) == [first, second]


def test_latencies_unwritten_at_a_kill_are_recovered_by_the_next_process(path: Path) -> None:
    manual = ManualClock()
    killed = path.parent.parent
    with Journal(path, clock=manual.clock) as journal:
        made = [journal.append(event(i), arrived=manual.monotonic) for i in range(300)]
        manual.advance(0.0123)
        handed = [journal.hand_over(each) for each in made]
        for suffix in ("", "-wal", "-latency"):  # as kill -9 leaves them
            shutil.copy(path.with_name(path.name + suffix), killed)
    manual.advance(60)
    with Journal(killed / path.name, clock=manual.clock) as journal:
        assert journal.unacked("kitchen", limit=999) == handed


def test_latencies_of_another_journal_are_ignored(path: Path) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock) as journal:
        journal.hand_over(journal.append(event(0), arrived=manual.monotonic))
    for file in path.parent.iterdir():
        if not file.name.endswith("-latency"):
            file.unlink()
    with Journal(path, clock=manual.clock) as journal:
        journal.append(event(1))
    with Journal(path, clock=manual.clock) as journal:
        assert [e.latency_ms for e in journal.unacked("kitchen")] == [None]


def test_arrival_times_kept_during_a_long_outage_are_bounded(path: Path) -> None:
    with Journal(path) as journal:
        for start in range(0, 6000, 1000):
            journal.append_many([event(start + i) for i in range(1000)], arrived=[0.0] * 1000)
        assert len(journal._latencies._arrivals) == 4096
        assert ("kitchen", 6000) in journal._latencies._arrivals


# ---------------------------------------------------------------------- meta values


def test_meta_values_survive_a_restart(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.get_meta("mute") is None
        journal.set_meta("mute", "ON")
        assert journal.get_meta("mute") == "ON"
    with Journal(path) as journal:
        assert journal.get_meta("mute") == "ON"
        journal.set_meta("mute", "OFF")
        before = frames(path)
        journal.set_meta("mute", "OFF")  # unchanged: nothing is written
        assert frames(path) == before
        assert journal.get_meta("mute") == "OFF"


# ---------------------------------------------------------------------- threads


def test_a_pipeline_and_a_publisher_can_share_a_journal(path: Path) -> None:
    count = 400
    sent: list[bytes] = []
    failures: list[BaseException] = []
    with Journal(path, flush_after=7) as journal:

        def publish() -> None:
            try:
                while journal.acked_seq("kitchen") < count:
                    for found in journal.unacked("kitchen", limit=20):
                        sent.append(encode(journal.hand_over(found)))
                        journal.ack("kitchen", found.seq)
                    journal.maintain(keep_days=1e6, max_events=10**6)
            except BaseException as error:  # noqa: BLE001 - asserted in the main thread
                failures.append(error)

        publisher = threading.Thread(target=publish)
        publisher.start()
        appended = [journal.append(event(i), arrived=0.0) for i in range(count)]
        publisher.join(60)
        assert not publisher.is_alive()
        assert not failures
    with History(path) as history:
        kept = list(history.query())
    assert [encode(e) for e in kept] == sent
    assert [e.id for e in kept] == [e.id for e in appended]


def test_a_slow_reader_does_not_block_writers_or_checkpoints(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_CHECKPOINT_EVERY", 50)
    with Journal(path) as journal:
        journal.append_many([event(i) for i in range(1500)])
        with History(path) as history:
            stream = history.query()
            assert next(stream).seq == 1
            journal.append_many([event(1500 + i) for i in range(1500)])
            for i in range(60):
                journal.append(event(3000 + i))
            journal.maintain(keep_days=1e6, max_events=10**6)
            log = path.with_name("journal.db-wal").stat().st_size
            for i in range(20):
                journal.append(event(3060 + i))
            assert path.with_name("journal.db-wal").stat().st_size == log  # the log was restarted
            assert [e.seq for e in stream] == list(range(2, 3081))


# ---------------------------------------------------------------------- bytes written


@pytest.mark.slow
def test_an_hour_of_speech_writes_less_than_two_megabytes(path: Path) -> None:
    manual = ManualClock()

    def written() -> int:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(fields["wchar"])

    with Journal(path, clock=manual.clock) as journal:
        journal.append_many([event(i) for i in range(2000)])  # so that the journal is not new
        journal.ack("kitchen", 2000)
    before = written()
    with Journal(path, clock=manual.clock) as journal:
        for i in range(1200):
            manual.advance(3)
            made = journal.append(event(2000 + i, model=MODEL), arrived=manual.monotonic)
            journal.ack(made.node, journal.hand_over(made).seq)
            if i % 20 == 0:
                journal.maintain(keep_days=30, max_events=100_000)
    assert written() - before < 2_000_000
