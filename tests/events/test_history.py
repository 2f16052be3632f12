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
    """Alternating events of two nodes, one every three seconds; more than one chunk of each."""
    with Journal(path) as journal:
        made = [event(i, node=("hall", "attic")[i % 2]) for i in range(1300)]
        return journal.append_many(made)


def test_events_are_listed_in_chronological_order(path: Path, events: list[Event]) -> None:
    with History(path) as history:
        assert history.nodes() == ["attic", "hall"]
        assert list(history.query()) == events
        assert list(history.query(newest_first=True)) == events[::-1]


def test_filters_work_alone_and_combined(path: Path, events: list[Event]) -> None:
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


def test_a_limit_returns_that_many_events(path: Path, events: list[Event]) -> None:
    with History(path) as history:
        assert list(history.query(limit=0)) == []
        assert list(history.query(limit=7)) == events[:7]
        assert list(history.query(limit=700, newest_first=True)) == events[:599:-1]
        assert list(history.query(limit=5000)) == events


def test_events_of_one_node_are_ordered_by_seq_not_by_time(path: Path) -> None:
    with Journal(path) as journal:
        for hour in (5, 6, 2, 3):  # the clock is set back after the second
            journal.append(event(started_ms=START_MS + hour * 3_600_000))
    with History(path) as history:
        assert [e.seq for e in history.query()] == [1, 2, 3, 4]
        assert [e.seq for e in history.query(newest_first=True)] == [4, 3, 2, 1]


def test_an_unknown_emotion_is_rejected(path: Path, events: list[Event]) -> None:
    with History(path) as history, pytest.raises(ValueError, match="merry"):
        history.query(emotion="merry")


def test_an_event_waiting_for_the_broker_has_no_latency_yet(path: Path) -> None:
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


def read_in_subprocess(path: Path, uid: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", READER, str(path), *([] if uid is None else [str(uid)])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_another_process_can_read_while_the_daemon_writes(path: Path) -> None:
    with Journal(path) as journal:
        for i in range(5):
            journal.append(event(i, node="hall"))
        assert read_in_subprocess(path).stdout == "5 4 3\n"
        journal.append(event(5, node="hall"))
        assert read_in_subprocess(path).stdout == "6 5 4\n"
    assert read_in_subprocess(path).stdout == "6 5 4\n"


def test_reading_leaves_a_closed_journal_unchanged(path: Path, events: list[Event]) -> None:
    before = path.read_bytes()
    with History(path) as history:
        assert len(list(history.query())) == len(events)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to switch to another user")
def test_a_closed_journal_can_be_read_without_write_permission() -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.db"
        with Journal(path) as journal:
            for i in range(5):
                journal.append(event(i, node="hall"))
        path.parent.chmod(0o755)
        path.chmod(0o644)
        assert read_in_subprocess(path, nobody).stdout == "5 4 3\n"
        path.chmod(0o600)
        refused = read_in_subprocess(path, nobody)
    assert refused.returncode != 0
    assert "UnavailableError" in refused.stderr
    assert "run as the user that the daemon runs as" in refused.stderr


def test_a_missing_and_an_empty_journal_are_reported(path: Path) -> None:
    with pytest.raises(UnavailableError, match="there is no journal at") as caught:
        History(path)
    assert str(path) in str(caught.value)
    assert not path.exists()
    path.touch()
    with pytest.raises(ConfigError, match="no events yet"):
        History(path)
    Journal(path).close()
    with History(path) as history:
        assert list(history.query()) == []
