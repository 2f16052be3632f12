from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serd.errors import ConfigError, UnavailableError
from serd.events.clock import parse_rfc3339
from serd.events.history import History
from serd.events.journal import Journal
from tests.events.making import START_MS, event

if TYPE_CHECKING:
    from serd.events.event import Event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def events(path: Path) -> list[Event]:
    """Events of two nodes in turn, one every three seconds; more than one chunk of each."""
    with Journal(path) as journal:
        made = [event(i, node=("hall", "attic")[i % 2]) for i in range(1300)]
        return journal.append_many(made)


def test_everything_in_the_order_of_time(path: Path, events: list[Event]) -> None:
    with History(path) as history:
        assert history.nodes() == ["attic", "hall"]
        assert list(history.query()) == events
        assert list(history.query(newest_first=True)) == events[::-1]


def test_each_filter_and_all_together(path: Path, events: list[Event]) -> None:
    since, until = START_MS + 100 * 3000, START_MS + 1000 * 3000
    with History(path) as history:
        assert list(history.query(since_ms=since)) == events[100:]
        assert list(history.query(until_ms=until)) == events[:1000]
        assert list(history.query(node="hall")) == events[::2]
        assert list(history.query(node="cellar")) == []
        for emotion in ("sad", "uncertain"):
            expected = [e for e in events if e.emotion == emotion]
            assert expected
            assert list(history.query(emotion=emotion)) == expected
        confident = [e for e in events if e.confidence >= 0.7]
        assert 0 < len(confident) < len(events)
        assert list(history.query(min_confidence=0.7)) == confident
        edge = confident[0].confidence
        assert confident[0] in history.query(min_confidence=edge)
        together = [
            e
            for e in events
            if e.node == "attic"
            and since <= parse_rfc3339(e.started_at) < until
            and e.emotion == "happy"
            and e.confidence >= 0.5
        ]
        assert len(together) > 5
        assert (
            list(
                history.query(
                    since_ms=since,
                    until_ms=until,
                    node="attic",
                    emotion="happy",
                    min_confidence=0.5,
                    limit=5,
                    newest_first=True,
                )
            )
            == together[:-6:-1]
        )


def test_a_limit_stops_where_it_says(path: Path, events: list[Event]) -> None:
    with History(path) as history:
        assert list(history.query(limit=0)) == []
        assert list(history.query(limit=7)) == events[:7]
        assert list(history.query(limit=700, newest_first=True)) == events[:599:-1]
        assert list(history.query(limit=5000)) == events


def test_within_a_node_the_number_decides_not_the_clock(path: Path) -> None:
    with Journal(path) as journal:
        for hour in (5, 6, 2, 3):  # set back between the second and the third
            journal.append(event(started_ms=START_MS + hour * 3_600_000))
    with History(path) as history:
        assert [e.seq for e in history.query()] == [1, 2, 3, 4]
        assert [e.seq for e in history.query(newest_first=True)] == [4, 3, 2, 1]


def test_an_emotion_that_is_none_is_refused(path: Path, events: list[Event]) -> None:
    with History(path) as history, pytest.raises(ValueError, match="merry"):
        history.query(emotion="merry")


def test_an_event_that_waits_for_the_broker_has_no_latency_yet(path: Path) -> None:
    with Journal(path) as journal:
        made = journal.append(event(), arrived=0.0)
        with History(path) as history:
            assert [e.latency_ms for e in history.query()] == [None]
            stamped = journal.hand_over(made)
            journal.flush()
            assert list(history.query()) == [stamped]


READER = """
import os, sys
from pathlib import Path
from serd.events.history import History
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
with History(Path(sys.argv[1])) as history:
    print(*(e.seq for e in history.query(node="hall", newest_first=True, limit=3)))
"""


def read_elsewhere(path: Path, uid: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", READER, str(path), *([] if uid is None else [str(uid)])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_another_process_reads_while_the_daemon_writes(path: Path) -> None:
    with Journal(path) as journal:
        for i in range(5):
            journal.append(event(i, node="hall"))
        assert read_elsewhere(path).stdout == "5 4 3\n"
        journal.append(event(5, node="hall"))
        assert read_elsewhere(path).stdout == "6 5 4\n"
    assert read_elsewhere(path).stdout == "6 5 4\n"


def test_reading_leaves_a_closed_journal_as_it_was(path: Path, events: list[Event]) -> None:
    before = path.read_bytes()
    with History(path) as history:
        assert len(list(history.query())) == len(events)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_a_reader_who_may_not_write_there_reads_a_closed_journal() -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.db"
        with Journal(path) as journal:
            for i in range(5):
                journal.append(event(i, node="hall"))
        path.parent.chmod(0o755)
        path.chmod(0o644)
        assert read_elsewhere(path, nobody).stdout == "5 4 3\n"
        path.chmod(0o600)
        refused = read_elsewhere(path, nobody)
    assert refused.returncode != 0
    assert "UnavailableError" in refused.stderr
    assert "run as the user that the daemon runs as" in refused.stderr


def test_no_journal_and_an_empty_one_are_said_plainly(path: Path) -> None:
    with pytest.raises(UnavailableError, match="there is no journal at") as refusal:
        History(path)
    assert str(path) in str(refusal.value)
    assert not path.exists()
    path.touch()
    with pytest.raises(ConfigError, match="no events yet"):
        History(path)
    Journal(path).close()
    with History(path) as history:
        assert list(history.query()) == []
