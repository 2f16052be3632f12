from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from serd.audio.devices import Device
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.config import AudioConfig
    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]

USB = Device(
    index=1, id="usb:0d8c:0014", name="USB PnP Sound Device: Audio (hw:1,0)", host_api="ALSA",
    native_rate=44_100, channels=1, aliases=("alsa:Device",),
)  # fmt: skip
PULSE = Device(
    index=4, id="name:pulse", name="pulse", host_api="ALSA", native_rate=44_100, channels=2,
    default=True,
)  # fmt: skip


@pytest.fixture
def connected_devices(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    devices = [USB, PULSE]
    monkeypatch.setattr("serd.audio.devices.list_devices", lambda: list(devices))
    return devices


def test_table(serd: Serd, connected_devices: list[Device]) -> None:
    assert serd("devices") == (
        0,
        (
            "   ID             RATE      CHANNELS  NAME\n"
            "   usb:0d8c:0014  44100 Hz  1         USB PnP Sound Device: Audio (hw:1,0)\n"
            "*  name:pulse     44100 Hz  2         pulse (default)\n"
        ),
        "* marks what the configuration uses\n",
    )


def test_the_configured_device_is_marked(serd: Serd, connected_devices: list[Device]) -> None:
    lines = serd("devices", "--set", "audio.device=usb:0d8c:0014").out.splitlines()
    assert [line[0] for line in lines] == [" ", "*", " "]


def test_json(serd: Serd, connected_devices: list[Device]) -> None:
    code, out, err = serd("devices", "--json", "--set", "audio.device=USB PnP")
    assert (code, err) == (0, "")
    assert json.loads(out) == [
        {
            "id": "usb:0d8c:0014",
            "aliases": ["alsa:Device"],
            "name": "USB PnP Sound Device: Audio (hw:1,0)",
            "host_api": "ALSA",
            "native_rate_hz": 44100,
            "channels": 1,
            "index": 1,
            "default": False,
            "picked": True,
        },
        {
            "id": "name:pulse",
            "aliases": [],
            "name": "pulse",
            "host_api": "ALSA",
            "native_rate_hz": 44100,
            "channels": 2,
            "index": 4,
            "default": True,
            "picked": False,
        },
    ]


def test_levels_of_the_channels(
    serd: Serd, connected_devices: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(settings: AudioConfig, seconds: float) -> tuple[float, ...]:
        measured.append((settings.device, seconds))
        return (-31.25, -120.0)

    monkeypatch.setattr("serd.doctor.sound.measure", measure)
    lines = serd("devices", "--listen", "2").out.splitlines()
    assert lines[3:] == [
        "name:pulse, channel 1: -31.2 dBFS",
        "name:pulse, channel 2: -120.0 dBFS",
    ]
    plain = json.loads(serd("devices", "--listen", "2", "--json").out)
    assert [row.get("channel_dbfs") for row in plain] == [None, [-31.2, -120.0]]
    assert measured == [("name:pulse", 2.0)] * 2


def test_a_missing_device_is_reported_after_the_list(
    serd: Serd, connected_devices: list[Device]
) -> None:
    code, out, err = serd("devices", "--set", "audio.device=snowball")
    assert code == 69
    assert len(out.splitlines()) == 3
    assert err.startswith("serd: no input device answers to 'snowball'; there are: ")


def test_no_devices(serd: Serd, connected_devices: list[Device]) -> None:
    connected_devices.clear()
    code, out, err = serd("devices", "--json")
    assert (code, out) == (69, "[]\n")
    assert err.startswith("serd: no microphone was found: ")


def test_no_audio_library(serd: Serd, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Device]:
        raise UnavailableError("PortAudio is not installed", remedy="apt install libportaudio2")

    monkeypatch.setattr("serd.audio.devices.list_devices", fail)
    assert serd("devices") == (
        69,
        "",
        "serd: PortAudio is not installed\n      apt install libportaudio2\n",
    )
