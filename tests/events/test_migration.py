"""Journals of earlier versions keep their events.

``journal-3.sqlite`` was written by serd 0.2, whose layout was 3; ``journal-3.jsonl`` lists its
events as that version did.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from serd.errors import ConfigError, UnavailableError
from serd.events import database as journal_file
from serd.events import rows
from serd.events.corrections import CorrectionStore
from serd.events.database import JournalLock
from serd.events.event import encode
from serd.events.history import History
from serd.events.journal import Journal
from tests.events.making import event

LAYOUT_3 = Path(__file__).with_name("journal-3.sqlite")
LISTED = LAYOUT_3.with_suffix(".jsonl").read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def old(path: Path) -> Path:
    path.parent.mkdir()
    shutil.copy(LAYOUT_3, path)
    return path


def listed(path: Path) -> bytes:
    with History(path) as history:
        return b"".join(encode(one) + b"\n" for one in history.query())


def test_migrating_from_layout_3_keeps_every_event_unchanged(old: Path) -> None:
    with pytest.raises(ConfigError, match="older version"):
        History(old)
    with Journal(old) as journal:
        assert journal.nodes() == ["kitchen", "living-room"]
        assert (journal.waiting("kitchen"), journal.waiting("living-room")) == (8, 1)
        assert journal.get_meta("mute") == "ON"
    assert listed(old) == LISTED
    assert [one.emotion for one in CorrectionStore(old).all()] == ["sad"]
    with Journal(old) as journal:
        added = journal.append(event(100, home=True, corrections=4))
        assert journal.unacked("kitchen")[-1] == added
    with closing(sqlite3.connect(old)) as connection:
        names = {
            row[0] for row in connection.execute("SELECT name FROM pragma_table_info('events')")
        }
        assert "extra" not in names
        assert names >= {column.name for column in rows.COLUMNS}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_journal_of_layout_1_is_migrated(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(
            "ALTER TABLE events DROP COLUMN extra; DROP TABLE corrections; PRAGMA user_version=1;"
        )
    with Journal(old) as journal:
        added = journal.append(event(100, home=True, corrections=4))
        assert journal.unacked("kitchen")[-1] == added
    assert len(listed(old).splitlines()) == len(LISTED.splitlines()) + 1


def test_a_journal_in_use_is_not_migrated(old: Path) -> None:
    lock = JournalLock(old)
    before = old.read_bytes()
    with pytest.raises(UnavailableError, match="in use by another serd"):
        CorrectionStore(old).forget()
    assert old.read_bytes() == before
    lock.release()
    assert CorrectionStore(old).forget() == 1


def test_a_missing_column_is_added(path: Path) -> None:
    with Journal(path) as journal:
        older = journal.append(event(1, home=True, corrections=1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE events DROP COLUMN gathered")
        missing = rows.missing_columns(connection)
        assert [column.name for column in missing] == ["gathered"]
    with History(path) as history:
        (read,) = history.query()
        assert read.prior == older.prior  # the other columns are still read
    with Journal(path) as journal:
        newer = journal.append(event(2, home=True))
        assert journal.unacked("kitchen")[1] == newer
        assert journal.unacked("kitchen")[0] == read


def test_an_older_journal_is_migrated_step_by_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(path) as journal:
        appended = journal.append(event())
    now = journal_file.SCHEMA_VERSION
    monkeypatch.setattr(journal_file, "SCHEMA_VERSION", now + 2)
    steps = {
        now: "ALTER TABLE events ADD COLUMN two INTEGER;",
        now + 1: "ALTER TABLE events RENAME COLUMN two TO three;",
    }
    monkeypatch.setattr(journal_file, "_MIGRATIONS", steps)
    with pytest.raises(ConfigError, match="older version"):
        History(path)
    with Journal(path) as journal:
        assert journal.unacked("kitchen") == [appended]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (now + 2,)
    assert connection.execute("SELECT three FROM events").fetchall() == [(None,)]
    connection.close()


def test_a_failed_migration_leaves_the_old_journal_unchanged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(path) as journal:
        appended = journal.append(event())
    with monkeypatch.context() as patch:
        now = journal_file.SCHEMA_VERSION
        patch.setattr(journal_file, "SCHEMA_VERSION", now + 1)
        broken = "ALTER TABLE events ADD COLUMN two INTEGER; DROP TABLE nothing;"
        patch.setattr(journal_file, "_MIGRATIONS", {now: broken})
        with pytest.raises(UnavailableError):
            Journal(path)
    with Journal(path) as journal:
        assert journal.unacked("kitchen") == [appended]
