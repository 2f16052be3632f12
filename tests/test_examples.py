"""The programs in examples/, run as a reader would run them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

from serd.audio import SAMPLE
from serd.model.emotions import EMOTIONS, UNCERTAIN
from tests.broker import TIMEOUT_S, Recorder, mosquitto
from tests.pulse import virtual_microphone
from tests.system.node import run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"


@contextlib.contextmanager
def running(*command: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run an example in the background; it is killed at the end if it is still running."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / command[0]), *command[1:]],
        env=env or dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(120.0, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


def line_of(stream: Any) -> str:
    """The next line; fails if the example has exited."""
    line = stream.readline()
    assert line, "the example has exited"
    return str(line)


def test_classify_a_file() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "classify_file.py"), str(SAMPLE)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) > 5
    assert {line.split()[5] for line in lines} <= {*EMOTIONS, UNCERTAIN}


def test_classifying_a_missing_file_fails_without_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "classify_file.py"), "nothing.wav"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing.wav" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.broker
def test_follow_events(tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as broker,
        running("follow_events.py", "--host", "127.0.0.1", "--port", str(broker.port)) as example,
    ):
        assert line_of(example.stdout).startswith("connected")
        broker.wait_log("Received SUBSCRIBE")
        with Recorder(broker.port) as publisher:
            publisher.publish("serd/attic/emotion", b"[]")
        assert line_of(example.stdout) == "not an event: serd/attic/emotion\n"
        done = run_serd(
            "--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={broker.port}",
            "--set", "node=attic", "run", "--source", str(SAMPLE), "--pace", "fast",
            home=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        first = line_of(example.stdout)
        assert "  attic: " in first
        example.send_signal(signal.SIGINT)
        assert example.wait(TIMEOUT_S) == 0


@pytest.mark.pulse
def test_feed_a_microphone_block_by_block(tmp_path: Path) -> None:
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "speech.wav", samples[: 8 * rate], rate)
    with (
        virtual_microphone(rate=48_000, channels=1) as microphone,
        running("microphone_blocks.py", env=microphone.env) as example,
    ):
        while not line_of(example.stderr).startswith("listening"):
            pass  # ALSA's own messages come first
        with microphone.playing(tmp_path / "speech.wav"):
            prediction = json.loads(line_of(example.stdout))
        assert prediction["emotion"] in {*EMOTIONS, UNCERTAIN}
        assert prediction["end_s"] > prediction["start_s"]
        example.send_signal(signal.SIGINT)
        assert example.wait(TIMEOUT_S) == 0
