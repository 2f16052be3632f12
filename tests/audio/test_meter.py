from __future__ import annotations

import numpy as np
import pytest

from serd.audio.format import SAMPLE_RATE
from serd.audio.level import FALL_DB_PER_S, HOLD_S, LevelMeter


def sine(amplitude: float, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def test_a_reading_without_audio() -> None:
    reading = LevelMeter().read()
    assert (reading.seconds, reading.rms_dbfs, reading.peak_dbfs) == (0, -120, -120)
    assert (reading.room_dbfs, reading.clipped_share, reading.flat) == (-120, 0, False)


def test_the_levels_of_a_sine() -> None:
    meter = LevelMeter()
    meter.feed(sine(0.5, 2))
    reading = meter.read()
    assert reading.seconds == 2
    assert reading.rms_dbfs == pytest.approx(-9.03, abs=0.01)
    assert reading.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert reading.room_dbfs == pytest.approx(-9.03, abs=0.2)
    assert reading.offset == pytest.approx(0, abs=1e-4)
    assert not reading.flat


def test_each_reading_starts_anew_but_the_held_peak_falls_slowly() -> None:
    meter = LevelMeter()
    meter.feed(sine(1.0, 0.1))
    assert meter.read().held_dbfs == pytest.approx(0, abs=0.01)
    quiet = sine(0.001, 0.5)
    for _ in range(3):
        meter.feed(quiet)
    reading = meter.read()
    assert reading.peak_dbfs == pytest.approx(-60, abs=0.01)
    assert reading.held_dbfs == pytest.approx(0, abs=0.01)
    meter.feed(quiet)
    seconds = 2.0 - HOLD_S
    assert meter.read().held_dbfs == pytest.approx(-seconds * FALL_DB_PER_S, abs=0.5)
    for _ in range(10):
        meter.feed(quiet)
    assert meter.read().held_dbfs == pytest.approx(-60, abs=0.01)


def test_clipping_is_a_share_of_the_last_ten_seconds() -> None:
    meter = LevelMeter()
    meter.feed(np.clip(sine(10.0, 1), -1, 1))
    meter.feed(sine(0.5, 1))
    assert 0.45 < meter.read().clipped_share < 0.5
    meter.feed(sine(0.5, 11))
    assert meter.read().clipped_share == 0


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
def test_a_constant_input_is_flat(value: float) -> None:
    meter = LevelMeter()
    meter.feed(np.full(SAMPLE_RATE // 2, value, np.float32))
    assert not meter.read().flat  # half a second is too short
    meter.feed(np.full(SAMPLE_RATE, value, np.float32))
    assert meter.read().flat
    meter.feed(sine(0.0001, 0.1))
    assert not meter.read().flat


def test_the_level_of_the_room_is_measured_between_words() -> None:
    meter = LevelMeter()
    for _ in range(5):
        meter.feed(sine(0.5, 0.8))
        meter.feed(sine(0.01, 0.2))
    assert meter.read().room_dbfs == pytest.approx(-43, abs=0.5)


def test_block_sizes_make_no_difference() -> None:
    chance = np.random.default_rng(3)
    samples = (0.3 * chance.standard_normal(SAMPLE_RATE)).astype(np.float32)
    whole, parts = LevelMeter(), LevelMeter()
    whole.feed(samples)
    for part in np.split(samples, np.sort(chance.integers(0, len(samples), 50))):
        parts.feed(part)
    one, other = whole.read(), parts.read()
    for name in ("seconds", "rms_dbfs", "peak_dbfs", "room_dbfs", "clipped_share", "offset"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6)
