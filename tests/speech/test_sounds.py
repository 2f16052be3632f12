"""With the real detector, speech gives utterances and other sounds do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from serd.audio.file import read_mono16k
from serd.config import SpeechConfig
from serd.speech import Counters, End, Segmenter, Utterance, make_vad
from tests.speech.signals import (
    RATE,
    Samples,
    at,
    beeps,
    fan,
    hum,
    noise,
    syllables,
    taps,
    typing,
)

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = SpeechConfig()


def utterances(samples: Samples) -> tuple[list[Utterance], Counters]:
    segmenter = Segmenter(DEFAULT, make_vad(DEFAULT))
    events = segmenter.feed(samples) + segmenter.flush()
    return [event.utterance for event in events if isinstance(event, End)], segmenter.counters


@pytest.mark.parametrize("level", [-20, -30, -40, -55])
@pytest.mark.parametrize(
    "sound",
    [noise(20), noise(20, slope=1), noise(20, slope=2), fan(20), hum(20), syllables(noise(20))],
    ids=["white", "pink", "brown", "fan", "hum", "waves"],
)
def test_noise_gives_no_utterance(sound: Samples, level: float) -> None:
    found, _ = utterances(at(sound, level))
    assert found == []


@pytest.mark.parametrize(
    "sound",
    [
        taps(30, per_second=0.5),
        taps(30, per_second=3),
        taps(30, per_second=8),
        typing(30),
        beeps(30),
        at(beeps(30, hertz=2400), -40),
    ],
    ids=["knocks", "taps", "drumming", "typing", "beeps", "alarm"],
)
def test_knocks_and_beeps_give_no_utterance(sound: Samples) -> None:
    found, _ = utterances(sound)
    assert found == []


def test_the_detector_alone_would_take_these_sounds_for_speech() -> None:
    """So the tests above do depend on what rejects such sounds."""
    for sound in (at(fan(10), -30), at(noise(10, slope=1), -30), taps(10, per_second=8)):
        vad = make_vad(DEFAULT)
        frames = np.clip(sound * 32767 * vad.gain, -32768, 32767).astype(np.int16)
        voiced = [vad.is_speech(frames[i : i + 480]) for i in range(0, len(frames) - 479, 480)]
        assert np.mean(voiced) > 0.7


@pytest.mark.parametrize(
    ("sound", "most"),
    [(noise(30, slope=1), 0.0), (hum(30), 0.0), (fan(30), 0.4)],
    ids=["pink", "hum", "fan"],
)
def test_steady_noise_hardly_counts_as_speaking(sound: Samples, most: float) -> None:
    """Otherwise features would be computed all the time, and speech would be reported."""
    segmenter = Segmenter(DEFAULT, make_vad(DEFAULT))
    noisy = at(sound, -30)
    speaking = []
    for position in range(0, len(noisy), 480):
        segmenter.feed(noisy[position : position + 480])
        speaking.append(segmenter.speaking)
    assert np.mean(speaking[200:]) <= most


@pytest.mark.parametrize("level", [-45, -35])
def test_speech_next_to_a_fan_is_located_correctly(sentences: list[Samples], level: float) -> None:
    voice = np.zeros(12 * RATE, np.float32)
    sentence = at(sentences[0], -25)
    voice[5 * RATE : 5 * RATE + len(sentence)] = sentence
    found, _ = utterances(voice + at(fan(12), level))
    assert found
    assert found[0].start > 4.8 * RATE
    assert found[0].start < 5.25 * RATE
    assert found[-1].end < 5.2 * RATE + len(sentence)


@pytest.mark.parametrize("gain_db", [0, -20, -30])
def test_quiet_speech_is_found(sentences: list[Samples], gain_db: float) -> None:
    for sentence in sentences[:3]:
        quiet = np.concatenate([np.zeros(8000), at(sentence, -20 + gain_db), np.zeros(8000)])
        found, _ = utterances(quiet.astype(np.float32))
        assert found
        energy = np.square(quiet)
        assert sum(energy[u.start : u.end].sum() for u in found) > 0.95 * energy.sum()
        assert all(abs(u.level_dbfs - (-20 + gain_db)) < 6 for u in found)


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("corpus", "chosen", "worst"),
    [
        # Worst allowed shares: clips without an utterance, with exactly one, energy outside of any.
        ("ravdess", ("Actor_*/*", 12), (0.0, 0.94, 0.02)),
        ("crema_d", ("*.opus", 40), (0.02, 0.94, 0.04)),
        ("emodb", ("*.opus", 6), (0.0, 0.70, 0.01)),
    ],
)
def test_most_clips_of_acted_speech_give_one_utterance(
    corpora: Path,
    corpus: str,
    chosen: tuple[str, int],
    worst: tuple[float, float, float],
) -> None:
    pattern, every = chosen
    lost, single, missed = worst
    clips = sorted((corpora / corpus).glob(pattern))[::every]
    assert len(clips) >= 80
    counts, shares = [], []
    for clip in clips:
        samples = read_mono16k(clip)
        found, _ = utterances(samples)
        counts.append(len(found))
        energy = np.square(samples, dtype=np.float64)
        shares.append(1 - sum(energy[u.start : u.end].sum() for u in found) / energy.sum())
    assert np.mean(np.array(counts) == 0) <= lost
    assert np.mean(np.array(counts) == 1) >= single
    assert np.mean(shares) <= missed


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("folder", "per_hour"),
    # Per hour of continuous sound. The detector alone gives 900 to 1500 utterances of each.
    [("rain", 0), ("sea_waves", 0), ("helicopter", 300), ("fire_crackling", 450)],
)
def test_environmental_sounds_give_few_utterances(
    corpora: Path, folder: str, per_hour: float
) -> None:
    (clips,) = (corpora / "esc10").glob(f"*{folder}")
    count, seconds = 0, 0.0
    for clip in sorted(clips.iterdir()):
        samples = read_mono16k(clip)
        seconds += len(samples) / RATE
        count += len(utterances(samples)[0])
    assert seconds > 60
    assert count / seconds * 3600 <= per_hour
