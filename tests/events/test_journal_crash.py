"""``kill -9`` at any moment: nothing that was promised is lost, and no number is used twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from serd.events.event import encode
from serd.events.history import History
from serd.events.journal import Journal
from tests.events.crash_writer import ACK_EVERY

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 20


class Promises:
    """What the writers have said they did, over all their lives."""

    def __init__(self) -> None:
        self.ids: dict[int, str] = {}
        self.sent: dict[int, str] = {}
        self.acked = 0
        self.resent = 0

    def note(self, line: str) -> None:
        kind, seq, *rest = line.split(" ", 2)
        number = int(seq)
        if kind == "append":
            assert number not in self.ids, "a number was given twice"
            self.ids[number] = rest[0]
        elif kind == "sent":
            self.resent += number in self.sent
            assert self.sent.setdefault(number, rest[0]) == rest[0], "a redelivery differs"
        else:
            self.acked = max(self.acked, number)


def run_and_kill(path: Path, promises: Promises, dice: random.Random) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.events.crash_writer", str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    with writer, writer.stdout as said:
        for _ in range(dice.randrange(1, 200)):
            promises.note(said.readline().rstrip("\n"))
        time.sleep(dice.random() * 0.003)  # somewhere between two lines
        writer.send_signal(signal.SIGKILL)
        for line in said:
            if line.endswith("\n"):
                promises.note(line.rstrip("\n"))
    assert writer.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_nothing_is_lost_and_no_number_is_used_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    dice = random.Random(20260301)
    promises = Promises()
    for _ in range(ROUNDS):
        run_and_kill(path, promises, dice)
        with History(path) as history:
            kept = {e.seq: e for e in history.query()}
        last = max(promises.ids, default=0)
        assert list(kept) == list(range(1, len(kept) + 1)), "a gap"
        assert len(kept) in (last, last + 1)  # at most one was written and not yet told of
        for seq, event in kept.items():
            assert promises.ids.setdefault(seq, event.id) == event.id
        with Journal(path) as journal:
            acked = journal.acked_seq("kitchen")
            # The last acknowledgement may be on the disk and not yet told of.
            assert acked <= promises.acked + ACK_EVERY, "acknowledged out of thin air"
            assert [e.seq for e in journal.unacked("kitchen", limit=10**6)] == list(
                range(acked + 1, len(kept) + 1)
            )
        with History(path) as history:  # with the latencies that the last life had not written
            for event in history.query():
                if event.seq in promises.sent:
                    assert encode(event).decode() == promises.sent[event.seq]
    assert len({e.id for e in kept.values()}) == len(kept) > ROUNDS
    assert promises.acked > 0
    assert promises.resent > 0, "no life has sent again what an earlier one had sent"
