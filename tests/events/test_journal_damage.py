"""A damaged journal is renamed, and no number is used again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from serd.errors import ConfigError
from serd.events.journal import Journal
from serd.events.recovery import RESERVED, JournalMark
from tests.events.making import event

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def fill(path: Path, count: int = 200) -> int:
    with Journal(path) as journal:
        last = journal.append_many([event(seed) for seed in range(count)])[-1].seq
        journal.set_meta("mute", "ON")
    return last


def overwrite(path: Path, *, offset: int, length: int = 4096) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(length))


def renamed_journals(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.glob("journal.db.corrupt-*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(os.urandom(10_000)),
        lambda path: overwrite(path, offset=0, length=100),
        lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    ],
    ids=["whole file", "header", "zeros"],
)
def test_damage_found_at_startup(
    damage: object, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = fill(path)
    assert callable(damage)
    damage(path)
    with Journal(path) as journal:
        assert journal.append(event(1000)).seq == last + 1
        assert journal.get_meta("mute") == "ON"
    assert len(renamed_journals(path)) == 1
    assert "was put aside as" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_damage_found_while_running(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Journal(path) as journal:
        first = journal.append_many([event(seed) for seed in range(2000)])
        journal.set_meta("mute", "ON")
    overwrite(path, offset=1024, length=path.stat().st_size - 1024)  # the first pages stay intact
    with Journal(path) as journal:
        after = [journal.append(event(3000 + seed)) for seed in range(5)]
        assert [e.seq for e in after] == list(range(after[0].seq, after[0].seq + 5))
        assert after[0].seq > first[-1].seq
        # Everything that the publisher and the daemon use still works.
        waiting = journal.unacked("kitchen", after_seq=first[-1].seq)
        assert waiting == after
        handed = journal.hand_over(waiting[0])
        journal.ack("kitchen", handed.seq)
        journal.flush()
        assert journal.waiting("kitchen") == 4
        assert journal.get_meta("mute") == "ON"
        journal.maintain(keep_days=1e4, max_events=10)
    assert len(renamed_journals(path)) == 1
    assert caplog.text.count("was put aside as") == 1


def test_events_read_before_damage_is_found_are_still_handed_over(path: Path) -> None:
    last = fill(path)
    with Journal(path) as journal:
        waiting = journal.unacked("kitchen", limit=30)  # on more pages than the writer has read
        overwrite(path, offset=1024, length=path.stat().st_size - 1024)
        for one in waiting:
            assert journal.hand_over(one).latency_ms is not None
            journal.ack("kitchen", one.seq)
        after = journal.append(event(999))
        assert after.seq > last
        assert journal.unacked("kitchen", after_seq=waiting[-1].seq) == [after]


def test_no_number_is_reused_after_a_crash_and_damage(path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from serd.events.journal import Journal; from tests.events.making import event\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "print(journal.append_many([event(n) for n in range(1500)])[-1].seq, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    last = int(done.stdout)
    path.write_bytes(b"rubbish" * 1000)
    with Journal(path) as journal:
        seq = journal.append(event(1)).seq
    assert last < seq <= last + RESERVED


def test_numbering_continues_after_the_journal_is_deleted(path: Path) -> None:
    last = fill(path)
    path.unlink()
    with Journal(path) as journal:
        assert journal.append(event(1)).seq == last + 1


def test_without_damage_no_number_is_skipped(path: Path) -> None:
    seqs = []
    for run in range(5):
        with Journal(path) as journal:
            seqs += [journal.append(event(10 * run + n)).seq for n in range(3)]
    assert seqs == list(range(1, 16))


def test_no_number_is_reused_when_journal_and_mark_are_both_damaged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = fill(path)
    path.write_bytes(b"rubbish" * 1000)
    mark = path.with_name("journal.db-mark")
    mark.write_bytes(b'{"seq": {"kitch')
    with Journal(path) as journal:
        seq = journal.append(event(1)).seq
    assert seq > 1_700_000_000 > last
    assert "cannot be read and is replaced" in caplog.text
    with Journal(path) as journal:
        assert journal.append(event(2)).seq == seq + 1


def test_an_unreadable_file_without_a_mark_is_left_alone(path: Path) -> None:
    path.write_text("dear diary, " * 1000)
    with pytest.raises(ConfigError, match="not readable as a database"):
        Journal(path)
    assert renamed_journals(path) == []


def test_the_mark_is_written_rarely(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    real = JournalMark._write

    def write(self: JournalMark, content: Any) -> None:
        written.append(content.seq["kitchen"])
        real(self, content)

    monkeypatch.setattr(JournalMark, "_write", write)
    with Journal(path) as journal:
        for seed in range(RESERVED + 1):
            journal.append(event(seed))
    assert written == [RESERVED, 2 * RESERVED, RESERVED + 1]
