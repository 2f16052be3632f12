"""The journal reports what it cannot do, and leaves nothing half done."""

from __future__ import annotations

import itertools
import sqlite3
import stat
from pathlib import Path

import pytest

from serd.errors import ConfigError, UnavailableError
from serd.events import database as journal_file
from serd.events.event import model_ref
from serd.events.history import History
from serd.events.journal import Journal
from tests.events.making import ManualClock, event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def simulate_full_disk(journal: Journal) -> None:
    """Make SQLite behave as on a full disk."""
    writer = journal._writer.connection
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages}")


def append_forever(journal: Journal) -> None:
    for seed in itertools.count():
        journal.append(event(seed))


def test_a_rejected_event_gets_no_number_and_leaves_no_gap(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(event())
        simulate_full_disk(journal)
        with pytest.raises(UnavailableError, match="full") as caught:
            append_forever(journal)
        assert str(path) in str(caught.value)
        assert "room on the disk" in str(caught.value)
        count = journal.last_seq("kitchen")
        other = model_ref("n", "1", "0" * 64)
        with pytest.raises(UnavailableError):
            journal.append_many([event(i, model=other) for i in range(99)])
        assert journal.last_seq("kitchen") == count
        journal._writer.connection.execute("PRAGMA max_page_count=1000000")
        made = journal.append(event(count + 1, model=other))
        assert made.seq == count + 1
        assert journal.append(event(node="cellar")).seq == 1
    with Journal(path) as journal:
        assert [e.seq for e in journal.unacked("kitchen")] == list(range(1, count + 2))


def test_a_latency_that_cannot_be_written_is_kept_in_memory(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manual = ManualClock()
    with Journal(path, clock=manual.clock) as journal:
        appended = [journal.append(event(i), arrived=manual.monotonic) for i in range(3)]
        journal._writer.connection.execute("PRAGMA query_only=ON")
        manual.advance(0.005)
        first = [journal.hand_over(e) for e in appended]
        manual.advance(60)
        assert [journal.hand_over(e) for e in journal.unacked("kitchen")] == first
        assert [e.latency_ms for e in first] == [5.0] * 3
        for each in first:
            journal.ack("kitchen", each.seq)
            manual.advance(10)
        assert len(caplog.records) == 1  # once, not for each event
        with pytest.raises(UnavailableError):
            journal.flush()
        journal._writer.connection.execute("PRAGMA query_only=OFF")
        journal.flush()
    with History(path) as history:
        assert list(history.query()) == first


def test_missing_directories_are_created_with_private_permissions(path: Path) -> None:
    deep = path.parent / "deeper" / "journal.db"
    with Journal(deep) as journal:
        journal.append(event())
        assert stat.S_IMODE(deep.parent.stat().st_mode) == 0o700
        for file in deep.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert len(list(deep.parent.iterdir())) == 6


@pytest.mark.parametrize("place", ["/proc/serd/journal.db", "/dev/null/journal.db", "/proc"])
def test_an_unwritable_path_is_reported_with_a_remedy(place: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        Journal(Path(place))
    assert place in caught.value.message
    assert "journal.path" in str(caught.value.remedy)


def test_a_file_that_is_not_a_database_is_rejected_and_left_unchanged(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("dear diary, " * 1000)
    for _ in range(2):  # the second time shows that the first released everything
        with pytest.raises(ConfigError, match="not readable as a database") as caught:
            Journal(path)
        assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="not readable as a database"):
        History(path)
    assert path.read_text().startswith("dear diary, dear diary")


def test_another_programs_database_is_rejected_and_left_unchanged(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program"):
        Journal(path)
    with pytest.raises(ConfigError, match="another program"):
        History(path)
    assert path.read_bytes() == before


def test_a_journal_of_a_newer_version_is_rejected_and_left_unchanged(path: Path) -> None:
    Journal(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={journal_file.SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="later version of serd") as caught:
        Journal(path)
    assert "upgrade" in str(caught.value.remedy)
    with pytest.raises(ConfigError, match="later version of serd"):
        History(path)
    assert path.read_bytes() == before


def test_a_second_daemon_is_rejected_while_the_first_holds_the_journal(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(event())
        with pytest.raises(UnavailableError, match="in use by another serd"):
            Journal(path)
        assert journal.append(event()).seq == 2
    with Journal(path) as journal:
        assert journal.append(event()).seq == 3


def test_closing_twice_is_harmless_and_writing_afterwards_fails(path: Path) -> None:
    journal = Journal(path)
    journal.append(event())
    journal.close()
    journal.close()
    with pytest.raises(UnavailableError):
        journal.append(event())
