from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf
import soxr

from serd.audio import SAMPLE
from serd.audio.rawcheck import RawCheck, judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEECH, _ = sf.read(SAMPLE, dtype="float32")
SPEECH = np.clip(np.tile(SPEECH, 3), -0.999, 0.999)


def s16(samples: NDArray[np.float32]) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def resampled(rate: int) -> NDArray[np.float32]:
    out: NDArray[np.float32] = np.clip(soxr.resample(SPEECH, 16_000, rate), -1, 1)
    return out


def warnings(data: bytes, caplog: pytest.LogCaptureFixture, rate: int = 16_000) -> str:
    check = RawCheck(rate, "the samples")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for start in range(0, len(data), 30_000):
            if check.feed(data[start : start + 30_000], 0.0):
                break
    assert len(caplog.records) <= 1
    return caplog.text


STEREO = np.stack([SPEECH, SPEECH], axis=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SPEECH.astype("<f4").tobytes(), "32-bit floating point"),
        ((SPEECH / 100).astype("<f4").tobytes(), "32-bit floating point"),
        (SPEECH.astype("<f8").tobytes(), "64-bit floating point"),
        ((SPEECH.astype("f8") * 2_147_000_000).astype("<i4").tobytes(), "32-bit integers"),
        ((SPEECH * 127 + 128).astype(np.uint8).tobytes(), "8-bit"),
        (s16(SPEECH)[1:] + b"\0", "big-endian"),
        ((SPEECH * 32_767).astype(">i2").tobytes(), "big-endian"),
        (s16(STEREO), "two channels"),
        (s16(STEREO * np.array([1, -1])), "2 channels"),
        (s16(STEREO * np.array([1, 0])), "two channels"),
        (s16(STEREO * np.array([0, 1])), "stereo with one channel silent"),
        (s16(np.stack([np.roll(SPEECH, k * 9_000) for k in range(6)], axis=1)), "6 channels"),
        (s16(resampled(48_000)), "is the rate higher"),
        (s16(resampled(44_100)), "is the rate higher"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_other_samples_are_reported(
    data: bytes, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    warned = warnings(data, caplog)
    assert message in warned
    assert "expects 16-bit little-endian mono at 16000 Hz" in warned


@pytest.mark.parametrize(
    "samples",
    [
        SPEECH,
        SPEECH / 30,
        np.clip(SPEECH * 8, -1, 1),
        SPEECH / 4 + np.random.default_rng(0).normal(0, 0.01, len(SPEECH)),
        np.random.default_rng(0).normal(0, 0.05, 400_000),
        0.1 * np.sin(2 * np.pi * 50 * np.arange(800_000) / 16_000),
        0.1 * np.sin(2 * np.pi * 1_000 * np.arange(800_000) / 16_000),
        np.zeros(400_000),
    ],
    ids=["speech", "quiet", "clipped", "noisy", "noise", "hum", "tone", "silence"],
)
def test_valid_samples_give_no_warning(
    samples: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings(s16(samples), caplog) == ""


def test_too_quiet_a_window_gives_no_verdict() -> None:
    assert judge(s16(SPEECH[:48_000] / 3_000), 16_000) == (False, None)


@pytest.mark.parametrize(
    ("pace", "warned"), [(1.0, False), (3.0, True), (0.5, True), (60.0, False)]
)
def test_a_wrong_rate_is_detected_by_the_pace_of_arrival(
    pace: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check = RawCheck(16_000, "the samples")
    second = bytes(2 * round(16_000 * pace))
    with caplog.at_level(logging.WARNING):
        for now in range(30):
            if check.feed(second, float(now)):
                break
    assert ("times as fast as they sound" in caplog.text) is warned
    if pace == 3.0:
        assert "is the rate 48000 Hz" in caplog.text
