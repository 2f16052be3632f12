from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serd.audio.resample import StreamResampler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]


def noise(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, count).astype(np.float32)


def stream(
    resampler: StreamResampler, samples: NDArray[np.float32], sizes: Iterable[int]
) -> NDArray[np.float32]:
    """Resample in blocks of the given sizes, the rest at once."""
    out, start = [], 0
    for size in sizes:
        out.append(resampler.push(samples[start : start + size]))
        start += size
    out.append(resampler.push(samples[start:]))
    out.append(resampler.finish())
    return np.concatenate(out)


@settings(max_examples=200, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    count=st.integers(0, 6_000),
    sizes=st.lists(st.integers(0, 3_000), max_size=12),
)
@example(rate=44_100, count=5_000, sizes=[1] * 50)
@example(rate=16_000, count=100, sizes=[1] * 100)
def test_block_sizes_do_not_change_the_output(rate: int, count: int, sizes: list[int]) -> None:
    samples = noise(count)
    whole = stream(StreamResampler(rate), samples, [])
    parts = stream(StreamResampler(rate), samples, sizes)
    np.testing.assert_array_equal(parts, whole, strict=True)
    assert whole.dtype == np.float32
    assert len(whole) == pytest.approx(count * 16_000 / rate, abs=0.51)


@pytest.mark.parametrize("rate", RATES)
def test_timing_is_preserved(rate: int) -> None:
    """A pulse at 0.25 s in the input is at 0.25 s in the output."""
    time = np.arange(rate // 2) / rate
    pulse = np.exp(-(((time - 0.25) / 0.001) ** 2)).astype(np.float32)
    out = stream(StreamResampler(rate), pulse, [])
    weights = out.astype(np.float64) ** 2
    centre = float(np.dot(weights, np.arange(len(out))) / weights.sum())
    assert centre == pytest.approx(4_000, abs=0.01)
    assert out[4_000] == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000, 96_000])
def test_frequencies_above_8_khz_are_removed_and_others_are_kept(rate: int) -> None:
    time = np.arange(rate) / rate
    for hertz, level in ((100, 1.0), (1_000, 1.0), (7_000, 1.0), (9_000, 0.0), (15_000, 0.0)):
        tone = (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
        out = stream(StreamResampler(rate), tone, [])[2_000:-2_000]
        assert np.sqrt(np.mean(out**2)) == pytest.approx(0.5 * level / np.sqrt(2), abs=1e-3)


@pytest.mark.parametrize(
    ("rate", "most_ms"),
    [(16_000, 0), (22_050, 41), (44_100, 41), (48_000, 41), (96_000, 80), (192_000, 80)],
)
def test_the_delay_is_within_the_documented_limit(rate: int, most_ms: float) -> None:
    resampler, worst = StreamResampler(rate), 0.0
    samples, block = noise(2 * rate), round(0.03 * rate)
    out = pushed = 0
    for start in range(0, len(samples), block):
        out += len(resampler.push(samples[start : start + block]))
        pushed = min(start + block, len(samples))
        assert resampler.pending == pytest.approx(pushed * 16_000 / rate - out)
        worst = max(worst, resampler.pending)
    assert worst / 16 <= most_ms
    resampler.finish()
    assert resampler.pending == 0


def test_finish_resets_it() -> None:
    resampler, samples = StreamResampler(44_100), noise(4_000)
    first = stream(resampler, samples, [1_000])
    assert len(resampler.finish()) == 0
    np.testing.assert_array_equal(stream(resampler, samples, [10, 20]), first)


def test_16_khz_mono_is_unchanged() -> None:
    samples = noise(1_000)
    out = stream(StreamResampler(16_000), samples, [7, 100])
    np.testing.assert_array_equal(out, samples)
    assert not np.shares_memory(out, samples)


@pytest.mark.parametrize("rate", [0, -5])
def test_invalid_rates_are_rejected(rate: int) -> None:
    with pytest.raises(ValueError, match="no audio has"):
        StreamResampler(rate)
