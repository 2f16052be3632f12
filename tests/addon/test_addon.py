"""The add-on's program in its environment: Supervisor, sound, broker, ingress and browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from serd.audio import SAMPLE
from tests.addon.supervisor import INGRESS, PATH, TOKEN, Supervisor, ingress
from tests.broker import Mosquitto, Recorder, mosquitto
from tests.dashboard.running import chromium
from tests.ports import free_port
from tests.pulse import VirtualMicrophone, virtual_microphone
from tests.system.node import environment, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.addon, pytest.mark.slow, pytest.mark.timeout(1200)]

TOPIC = "serd/den/emotion"
WAIT_S = 120.0


class AddOn:
    """``python -m serd.addon`` as its container runs it; a context manager."""

    def __init__(self, data: Path, supervisor: Supervisor, mic: VirtualMicrophone) -> None:
        self.data = data
        self.page = free_port()
        self.log: list[str] = []
        asound = data.parent / "asound.conf"  # as the image and the Supervisor have it
        asound.write_text("</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\n")
        self._command = [
            sys.executable, "-m", "serd.addon", "--data", str(data), "--host", "127.0.0.1",
            "--supervisor", supervisor.address, "--ingress", INGRESS, "--port", str(self.page),
        ]  # fmt: skip
        pulse = {k: v for k, v in mic.env.items() if k.startswith("PULSE_")}
        more = {
            **pulse, "ALSA_CONFIG_PATH": str(asound), "SUPERVISOR_TOKEN": TOKEN,
            "SERD_METRICS__PORT": str(free_port()),
        }  # fmt: skip
        self.env = environment(data.parent) | more

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, env=self.env, cwd=self.data, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def stop(self) -> int:
        """Stop it as the Supervisor does; returns the exit code."""
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def wait_log(self, text: str) -> None:
        """Wait until its log contains the text."""
        for _ in range(int(WAIT_S * 5)):
            if any(text in line for line in self.log):
                return
            threading.Event().wait(0.2)
        raise AssertionError(f"waited for {text!r}: {self.log}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def mic() -> Iterator[VirtualMicrophone]:
    """Two microphones; the second is the server's default, to which orphaned streams are moved."""
    with virtual_microphone() as room:
        for module in (
            "module-null-sink sink_name=kitchen",
            "module-rescue-streams",
            "module-always-sink",
        ):
            _pactl(room, "load-module", *module.split())
        _pactl(room, "set-default-source", "kitchen.monitor")
        yield room


@pytest.fixture
def supervisor(broker: Mosquitto) -> Iterator[Supervisor]:
    with Supervisor() as running:
        running.mqtt = {
            "host": "127.0.0.1", "port": broker.port, "ssl": False, "protocol": "3.1.1",
            "username": "addons", "password": "of the broker",
        }  # fmt: skip
        running.audio_input = "room.monitor"
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    options = {"node": "den", "log_level": "info", "speech_aggressiveness": 1, "old_option": 7}
    (folder / "options.json").write_text(json.dumps(options))
    return folder


def _pactl(mic: VirtualMicrophone, *arguments: str) -> str:
    return subprocess.run(
        ["pactl", *arguments], env=mic.env, check=True, capture_output=True, text=True
    ).stdout


def _recorded(mic: VirtualMicrophone) -> list[str]:
    """The sources that are being recorded."""
    sources = dict(
        line.split("\t")[:2] for line in _pactl(mic, "list", "short", "sources").splitlines()
    )
    lines = _pactl(mic, "list", "short", "source-outputs").splitlines()
    return [sources.get(line.split("\t")[1], "?") for line in lines]


def _wait(condition: object, what: str, addon: AddOn) -> None:
    for _ in range(int(WAIT_S * 5)):
        if condition():  # type: ignore[operator]
            return
        threading.Event().wait(0.2)
    raise AssertionError(f"waited for {what}: {addon.log}")


def test_the_chosen_microphone_is_used_after_restarts_and_replugging(
    data: Path, supervisor: Supervisor, mic: VirtualMicrophone, broker: Mosquitto
) -> None:
    with Recorder(broker.port) as recorder:
        with AddOn(data, supervisor, mic) as addon:
            _wait(lambda: _recorded(mic) == ["room.monitor"], "the chosen one", addon)
            mic.play(SAMPLE)
            recorder.wait(lambda: len(recorder.on(TOPIC)) >= 3, WAIT_S)
            assert any(
                "u'addons'" in line for line in broker.log
            )  # the Supervisor's login was used
            assert addon.stop() == 0, addon.log
            assert "the microphone is room.monitor" in "\n".join(addon.log)
        with AddOn(data, supervisor, mic) as addon:
            _wait(lambda: _recorded(mic) == ["room.monitor"], "the same after a restart", addon)
            mic.unplug()
            # The server moves the recording to the kitchen, which was not chosen.
            _wait(lambda: _recorded(mic) == [], "the end of the recording", addon)
            mic.plug()
            _wait(lambda: _recorded(mic) == ["room.monitor"], "the one that is back", addon)
            before = len(recorder.on(TOPIC))
            mic.play(SAMPLE)
            recorder.wait(lambda: len(recorder.on(TOPIC)) >= before + 3, WAIT_S)
            assert addon.stop() == 0, addon.log
        numbers = [json.loads(payload)["seq"] for payload in recorder.on(TOPIC)]
    assert numbers == list(range(1, len(numbers) + 1))
    print("\n".join(addon.log))
    print("requests to the Supervisor:", supervisor.requests)
    assert {status for _, status in supervisor.requests} == {200}


def test_the_page_behind_ingress(
    data: Path, supervisor: Supervisor, mic: VirtualMicrophone, broker: Mosquitto, tmp_path: Path
) -> None:
    with (
        AddOn(data, supervisor, mic) as addon,
        ingress(tmp_path / "nginx", addon.page) as home,
        Recorder(broker.port) as recorder,
        chromium(tmp_path) as browser,
    ):
        recorder.wait_for("serd/den/status", b"online")
        recorder.wait_for("serd/den/mute", b"OFF")
        addon.wait_log("dashboard at")
        port = {"SERD_METRICS__PORT": addon.env["SERD_METRICS__PORT"]}
        # It may be online at the broker before it has received any audio.
        _wait(lambda: run_serd("health", home=tmp_path, env=port).returncode == 0, "health", addon)
        # Requests that do not come through ingress are rejected.
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{addon.page}/")
        assert refused.value.code == 403
        refused.value.close()
        mic.play(SAMPLE)
        recorder.wait(lambda: len(recorder.on(TOPIC)) >= 3, WAIT_S)
        browser.size(1280, 900)
        browser.open(f"{home}{PATH}/")
        browser.wait("document.body.innerText.includes('den')")
        shots = Path(os.environ.get("SERD_SCREENSHOTS", tmp_path))
        (shots / "ingress-page.png").write_bytes(browser.driver.get_screenshot_as_png())
        # In Home Assistant's own page it is a frame, and its switch works there.
        browser.open(f"{home}/hassio/ingress/local_serd")
        frame = browser.find("iframe")
        browser.driver.switch_to.frame(frame)
        browser.wait("document.body.innerText.includes('den')")
        done = browser.run(
            "return fetch('api/nodes/den/mute', {method: 'POST', body: '{\"muted\": true}', "
            "headers: {'content-type': 'application/json'}}).then(answer => answer.status)"
        )
        assert done == 200
        recorder.wait_for("serd/den/mute", b"ON")
        browser.driver.switch_to.default_content()
        (shots / "ingress-frame.png").write_bytes(browser.driver.get_screenshot_as_png())
        assert addon.stop() == 0, addon.log
        recorder.wait_for("serd/den/status", b"offline")


def test_a_missing_broker_is_reported(
    data: Path, supervisor: Supervisor, mic: VirtualMicrophone
) -> None:
    supervisor.mqtt = None
    with AddOn(data, supervisor, mic) as addon:
        addon.wait_log("there is no MQTT broker")
        assert any("Mosquitto broker" in line for line in addon.log)
        assert addon.stop() == 0


def test_a_wrong_token_is_reported(
    data: Path, supervisor: Supervisor, mic: VirtualMicrophone
) -> None:
    addon = AddOn(data, supervisor, mic)
    addon.env["SUPERVISOR_TOKEN"] = "wrong"
    with addon:
        addon.wait_log("status 401")
        assert addon.stop() == 0
