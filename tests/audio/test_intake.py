from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.audio.intake import Intake, clean
from tests.audio.reference import high_passed

if TYPE_CHECKING:
    from serd.audio.source import Block

FLOATS = st.one_of(
    st.floats(width=32), st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45])
)


@given(st.lists(FLOATS, max_size=50))
def test_clean_leaves_only_finite_samples_within_full_scale(values: list[float]) -> None:
    samples = np.array(values, np.float32)
    with np.errstate(invalid="ignore"):
        cleaned = clean(samples.copy())
    assert np.all(np.isfinite(cleaned))
    assert np.all(np.abs(cleaned) <= 1.0)
    good = np.isfinite(samples) & (np.abs(samples) <= 1.0)
    np.testing.assert_array_equal(cleaned[good], samples[good])
    assert np.all(cleaned[~np.isfinite(samples)] == 0.0)


@settings(max_examples=200, deadline=None)
@given(
    rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]),
    runs=st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 5_000)), min_size=1, max_size=6),
    gain_db=st.sampled_from([-6.0, 0.0, 30.0]),
)
def test_positions_have_no_gaps_and_follow_the_input(
    rate: int, runs: list[tuple[int, int]], gain_db: float
) -> None:
    """Each run is a number of frames received and a number of frames missing after them."""
    intake = Intake(gain_db=gain_db)
    intake.start(rate=rate, channels=1)
    chance = np.random.default_rng(0)
    blocks: list[Block | None] = []
    frames_in = 0
    for received, missing in runs:
        frames = chance.uniform(-1, 1, (received, 1)).astype(np.float32)
        blocks += [intake.push(frames[:100], 1.0), intake.push(frames[100:], 2.0)]
        blocks.append(intake.gap(missing, 3.0))
        frames_in += received + missing
        # Except for the rounding of every run and every gap, the position follows time.
        assert intake.position == pytest.approx(frames_in * 16_000 / rate, abs=1.5 * len(runs))
    blocks.append(intake.push(np.zeros((rate, 1), np.float32), 4.0))
    blocks.append(intake.finish(5.0))
    end = 0
    for block in blocks:
        if block is None:
            continue
        assert block.position == end + block.lost
        assert len(block) > 0
        assert np.all(np.abs(block.samples) <= 1.0)
        end = block.end
    made = [block for block in blocks if block is not None]
    assert intake.blocks == len(made)
    assert intake.samples == sum(len(block) for block in made)


def test_audio_before_a_gap_does_not_leak_into_audio_after_it() -> None:
    intake = Intake()
    intake.start(rate=48_000, channels=1)
    loud = np.full((4_800, 1), 0.5, np.float32)
    first = [intake.push(loud, 1.0), intake.gap(4_800, 1.0)]
    second = [intake.push(np.zeros((4_800, 1), np.float32), 2.0), intake.finish(2.0)]
    before = np.concatenate([block.samples for block in first if block])
    after = np.concatenate([block.samples for block in second if block])
    assert len(before) == len(after) == 1_600
    assert not np.any(after)
    started = next(block for block in second if block)
    assert (started.position, started.lost) == (3_200, 1_600)


def test_gain_is_in_decibels_and_limited_to_full_scale() -> None:
    for gain_db, expected in ((0.0, 0.25), (6.0206, 0.5), (-6.0206, 0.125), (40.0, 1.0)):
        intake = Intake(gain_db=gain_db)
        intake.start(rate=16_000, channels=2)
        # A square wave, too fast for the high-pass to change.
        square = np.tile(np.array([0.25, -0.25], np.float32), 100)
        square[0] = 0.0  # it starts at rest
        block = intake.push(np.stack([square, square], axis=1), 0.0)
        assert block is not None
        assert np.ptp(block.samples) / 2 == pytest.approx(expected, rel=0.02)
        assert (block.clipped > 0) == (expected == 1.0)


def test_one_nan_does_not_spread() -> None:
    intake = Intake()
    intake.start(rate=44_100, channels=2)
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(44_100) / 44_100)
    frames = np.stack([tone, tone], axis=1).astype(np.float32)
    frames[1_000, 1] = np.nan
    frames[2_000, 0] = np.inf
    blocks = [intake.push(frames, 0.0), intake.finish(0.0)]
    samples = np.concatenate([block.samples for block in blocks if block])
    assert np.all(np.isfinite(samples))
    expected = high_passed(0.5 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000))
    assert samples[8_000:15_000] == pytest.approx(expected[8_000:15_000], abs=1e-3)


def test_even_the_smallest_gap_is_reported() -> None:
    intake = Intake()
    intake.start(rate=192_000, channels=1)
    intake.push(np.zeros((19_200, 1), np.float32), 0.0)
    intake.gap(1, 0.0)
    block = intake.push(np.zeros((192_000, 1), np.float32), 0.0)
    assert block is not None
    assert block.lost == 1
