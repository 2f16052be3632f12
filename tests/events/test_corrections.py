"""Corrections in the journal's database: stored, replaced, deleted, and never half-written."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec.structs import replace

from serd.errors import UnavailableError
from serd.events import corrections as corrections_module
from serd.events import database
from serd.events.corrections import REVISION_KEY, Correction, CorrectionStore
from serd.events.event import ModelRef
from serd.events.journal import Journal
from serd.model.emotions import EMOTIONS
from tests.events.making import event

if TYPE_CHECKING:
    from pathlib import Path


def correction(seed: int, emotion: str | None = "calm") -> Correction:
    """A user's correction of event number ``seed``."""
    corrected = event(seed)
    return Correction(
        id=corrected.id,
        node=corrected.node,
        seq=seed + 1,
        heard_at=corrected.started_at,
        told="angry",
        emotion=emotion,
        scores=corrected.own_scores,
        corrected_at="2026-03-01T08:15:00.250Z",
        model=corrected.model,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Journal(tmp_path / "journal.db"):
        pass
    return tmp_path / "journal.db"


def test_stored_corrections_can_be_read_back(path: Path) -> None:
    store = CorrectionStore(path)
    kept = [correction(2), correction(1, None)]
    assert store.put(kept) == 2
    assert store.all() == [kept[1], kept[0]]  # in the order of their events
    assert store.of(kept[0].id) == kept[0]
    assert store.of(correction(9).id) is None


def test_the_latest_correction_wins_and_a_repeated_one_changes_nothing(path: Path) -> None:
    store = CorrectionStore(path)
    first = correction(1)
    assert store.put([first]) == 1
    assert store.put([first, first]) == 0
    later = replace(first, emotion=None, corrected_at="2026-03-01T09:00:00.000Z")
    assert store.put([later]) == 1
    assert store.all() == [later]


def test_corrections_outlive_pruned_events(path: Path) -> None:
    store = CorrectionStore(path)
    with Journal(path) as journal:
        journal.append_many([event(n) for n in range(20)])
        kept = correction(0)
        store.put([kept])
        journal.prune(keep_days=1, max_events=1)
        journal.ack("kitchen", 20)
        journal.prune(keep_days=1, max_events=1)
        assert store.event("kitchen", event(0).id) is None
        assert store.all() == [kept]


def test_an_event_is_found_by_id_only_under_its_own_node(path: Path) -> None:
    with Journal(path) as journal:
        numbered = journal.append_many([event(n, node="attic") for n in range(3)])
        journal.append(event(7))
    store = CorrectionStore(path)
    assert store.event("attic", numbered[1].id) == numbered[1]
    assert store.event("kitchen", numbered[1].id) is None
    assert store.event("cellar", numbered[1].id) is None


def test_corrections_can_be_deleted_by_id_by_time_or_all_at_once(path: Path) -> None:
    store = CorrectionStore(path)
    kept = [
        replace(correction(n), corrected_at=f"2026-03-0{n + 1}T00:00:00.000Z") for n in range(5)
    ]
    store.put(kept)
    assert store.forget(identifiers=[kept[0].id]) == 1
    assert store.forget(identifiers=[kept[0].id]) == 0
    assert store.forget(since_ms=1_772_582_400_000) == 2  # 2026-03-04
    assert store.all() == kept[1:3]
    assert store.forget() == 2
    assert store.all() == []


def test_a_deleted_correction_is_erased_from_the_files(path: Path) -> None:
    store = CorrectionStore(path)
    with Journal(path):  # as a running daemon has it
        marked = [
            replace(correction(seed), node="a-node-that-nobody-else-has") for seed in range(1, 9)
        ]
        store.put(marked)

        def found() -> int:
            files = path.parent.glob(f"{path.name}*")
            return sum(file.read_bytes().count(b"a-node-that-nobody-else-has") for file in files)

        assert found()
        store.forget(identifiers=[marked[0].id])
        store.forget()
        assert not found()


def test_what_another_reader_keeps_from_being_erased_is_reported(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CorrectionStore(path)
    store.put([correction(1)])
    monkeypatch.setattr(database, "_BUSY_S", 0.05)
    with Journal(path):
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM corrections").fetchone()
        assert store.forget() == 1
        reader.close()
    assert "what was forgotten stays in its log" in caplog.text


def test_an_open_journal_sees_the_revision_of_each_change(path: Path) -> None:
    store = CorrectionStore(path)
    with Journal(path) as journal:
        seen = [journal.get_meta(REVISION_KEY)]
        store.put([correction(1)])
        seen.append(journal.get_meta(REVISION_KEY))
        store.forget()
        seen.append(journal.get_meta(REVISION_KEY))
    assert seen == [None, "1", "2"]


def test_the_oldest_corrections_are_deleted_above_the_limit(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(corrections_module, "MOST", 3)
    store = CorrectionStore(path)
    kept = [correction(n) for n in range(5)]
    store.put(kept)
    assert store.all() == kept[2:]
    assert "2 old corrections were deleted" in caplog.text


def test_corrections_are_recovered_from_a_damaged_journal(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = [correction(n) for n in range(3)]
    with Journal(path) as journal:
        journal.append_many([event(n) for n in range(3000)])
        CorrectionStore(path).put(kept)
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'events'"
        ).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((root - 1) * 512)
        file.write(b"\xff" * 512)
    with Journal(path) as journal:
        journal.append(event(9000))
    assert list(path.parent.glob("journal.db.corrupt-*"))
    assert CorrectionStore(path).all() == kept
    assert "3 corrections were recovered" in caplog.text


def test_a_missing_journal_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="there is no journal"):
        CorrectionStore(tmp_path / "none.db").all()


WRITER = """
import sys
from pathlib import Path
from serd.events.corrections import CorrectionStore
from tests.events.test_corrections import correction
store = CorrectionStore(Path(sys.argv[1]))
for n in range(100_000):
    store.put([correction(n)])
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [0, 3, 17])
def test_a_killed_writer_leaves_no_partial_corrections(path: Path, after: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=os.environ, text=True
    )
    assert writer.stdout is not None
    done = -1
    for line in writer.stdout:
        done = int(line)
        if done >= after:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    kept = CorrectionStore(path).all()
    assert [one.seq for one in kept] == list(range(1, len(kept) + 1))
    assert len(kept) >= done + 1  # whatever was confirmed is stored
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    CorrectionStore(path).put([correction(200_000)])


GOOD = msgspec.to_builtins(correction(1))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "one"),
        ("node", ""),
        ("seq", -1),
        ("seq", 2**63),  # more than the database holds
        ("seq", 10**30),
        ("heard_at", "yesterday"),
        ("told", "hungry"),
        ("emotion", "hungry"),
        ("scores", {"happy": 1.0}),
        ("scores", dict.fromkeys(EMOTIONS, 2.0)),
        ("corrected_at", "2026-99-99T00:00:00.000Z"),
        ("model", {"name": "x"}),
    ],
)
def test_invalid_corrections_are_rejected(key: str, value: object) -> None:
    msgspec.convert(GOOD, Correction)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**GOOD, key: value}, Correction)


def test_a_correction_of_uncertain_must_name_an_emotion() -> None:
    model = ModelRef(name="m", version="1", sha256="0" * 12)
    fine = replace(correction(1), told="uncertain", emotion="sad", model=model)
    assert fine.words == "sad"
    with pytest.raises(ValueError, match="nothing can be learned"):
        replace(fine, emotion=None)
    assert correction(1, None).words == "not angry"
