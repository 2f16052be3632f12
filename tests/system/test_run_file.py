"""``serd run`` on a recording: a real process, the real model, a real broker."""

from __future__ import annotations

import array
import fcntl
import json
import os
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from tests.broker import Recorder, mosquitto
from tests.models import as_at_home
from tests.system.node import Node, json_lines, run_serd
from tools.docs.json_schema import event_schema

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

TRAINING_LIBRARIES = {
    "librosa", "numba", "llvmlite", "scipy", "sklearn", "tensorflow", "keras", "torch", "pydantic",
    "matplotlib", "pandas", "joblib", "training",
}  # fmt: skip
"""Modules that a running daemon must never load."""


def events_on(recorder: Recorder, node: str = "test-room") -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in recorder.on(f"serd/{node}/emotion")]


def test_a_recording_becomes_events_on_the_broker(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast") as node:
            assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        events = events_on(recorder)
        offline = json_lines(run_serd("classify", "--json", str(SAMPLE), home=tmp_path).stdout)
        topics = {message.topic for message in recorder.messages}
        states = [json.loads(payload) for payload in recorder.on("serd/test-room/state") if payload]
        assert recorder.on("serd/test-room/status")[:1] == [b"online"]

    assert not any("leaked" in line or "Traceback" in line for line in node.log)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["id"] for event in events}) == len(events)
    validator = jsonschema.Draft202012Validator(event_schema())
    for event in events:
        validator.validate(event)

    # The daemon finds the same utterances as `serd classify`.
    assert len(events) >= 8
    single = [event.get("utterance", event) for event in events]
    assert [utterance["emotion"] for utterance in single] == [row["emotion"] for row in offline]
    for utterance, row in zip(single, offline, strict=True):
        assert utterance["scores"] == pytest.approx(
            as_at_home(row["scores"]), abs=1.1e-4
        )  # 4 decimals
    assert [event["duration_s"] for event in events] == pytest.approx(
        [row["end_s"] - row["start_s"] for row in offline], abs=0.002
    )
    assert {event["duration_s"] for event in events if event["cut"]} == {3.0}

    assert {
        "serd/test-room/status", "serd/test-room/emotion", "serd/test-room/state",
        "serd/test-room/speech", "serd/test-room/mute", "serd/test-room/telemetry",
        "homeassistant/device/serd_test-room/config",
    } <= topics  # fmt: skip
    assert states[-1]["emotion"] == events[-1]["emotion"]
    assert states[-1]["muted"] is False
    assert states[-1]["speech"] is False


def test_seq_is_gapless_across_restarts(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        for _ in range(3):
            with Node(tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast") as node:
                assert node.wait() == 0, node.log
        recorder.wait(lambda: len(recorder.on("serd/test-room/status")) >= 6)
        numbers = [event["seq"] for event in events_on(recorder)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) % 3 == 0


def test_a_kill_in_mid_stream_loses_no_events(tmp_path: Path) -> None:
    """After SIGKILL the next run delivers the journalled events and continues the numbering."""
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        topic = "serd/test-room/emotion"
        with Node(tmp_path, broker.port, "--source", str(SAMPLE)) as node:
            recorder.wait_count(topic, 1)
            node.kill()
        with Node(tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast") as node:
            assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline", times=2)
        by_id = {event["id"]: event["seq"] for event in events_on(recorder)}
    assert sorted(by_id.values()) == list(range(1, len(by_id) + 1))


def test_a_missing_broker_is_waited_for(tmp_path: Path) -> None:
    with mosquitto(tmp_path, started=False) as broker:
        arguments = ("--source", str(SAMPLE), "--pace", "fast")
        with Node(tmp_path, broker.port, *arguments) as node:
            node.wait_log("waiting for the broker")
            broker.start()
            with Recorder(broker.port) as recorder:
                assert node.wait() == 0, node.log
                recorder.wait_for("serd/test-room/status", b"offline")
                assert events_on(recorder)


def test_sigterm_finishes_the_utterance_in_flight(tmp_path: Path) -> None:
    speech, _ = sf.read(SAMPLE, dtype="int16", start=16_000 * 5, frames=24_000)
    reading, writing = os.pipe()
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(tmp_path, broker.port, "--source", "-", stdin=reading) as node:
            os.close(reading)
            os.write(writing, speech.tobytes())  # fits the pipe, which stays open: no pause
            recorder.wait_for("serd/test-room/speech", b"ON")
            while _unread_bytes(writing):
                time.sleep(0.01)
            assert events_on(recorder) == []
            assert node.stop() == 0, node.log
        os.close(writing)
        recorder.wait_for("serd/test-room/status", b"offline")
        (event,) = events_on(recorder)
    assert 1.0 <= event["duration_s"] <= 1.5
    assert not any("Traceback" in line for line in node.log)


def _unread_bytes(pipe: int) -> int:
    """Unread bytes in a pipe (ioctl_tty(2))."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_mute_closes_the_source_and_survives_a_restart(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(tmp_path, broker.port, "--source", str(SAMPLE)) as node:
            recorder.wait_for("serd/test-room/mute", b"OFF")
            recorder.publish("serd/test-room/mute/set", b"ON")
            recorder.wait_for("serd/test-room/mute", b"ON")
            node.wait_log("the microphone is closed")
            assert not _has_open(node.pid, SAMPLE)
            assert node.stop() == 0, node.log
        with Node(tmp_path, broker.port, "--source", str(SAMPLE)) as node:
            node.wait_log("the microphone is closed")
            recorder.wait_for("serd/test-room/mute", b"ON", times=2)  # it has subscribed by then
            recorder.publish("serd/test-room/mute/set", b"open the door")
            recorder.publish("serd/test-room/mute/set", b"OFF")
            recorder.wait_for("serd/test-room/speech", b"ON")
            assert _has_open(node.pid, SAMPLE)
            assert node.stop() == 0, node.log


def _has_open(pid: int, path: Path) -> bool:
    done = subprocess.run(
        ["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=True
    )
    return str(path) in done.stdout


def test_training_libraries_are_not_loaded(tmp_path: Path) -> None:
    """The daemon writes its sys.modules to a file when it exits."""
    listing = tmp_path / "modules.txt"
    script = tmp_path / "watched.py"
    script.write_text(
        "import atexit, pathlib, sys\n"
        f"atexit.register(lambda: pathlib.Path({str(listing)!r}).write_text("
        "'\\n'.join(sys.modules)))\n"
        "from serd.cli.main import main\n"
        "main()\n"
    )
    with mosquitto(tmp_path) as broker:
        arguments = ("--source", str(SAMPLE), "--pace", "fast")
        with Node(tmp_path, broker.port, *arguments, wrapper=[sys.executable, str(script)]) as node:
            assert node.wait() == 0, node.log
    loaded = {name.partition(".")[0] for name in listing.read_text().splitlines()}
    assert "serd" in loaded
    assert "numpy" in loaded
    assert not loaded & TRAINING_LIBRARIES
