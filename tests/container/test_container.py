"""The image: events from sound, stopping, persistence and the health check."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from serd.audio import SAMPLE
from tests.broker import Recorder, mosquitto
from tests.container.container import TIMEOUT_S, VARIABLE, Container, podman
from tests.layer import TREE
from tests.ports import free_port
from tests.pulse import virtual_microphone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.pulse import VirtualMicrophone

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(900)]

TOPIC = "serd/den/emotion"


@pytest.fixture
def mic() -> Iterator[VirtualMicrophone]:
    with virtual_microphone() as microphone:
        folder = microphone.socket.parent
        folder.chmod(0o755)
        yield microphone


def _settings(port: int, mic: VirtualMicrophone | None = None) -> dict[str, str]:
    env = {
        "SERD_NODE": "den",
        "SERD_MQTT__HOST": "127.0.0.1",
        "SERD_MQTT__PORT": str(port),
        "SERD_METRICS__PORT": str(free_port()),
    }
    if mic is not None:
        env |= {"PULSE_SERVER": "unix:/run/pulse/native", "PULSE_SOURCE": "room.monitor"}
    return env


def test_sound_from_a_pulseaudio_socket_becomes_events(
    mic: VirtualMicrophone, tmp_path: Path
) -> None:
    started = time.monotonic()
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        mounts = {"/run/pulse": mic.socket.parent}
        with Container(tmp_path / "data", _settings(broker.port, mic), mounts=mounts) as container:
            container.wait_until(lambda: mic.recorders() == 1, "serd to listen")
            mic.play(SAMPLE)
            recorder.wait(lambda: len(recorder.on(TOPIC)) >= 5, TIMEOUT_S)
            print(f"first events {time.monotonic() - started:.0f} s after the start")
            # It runs as an unprivileged user on a read-only file system.
            inside = container.execute(
                "/opt/serd/venv/bin/python", "-c",
                "import os; print(os.getuid()); open('/opt/serd/mine', 'w')",
            )  # fmt: skip
            assert inside.stdout.strip() == "10001"
            assert "Read-only file system" in inside.stderr
            done = container.health()
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("den: ")
            started = time.monotonic()
            podman("stop", "--time=30", container.name)
            print(f"stopped within {time.monotonic() - started:.1f} s")
            assert container.wait() == 0, container.log
            recorder.wait_for("serd/den/status", b"offline")
    (image,) = json.loads(podman("image", "inspect", os.environ[VARIABLE]).stdout)
    print(f"image: {image['Size'] / 1e6:.0f} MB, {len(image['RootFS']['Layers'])} layers")


def test_a_kill_loses_no_events(tmp_path: Path) -> None:
    data = tmp_path / "data"
    port = free_port()
    sample = {"/sample.ogg": SAMPLE}
    run_sample = ("run", "--source", "/sample.ogg", "--pace")
    with Container(
        data, _settings(port), mounts=sample, arguments=[*run_sample, "real"]
    ) as container:
        container.wait_until(lambda: _journalled(container) >= 3, "three events in the journal")
        podman("kill", "--signal=KILL", container.name)
        assert container.wait() == 137
    with mosquitto(tmp_path, port=port), Recorder(port) as recorder:
        arguments = [*run_sample, "fast"]
        with Container(data, _settings(port), mounts=sample, arguments=arguments) as container:
            assert container.wait() == 0, container.log
            recorder.wait_for("serd/den/status", b"offline")
        numbers = [json.loads(payload)["seq"] for payload in recorder.on(TOPIC)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 8  # those from before the kill and all of the sample


def test_a_hanging_pipeline_fails_the_health_check_and_ends_the_container(tmp_path: Path) -> None:
    # A hanging pipeline, as in tests/faults, with timeouts of seconds instead of minutes.
    mounts = {"/sample.ogg": SAMPLE, "/faulty.py": TREE / "tests" / "faults" / "faulty.py"}
    data = tmp_path / "data"
    container = Container(
        data, _settings(free_port()), mounts=mounts,
        entrypoint="/opt/serd/venv/bin/python",
        arguments=["/faulty.py", "pipeline-hangs", "run", "--source", "/sample.ogg"],
    )  # fmt: skip
    with container:
        container.wait_until(lambda: container.health().returncode == 0, "serd to be healthy")
        (data / "strike").touch()
        container.wait_until(lambda: container.health().returncode != 0, "a failing health check")
        assert container.wait() == 70, container.log
        assert "hangs" in container.log


def test_an_invalid_setting_is_reported_and_ends_the_container(tmp_path: Path) -> None:
    settings = _settings(free_port()) | {"SERD_SPEECH__AGGRESSIVENESS": "7"}
    with Container(tmp_path / "data", settings) as container:
        assert container.wait() == 78
        assert "SERD_SPEECH__AGGRESSIVENESS" in container.log
        assert "Traceback" not in container.log


def _journalled(container: Container) -> int:
    done = container.execute("/opt/serd/venv/bin/serd", "history", "--json")
    return sum(line.startswith("{") for line in done.stdout.splitlines())
