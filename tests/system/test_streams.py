"""Cameras, programs and pipes as the source, with the real daemon and a real broker."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests import streams
from tests.broker import Recorder, mosquitto
from tests.faults.manager import Manager, service_manager
from tests.faults.proof import EMOTION
from tests.faults.talk import utterance
from tests.system.node import Node, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Mosquitto

pytestmark = pytest.mark.broker

PASSWORD = "hunter22-and-more"  # made up


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def recorder(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port) as recorder:
        yield recorder


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with service_manager(tmp_path) as manager:
        del manager.env["SERD_AUDIO__ON_END"]  # serd's default is tested
        yield manager


def telemetry(recorder: Recorder) -> dict[str, Any]:
    payload = recorder.last("serd/test-room/telemetry")
    return {} if payload is None else dict(json.loads(payload))


def wait_for_event(recorder: Recorder) -> None:
    before = len(recorder.on(EMOTION))
    recorder.wait(lambda: len(recorder.on(EMOTION)) > before, 240.0)


def descendants(pid: int) -> list[int]:
    """The running child processes of a process."""
    output = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in output.stdout.split()]


def test_a_camera_survives_outages_without_exposing_its_password(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager
) -> None:
    login = f"camera:{PASSWORD}"
    with (
        streams.rtsp(tmp_path, password=PASSWORD, login=login) as camera,
        Node(tmp_path, broker.port, "--source", camera.url, env=manager.env) as node,
    ):
        node.wait_log("listening to rtsp://********@127.0.0.1")
        wait_for_event(recorder)
        shown = subprocess.check_output(["ps", "axww", "-o", "args"], text=True)
        ours = [line for line in shown.splitlines() if "rtsp_server.py" not in line]
        assert any("ffmpeg -hide" in line for line in ours)
        assert not any(PASSWORD in line for line in ours)

        camera.kill()
        manager.wait_status("waiting for the source")
        recorder.wait(lambda: telemetry(recorder).get("condition") == "waiting", 240.0)
        camera.start()
        wait_for_event(recorder)
        camera.freeze()
        manager.wait_status("waiting for the source")
        manager.wait_fed()  # serd waits and feeds the watchdog
        camera.thaw()
        wait_for_event(recorder)

        # While muted, the connection is closed and no ffmpeg runs.
        recorder.publish("serd/test-room/mute/set", b"ON")
        streams.waited(lambda: not descendants(node.pid), 240.0)
        recorder.publish("serd/test-room/mute/set", b"OFF")
        wait_for_event(recorder)
        assert node.stop() == 0, node.log
        assert not descendants(node.pid)
    output = "\n".join([*node.log, *(str(message) for message in recorder.messages)])
    assert PASSWORD not in output
    assert sum("trying again" in line for line in node.log) <= 6, node.log


def test_every_command_hides_the_password(tmp_path: Path) -> None:
    url = f"rtsp://camera:{PASSWORD}@127.0.0.1:1/live"
    home = tmp_path
    env = {"SERD_AUDIO__SOURCE": url}
    for command, expected in {
        ("config", "show"): "rtsp://********@127.0.0.1:1/live",
        ("config", "show", "--json"): "rtsp://********@127.0.0.1:1/live",
        ("devices",): "rtsp://********@127.0.0.1:1/live (network)",
        ("devices", "--json"): "rtsp://********@127.0.0.1:1/live",
        ("check", "--listen", "1"): "the connection was refused",
        ("meter", "--seconds", "1"): "the connection was refused",
        ("config", "validate", "--set", f"audio.source={url}", "--set", "audio.pace=x"): "pace",
        ("meter", "--set", f"audio.source=file://u:{PASSWORD}@h/x"): "file is not supported",
    }.items():
        streams.need("ffmpeg")
        done = run_serd(*command, home=home, env=env)
        assert expected in done.stdout + done.stderr, command
        assert PASSWORD not in done.stdout + done.stderr, command
        assert "Traceback" not in done.stderr


def test_a_wrong_camera_password_is_reported_once(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with (
        streams.rtsp(tmp_path, password=PASSWORD, login="camera:wr0ng-word") as camera,
        Node(tmp_path, broker.port, "--source", camera.url) as node,
    ):
        node.wait_log("the login was refused")
        recorder.wait(lambda: "login" in (telemetry(recorder).get("trouble") or ""), 240.0)
        assert node.stop() == 0, node.log
    assert "wr0ng-word" not in "\n".join(node.log)
    assert sum("trying again" in line for line in node.log) == 1


def test_a_source_program_is_restarted_when_it_exits(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    raw = tmp_path / "a.raw"
    raw.write_bytes(utterance().tobytes())
    command = f'["sh", "-c", "cat {raw}; sleep 0.2; echo gone >&2; exit 4"]'
    with Node(tmp_path, broker.port, "--set", f"audio.command={command}") as node:
        node.wait_log("the program sh left with 4: gone")
        recorder.wait_count(EMOTION, 3)
        assert node.stop() == 0, node.log
    assert not descendants(node.pid)


def test_a_named_pipe_under_a_service_manager_is_read_again_after_its_end(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    try:
        with Node(tmp_path, broker.port, "--source", "-", env=manager.env, stdin=reading) as node:
            for count in (1, 2):
                with fifo.open("wb") as writer:
                    writer.write(utterance().tobytes())
                recorder.wait_count(EMOTION, count)
                node.wait_log("standard input has ended after", count=count)
            manager.wait_status("waiting for the source")
            assert node.stop() == 0, node.log
    finally:
        os.close(reading)


def test_a_closed_pipe_under_a_service_manager_is_an_error(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager
) -> None:
    reading, writing = os.pipe()
    with Node(tmp_path, broker.port, "--source", "-", env=manager.env, stdin=reading) as node:
        os.write(writing, utterance().tobytes()[:60_000])
        os.close(writing)
        assert node.wait() == 66, node.log
    os.close(reading)
    assert any("can bring no more" in line for line in node.log)


def test_a_recording_through_a_pipe(tmp_path: Path, broker: Mosquitto, recorder: Recorder) -> None:
    streams.need("ffmpeg")
    m4a = tmp_path / "a.m4a"
    command = ["ffmpeg", "-loglevel", "error", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-",
               "-movflags", "+faststart", str(m4a)]  # fmt: skip
    speech = np.tile(utterance(), 3).tobytes()
    subprocess.run(command, input=speech, check=True, timeout=240)
    reading, writing = os.pipe()
    with Node(tmp_path, broker.port, "--source", "-", stdin=reading) as node:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(m4a.read_bytes())
        assert node.wait() == 0, node.log
    recorder.wait_count(EMOTION, 3)
    assert any("MP4 or M4A" in line for line in node.log)
    assert any("standard input has ended after" in line for line in node.log)
