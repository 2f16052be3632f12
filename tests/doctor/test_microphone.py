"""``serd check`` with a real microphone: a PulseAudio null sink that the tests play into."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from tests.doctor.faults import Installation
from tests.pulse import VirtualMicrophone, virtual_microphone

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
def installation(tmp_path: Path, microphone: VirtualMicrophone) -> Iterator[Installation]:
    with ExitStack() as stack:
        installation = Installation(tmp_path, stack)
        installation.settings["audio"] = {"source": "mic"}
        installation.settings["mqtt"]["port"] = 1  # no broker there; these tests need none
        installation.env = {k: v for k, v in microphone.env.items() if k != "HOME"}
        installation.listen = "4"
        yield installation


def hiss(level_dbfs: float, seconds: float = 40.0) -> NDArray[Any]:
    noise = np.random.default_rng(5).standard_normal(round(RATE * seconds))
    return np.clip(noise * 10 ** (level_dbfs / 20), -1, 1)


def examine(
    installation: Installation,
    microphone: VirtualMicrophone,
    samples: NDArray[Any] | None,
    rate: int = RATE,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Check while the samples are played; returns the findings by check and status."""
    playing = installation.home / "played.wav"
    with ExitStack() as stack:
        if samples is not None:
            sf.write(playing, samples, rate, subtype="PCM_16")
            player = stack.enter_context(
                subprocess.Popen(["paplay", "--device=room", str(playing)], env=microphone.env)
            )
            stack.callback(player.kill)
        _, findings, stderr = installation.check()
    assert "Traceback" not in stderr
    return {(row["check"], row["status"]): row for row in findings}


def test_digital_silence(installation: Installation, microphone: VirtualMicrophone) -> None:
    found = examine(installation, microphone, None)
    assert "every sample has the same value" in found["level", "fail"]["message"]
    assert "unmute it with `alsamixer`" in found["level", "fail"]["remedy"]


def test_too_quiet(installation: Installation, microphone: VirtualMicrophone) -> None:
    found = examine(installation, microphone, hiss(-88))
    assert "nearly silent" in found["level", "warn"]["message"]
    assert "capture level up" in found["level", "warn"]["remedy"]


def test_clipping(installation: Installation, microphone: VirtualMicrophone) -> None:
    found = examine(installation, microphone, hiss(0))
    assert "of the samples are clipped" in found["level", "warn"]["message"]
    assert "capture level down" in found["level", "warn"]["remedy"]


def test_noise(installation: Installation, microphone: VirtualMicrophone) -> None:
    found = examine(installation, microphone, hiss(-25))
    assert "noisy" in found["level", "warn"]["message"]


def test_speech(installation: Installation, microphone: VirtualMicrophone) -> None:
    samples, rate = sf.read(SAMPLE, dtype="float32")
    installation.listen = "8"
    found = examine(installation, microphone, samples * 0.5, rate)
    assert ("device", "ok") in found
    assert ("level", "ok") in found
    assert "heard" in found["voice", "ok"]["message"]


def test_a_device_given_by_index(installation: Installation, microphone: VirtualMicrophone) -> None:
    installation.listen = "0"
    installation.settings["audio"]["device"] = "0"
    found = examine(installation, microphone, None)
    assert "changes when devices are plugged" in found["device", "warn"]["message"]
    assert found["device", "warn"]["remedy"].startswith("set audio.device to ")
    assert found["level", "skip"]["message"] == "not checked: --listen 0"


def test_a_missing_device(installation: Installation, microphone: VirtualMicrophone) -> None:
    installation.settings["audio"]["device"] = "usb:dead:beef"
    found = examine(installation, microphone, None)
    assert "no input device answers to 'usb:dead:beef'" in found["device", "fail"]["message"]
    assert found["device", "fail"]["remedy"] == "set audio.device to an id"
    assert not {key for key in found if key[0] in {"level", "voice"}}
