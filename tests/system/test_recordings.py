"""A recording is looked at before anybody hears of it, and what was said in it is past."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from serd.events.clock import parse_rfc3339
from tests.broker import Recorder, mosquitto
from tests.system.node import SAMPLE, Node

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

LENGTH_S = 40
"""Of the sample, roughly."""


def heard(recorder: Recorder) -> list[tuple[int, int]]:
    """When each event began and ended, milliseconds since 1970."""
    events = [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]
    return [(parse_rfc3339(e["started_at"]), parse_rfc3339(e["ended_at"])) for e in events]


def play(tmp_path: Path, source: Path, *arguments: str) -> list[tuple[int, int]]:
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(tmp_path, broker.port, "--source", str(source), *arguments) as node:
            assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        return heard(recorder)


def test_what_is_played_fast_ended_now(tmp_path: Path) -> None:
    before = time.time() * 1000
    times = play(tmp_path, SAMPLE, "--pace", "fast")
    now = time.time() * 1000
    assert len(times) >= 8
    assert all(begin < end <= now for begin, end in times)
    assert times == sorted(times)
    assert times[0][0] >= before - 1000 * (LENGTH_S + 5)
    assert times[-1][1] >= before - 1000 * LENGTH_S / 2


def test_a_recording_may_say_when_it_was_made(tmp_path: Path) -> None:
    made = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
    times = play(tmp_path, SAMPLE, "--pace", "fast", "--started-at", "2026-03-01T08:15Z")
    begun = made.timestamp() * 1000
    assert begun <= times[0][0] < times[-1][1] <= begun + 1000 * (LENGTH_S + 5)


def test_or_its_file_does(tmp_path: Path) -> None:
    file = tmp_path / "talk.ogg"
    file.write_bytes(SAMPLE.read_bytes())
    ended = datetime(2026, 3, 1, 8, 15, tzinfo=UTC).timestamp()
    os.utime(file, (ended, ended))
    times = play(tmp_path, file, "--pace", "fast", "--started-at", "file")
    assert 1000 * (ended - LENGTH_S - 5) < times[0][0] < times[-1][1] <= 1000 * ended


@pytest.mark.parametrize(
    ("source", "options", "code", "said"),
    [
        ("gone.wav", (), 66, "gone.wav does not exist"),
        ("notes.wav", (), 66, "notes.wav is not audio that serd can read"),
        (str(SAMPLE), ("--started-at", "now"), 2, "would end in the future"),
    ],
)
def test_what_cannot_be_played_is_never_announced(
    tmp_path: Path, source: str, options: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "notes.wav").write_text("not audio at all, just words")
    with mosquitto(tmp_path) as broker:
        with Node(tmp_path, broker.port, "--source", source, *options) as node:
            assert node.wait() == code, node.log
        assert any(said in line for line in node.log), node.log
        assert not any("test-room" in line for line in broker.log)
