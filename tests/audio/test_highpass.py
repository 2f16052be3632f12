"""The high-pass compared with scipy's, and its purpose: removing offset and rumble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.audio import SAMPLE
from serd.audio.file import read_mono16k
from serd.audio.highpass import CUTOFF_HZ, HighPass
from serd.audio.intake import Intake
from serd.audio.level import rms_dbfs
from serd.config import SpeechConfig
from serd.speech import End, Segmenter, make_vad
from tests.audio.reference import high_passed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.speech import SegmentEvent

CHANCE = np.random.default_rng(8)


def filtered(samples: NDArray[Any], sizes: list[int] | None = None) -> NDArray[Any]:
    out = samples.astype(np.float32)
    high_pass, at = HighPass(), 0
    for size in sizes or []:
        high_pass.filter(out[at : at + size])
        at = min(len(out), at + size)
    high_pass.filter(out[at:])
    return out


def test_it_matches_the_filter_of_scipy() -> None:
    signal = pytest.importorskip("scipy.signal")
    samples = np.cumsum(CHANCE.uniform(-0.01, 0.01, 100_000))  # mostly low frequencies
    sections = signal.butter(2, CUTOFF_HZ, "highpass", fs=16_000, output="sos")
    np.testing.assert_allclose(filtered(samples), signal.sosfilt(sections, samples), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 5_000), max_size=12))
def test_block_sizes_do_not_change_a_bit_of_the_result(sizes: list[int]) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 12_000)
    np.testing.assert_array_equal(filtered(samples, sizes), filtered(samples))


@pytest.mark.parametrize(("hertz", "lost_db"), [(62.0, 0.25), (80.0, 0.1), (200.0, 0.01)])
def test_a_voice_keeps_its_level(hertz: float, lost_db: float) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(64_000) / 16_000)
    out = filtered(tone)
    before = rms_dbfs(tone[16_000:].astype(np.float32))
    assert before - lost_db < rms_dbfs(out[16_000:]) < before + 0.001


def test_rumble_and_offset_are_removed() -> None:
    time_s = np.arange(64_000) / 16_000
    out = filtered(0.1 + 0.02 * time_s + 0.05 * np.sin(2 * np.pi * 5 * time_s))
    assert np.abs(out[16_000:]).max() < 0.002


def test_the_output_decays_to_silence_without_denormal_numbers() -> None:
    samples = np.zeros(16_000 * 4)
    samples[:100] = 0.9
    out = filtered(samples)
    smallest = np.abs(out[out != 0]).min()
    assert smallest >= np.finfo(np.float32).tiny
    assert not out[-16_000:].any()


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_source_that_starts_with_an_offset_does_not_click(rate: int) -> None:
    intake = Intake()
    intake.start(rate=rate, channels=2)
    frames = np.full((rate, 2), (0.3, -0.1), np.float32)
    blocks = [intake.push(frames[:500], 0.0), intake.push(frames[500:], 0.0), intake.finish(0.0)]
    received = [block for block in blocks if block is not None]
    assert np.abs(np.concatenate([block.samples for block in received])).max() < 1e-6
    assert [block.offset for block in received] == pytest.approx([0.1] * len(received), abs=1e-6)


def speech() -> NDArray[Any]:
    return read_mono16k(SAMPLE)


def utterances(samples: NDArray[Any]) -> list[tuple[int, int]]:
    """The utterances that the daemon finds in the samples of a sound card."""
    intake = Intake()
    intake.start(rate=16_000, channels=1)
    settings_ = SpeechConfig()
    segmenter = Segmenter(settings_, make_vad(settings_))
    events: list[SegmentEvent] = []
    for begin in range(0, len(samples), 480):
        frames = samples[begin : begin + 480, np.newaxis].astype(np.float32)
        block = intake.push(frames, 0.0)
        assert block is not None
        events += segmenter.feed(block.samples)
    events += segmenter.flush()
    return [(e.utterance.start, e.utterance.end) for e in events if isinstance(e, End)]


@pytest.mark.parametrize("quieter_db", [0.0, 20.0])
@pytest.mark.parametrize("offset", [-0.1, 0.01, 0.03, 0.1])
def test_an_offset_does_not_change_the_utterances(offset: float, quieter_db: float) -> None:
    samples = speech() * 10 ** (-quieter_db / 20)
    expected = utterances(samples)
    assert expected
    assert utterances(np.clip(samples + offset, -1, 1)) == expected
    drifting = offset * (1 + 0.5 * np.sin(2 * np.pi * np.arange(len(samples)) / 160_000))
    assert utterances(np.clip(samples + drifting, -1, 1)) == expected


def test_recordings_are_high_pass_filtered(tmp_path: Path) -> None:
    samples = 0.05 + 0.4 * CHANCE.uniform(-1, 1, 40_000)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_mono16k(tmp_path / "a.wav"), high_passed(samples), atol=1e-5)
