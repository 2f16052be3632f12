"""Recordings are checked before the node is announced, and their events lie in the past."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from serd.audio import SAMPLE
from serd.events.clock import parse_rfc3339
from tests.broker import Recorder, mosquitto
from tests.ports import free_port
from tests.system.node import Node

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

LENGTH_S = 40
"""Approximate length of the sample."""


def event_times(recorder: Recorder) -> list[tuple[int, int]]:
    """Start and end of each event, in milliseconds since 1970."""
    events = [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]
    return [(parse_rfc3339(e["started_at"]), parse_rfc3339(e["ended_at"])) for e in events]


def play(tmp_path: Path, source: Path, *arguments: str) -> list[tuple[int, int]]:
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(tmp_path, broker.port, "--source", str(source), *arguments) as node:
            assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        return event_times(recorder)


def test_events_of_a_fast_recording_end_now(tmp_path: Path) -> None:
    before = time.time() * 1000
    times = play(tmp_path, SAMPLE, "--pace", "fast")
    now = time.time() * 1000
    assert len(times) >= 8
    assert all(begin < end <= now for begin, end in times)
    assert times == sorted(times)
    assert times[0][0] >= before - 1000 * (LENGTH_S + 5)
    assert times[-1][1] >= before - 1000 * LENGTH_S / 2


def test_started_at_sets_the_time_of_a_recording(tmp_path: Path) -> None:
    made = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
    times = play(tmp_path, SAMPLE, "--pace", "fast", "--started-at", "2026-03-01T08:15Z")
    started_ms = made.timestamp() * 1000
    assert started_ms <= times[0][0] < times[-1][1] <= started_ms + 1000 * (LENGTH_S + 5)


def test_started_at_file_uses_the_time_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "talk.ogg"
    file.write_bytes(SAMPLE.read_bytes())
    ended = datetime(2026, 3, 1, 8, 15, tzinfo=UTC).timestamp()
    os.utime(file, (ended, ended))
    times = play(tmp_path, file, "--pace", "fast", "--started-at", "file")
    assert 1000 * (ended - LENGTH_S - 5) < times[0][0] < times[-1][1] <= 1000 * ended


@pytest.mark.parametrize(
    ("source", "options", "code", "message"),
    [
        ("gone.wav", (), 66, "gone.wav does not exist"),
        ("notes.wav", (), 66, "notes.wav is not audio that serd can read"),
        (str(SAMPLE), ("--started-at", "now"), 2, "would end in the future"),
    ],
)
def test_an_unplayable_recording_is_never_announced(
    tmp_path: Path, source: str, options: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "notes.wav").write_text("not audio at all, just words")
    with mosquitto(tmp_path) as broker:
        with Node(tmp_path, broker.port, "--source", source, *options) as node:
            assert node.wait() == code, node.log
        assert any(message in line for line in node.log), node.log
        assert not any("test-room" in line for line in broker.log)


def test_a_recording_without_speech_does_not_wait_for_a_missing_broker(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    with Node(tmp_path, free_port(), "--source", "silence.wav", "--pace", "fast") as node:
        assert node.wait() == 0, node.log
