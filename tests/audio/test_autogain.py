"""The automatic gain: slow, bounded and independent of block sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.audio import SAMPLE
from serd.audio.autogain import CEILING_DB, NOISE_DBFS, AutoGain
from serd.audio.file import read_mono16k
from serd.audio.intake import Intake
from serd.audio.level import rms_dbfs

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000


def voice(level_db: float, noise_dbfs: float, seconds: float = 20.0) -> NDArray[np.float32]:
    """The sample with its level changed, in a room with noise."""
    speech = read_mono16k(SAMPLE)[: round(RATE * seconds)] * 10 ** (level_db / 20)
    noise = np.random.default_rng(4).standard_normal(len(speech)) * 10 ** (noise_dbfs / 20)
    return np.asarray(speech + noise, np.float32)


def amplified(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    gain, out = AutoGain(), samples.copy()
    gain.amplify(out)
    return out, gain.gain_db


def test_a_distant_voice_is_amplified_but_room_noise_stays_low() -> None:
    before = voice(-30, -85)
    after, gain_db = amplified(before)
    assert 15 < gain_db <= CEILING_DB
    assert rms_dbfs(after[-5 * RATE :]) > rms_dbfs(before[-5 * RATE :]) + 10
    _, noisy = amplified(voice(-30, -60))
    assert 0 <= noisy <= NOISE_DBFS + 60 + 3


@pytest.mark.parametrize("level_db", [4, 9])
def test_a_nearby_voice_is_hardly_amplified(level_db: float) -> None:
    before = voice(level_db, -70)
    after, gain_db = amplified(before)
    assert gain_db < 3
    assert rms_dbfs(after) < rms_dbfs(before) + 3


def test_silence_and_steady_noise_are_not_amplified() -> None:
    still: NDArray[Any] = np.zeros(5 * RATE, np.float32)
    assert amplified(still)[1] == 0
    noise = np.random.default_rng(4).standard_normal(20 * RATE) * 1e-3
    assert amplified(noise.astype(np.float32))[1] == 0


def test_the_gain_rises_slowly_and_falls_quickly() -> None:
    after, gain_db = amplified(np.concatenate([voice(-30, -85), voice(6, -85, 3)]))
    assert gain_db < 10
    rising = amplified(voice(-30, -85, 2.0))[1]
    assert rising < 8.1
    assert np.abs(after).max() < 30  # the intake clips what exceeds full scale


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 5_000), min_size=1, max_size=12))
@pytest.mark.slow
def test_block_sizes_do_not_change_a_bit_of_the_result(sizes: list[int]) -> None:
    samples = voice(-25, -80, 4.0)
    whole, _ = amplified(samples)
    cut, gain, at, turn = samples.copy(), AutoGain(), 0, 0
    while at < len(cut):
        size = sizes[turn % len(sizes)]
        gain.amplify(cut[at : at + size])
        at, turn = at + size, turn + 1
    np.testing.assert_array_equal(cut, whole)


def test_the_intake_reports_its_gain_and_clips() -> None:
    intake = Intake(gain_db="auto")
    intake.start(rate=RATE, channels=1)
    block = intake.push(voice(-30, -85)[:, np.newaxis], 0.0)
    assert block is not None
    assert np.abs(block.samples).max() <= 1
    assert intake.gain_db > 15
    assert Intake(gain_db=6.0).gain_db == pytest.approx(6)
