"""``serd demo`` works with or without a broker and leaves nothing behind."""

from __future__ import annotations

import http.server
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
import soundfile as sf

from serd.audio import SAMPLE
from tests.broker import Recorder, mosquitto
from tests.cli.test_discovery import retained
from tests.ports import free_port
from tests.system.node import TIMEOUT_S, environment, serd_command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def demo(home: Path, port: int, *settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``serd demo`` on the first 6 s of the sample instead of a microphone."""
    short = home / "short.wav"
    samples, rate = sf.read(SAMPLE, frames=16_000 * 6)
    sf.write(short, samples, rate)
    given = (f"mqtt.port={port}", f"audio.source={short}", "audio.pace=fast", "node=den", *settings)
    options = [part for setting in given for part in ("--set", setting)]
    return subprocess.run(
        serd_command("demo", *options), cwd=home, env=environment(home), capture_output=True,
        text=True, timeout=2 * TIMEOUT_S, check=False,
    )  # fmt: skip


def test_leaves_nothing_on_an_existing_broker(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        ran = tmp_path / "ran"
        hook = f"hooks=[{{command: [touch, {ran}]}}]"
        done = demo(tmp_path, broker.port, hook)
        assert done.returncode == 0, done.stderr
        assert "live from serd/den-demo/emotion" in done.stderr
        recorder.wait_for("serd/den-demo/status", b"")
        topics = {message.topic for message in recorder.messages}
        assert topics <= {topic for topic in topics if topic.startswith("serd/den-demo/")}
        assert retained(broker) == set()
    assert not ran.exists()
    assert done.stdout.count("dB") >= 1


def test_starts_its_own_broker_if_a_login_is_required(tmp_path: Path) -> None:
    with mosquitto(tmp_path, password="hush") as broker:
        done = demo(tmp_path, broker.port)
    assert done.returncode == 0, done.stderr
    assert "wants a user name and a password; so serd starts its own broker" in done.stderr
    assert "event" in done.stderr.splitlines()[-1]
    assert "dB" in done.stdout


def test_starts_its_own_broker_if_an_acl_blocks_it(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite other/#\n")
    acl.chmod(0o644)
    with mosquitto(tmp_path, extra=(f"acl_file {acl}",)) as broker:
        done = demo(tmp_path, broker.port)
    assert done.returncode == 0, done.stderr
    assert "drop what serd publishes; so serd starts its own broker" in done.stderr


def test_starts_its_own_broker_if_an_http_server_has_the_port(tmp_path: Path) -> None:
    handler = http.server.SimpleHTTPRequestHandler
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            done = demo(tmp_path, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
    assert done.returncode == 0, done.stderr
    assert "so serd starts its own broker" in done.stderr
    assert "Traceback" not in done.stderr


def test_starts_its_own_broker_if_a_silent_server_has_the_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = demo(tmp_path, server.getsockname()[1])
    assert done.returncode == 0, done.stderr
    assert "so serd starts its own broker" in done.stderr


def test_starts_its_own_broker_if_broker_and_password_file_are_missing(tmp_path: Path) -> None:
    missing_login = ("mqtt.username=pi", "mqtt.password_file=/nowhere")
    done = demo(tmp_path, free_port(), *missing_login)
    assert done.returncode == 0, done.stderr
    assert "so serd starts its own broker" in done.stderr


def test_the_microphone_of_a_muted_room_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serd.cli.demo import _no_microphone
    from serd.config import Config

    def opened(_: object) -> None:
        raise AssertionError("the microphone was opened")

    monkeypatch.setattr("serd.audio.microphone.Microphone.open", opened)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert _no_microphone(Config(node="den", mute=True)) == "den is muted"
