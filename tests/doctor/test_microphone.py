"""The doctor at a real microphone: PulseAudio's null sink, with what is played into it."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf

from tests.doctor.planting import Garden
from tests.pulse import VirtualMicrophone, virtual_microphone
from tests.system.node import SAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = [pytest.mark.pulse, pytest.mark.slow]

RATE = 44_100


@pytest.fixture(scope="module")
def microphone() -> Iterator[VirtualMicrophone]:
    with virtual_microphone(rate=RATE, channels=1) as running:
        yield running


@pytest.fixture
def garden(tmp_path: Path, microphone: VirtualMicrophone) -> Iterator[Garden]:
    with ExitStack() as stack:
        garden = Garden(tmp_path, stack)
        garden.settings["audio"] = {"source": "mic"}
        garden.settings["mqtt"]["port"] = 1  # nobody there; not what these tests look at
        garden.env = {k: v for k, v in microphone.env.items() if k != "HOME"}
        garden.listen = "4"
        yield garden


def hiss(level_dbfs: float, seconds: float = 40.0) -> NDArray[Any]:
    noise = np.random.default_rng(5).standard_normal(round(RATE * seconds))
    return np.clip(noise * 10 ** (level_dbfs / 20), -1, 1)


def examine(
    garden: Garden, microphone: VirtualMicrophone, samples: NDArray[Any] | None, rate: int = RATE
) -> dict[tuple[str, str], dict[str, Any]]:
    """Check while something is played; findings by check and status."""
    playing = garden.home / "played.wav"
    with ExitStack() as stack:
        if samples is not None:
            sf.write(playing, samples, rate, subtype="PCM_16")
            player = stack.enter_context(
                subprocess.Popen(["paplay", "--device=room", str(playing)], env=microphone.env)
            )
            stack.callback(player.kill)
        _, findings, stderr = garden.check()
    assert "Traceback" not in stderr
    return {(row["check"], row["status"]): row for row in findings}


def test_silence(garden: Garden, microphone: VirtualMicrophone) -> None:
    found = examine(garden, microphone, None)
    assert "every sample has the same value" in found["level", "fail"]["message"]
    assert "unmute it with `alsamixer`" in found["level", "fail"]["remedy"]


def test_too_quiet(garden: Garden, microphone: VirtualMicrophone) -> None:
    found = examine(garden, microphone, hiss(-88))
    assert "nearly silent" in found["level", "warn"]["message"]
    assert "capture level up" in found["level", "warn"]["remedy"]


def test_clipping(garden: Garden, microphone: VirtualMicrophone) -> None:
    found = examine(garden, microphone, hiss(0))
    assert "of the samples are clipped" in found["level", "warn"]["message"]
    assert "capture level down" in found["level", "warn"]["remedy"]


def test_noise(garden: Garden, microphone: VirtualMicrophone) -> None:
    found = examine(garden, microphone, hiss(-25))
    assert "noisy" in found["level", "warn"]["message"]


def test_a_voice(garden: Garden, microphone: VirtualMicrophone) -> None:
    samples, rate = sf.read(SAMPLE, dtype="float32")
    garden.listen = "8"
    found = examine(garden, microphone, samples * 0.5, rate)
    assert ("device", "ok") in found
    assert ("level", "ok") in found
    assert "heard" in found["voice", "ok"]["message"]


def test_a_device_by_its_number(garden: Garden, microphone: VirtualMicrophone) -> None:
    garden.listen = "0"
    garden.settings["audio"]["device"] = "0"
    found = examine(garden, microphone, None)
    assert "changes when devices are plugged" in found["device", "warn"]["message"]
    assert found["device", "warn"]["remedy"].startswith("set audio.device to ")
    assert found["level", "skip"]["message"] == "not checked: --listen 0"


def test_a_device_that_is_not_there(garden: Garden, microphone: VirtualMicrophone) -> None:
    garden.settings["audio"]["device"] = "usb:dead:beef"
    found = examine(garden, microphone, None)
    assert "no input device answers to 'usb:dead:beef'" in found["device", "fail"]["message"]
    assert found["device", "fail"]["remedy"] == "set audio.device to an id"
    assert not {key for key in found if key[0] in {"level", "voice"}}
