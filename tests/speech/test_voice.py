"""Which sounds are accepted as a voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.speech.voice import FRAME, rejection
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
    time,
    typing,
    vowels,
)


@pytest.mark.parametrize("pitch", [80, 100, 120, 180, 250, 350, 500, 650])
@pytest.mark.parametrize("seconds", [0.6, 1.5, 3.0])
def test_voices_of_any_pitch_are_accepted(pitch: float, seconds: float) -> None:
    assert rejection(vowels(seconds, pitch=pitch)) is None


@pytest.mark.parametrize("pitch", [100, 220])
def test_a_voice_in_noise_is_accepted(pitch: float) -> None:
    voice = at(vowels(2.0, pitch=pitch), -20)
    assert rejection(voice + at(noise(2.0, slope=1), -30)) is None


@pytest.mark.parametrize("level", [-60, -1])
def test_the_level_does_not_matter(level: float) -> None:
    assert rejection(at(vowels(2.0), level)) is None


@pytest.mark.parametrize(
    "steady",
    [noise(3), noise(3, slope=1), hum(3), np.zeros(48000), np.ones(48000)],
    ids=["white", "pink", "hum", "zeros", "constant"],
)
def test_sounds_without_modulation_are_steady(steady: Samples) -> None:
    assert rejection(steady.astype(np.float32)) == "steady"


@pytest.mark.parametrize(
    "sound",
    [
        syllables(noise(3)),
        syllables(noise(3, slope=1)),
        syllables(noise(3, slope=2)),
        taps(3, per_second=3),
        taps(3, per_second=8),
        typing(3),
        beeps(3),
        beeps(3, hertz=1500),
    ],
    ids=["breath", "wind", "thunder", "knocks", "drumming", "typing", "beeps", "higher-beeps"],
)
def test_sounds_without_the_pitch_of_a_voice_are_unpitched(sound: Samples) -> None:
    assert rejection(sound) == "unpitched"


@pytest.mark.parametrize("rumble", [fan(3), noise(3, slope=2)], ids=["fan", "thunder"])
def test_rumble_is_rejected(rumble: Samples) -> None:
    assert rejection(rumble.astype(np.float32)) is not None


def test_a_crow_is_too_high_although_an_octave_lower_would_pass() -> None:
    t = time(2.0)
    phase = 1000 * t + 20 * np.sin(2 * np.pi * t)
    crow = np.sin(2 * np.pi * phase) + 0.5 * np.sin(4 * np.pi * phase)
    assert rejection(syllables(0.2 * crow)) == "unpitched"


def test_a_whistle_with_a_short_lower_note_is_rejected() -> None:
    t = time(2.0)
    hertz = np.where(t < 1.8, 1000, 300)
    whistle = syllables(0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE))
    assert rejection(whistle) == "unpitched"
    assert rejection(whistle[round(1.5 * RATE) :]) is None


def test_a_voice_late_in_the_utterance_is_accepted() -> None:
    breath = syllables(0.2 * noise(1.6))
    assert rejection(np.concatenate([breath, vowels(1.0)])) is None


@given(length=st.integers(0, 4 * FRAME))
def test_very_short_audio_gets_a_verdict(length: int) -> None:
    assert rejection(vowels(1.0)[:length]) in {None, "steady", "unpitched"}


def test_a_partial_last_frame_is_ignored() -> None:
    voice = vowels(1.0)[: 20 * FRAME]
    bang = np.full(FRAME - 1, 1.0, np.float32)
    assert rejection(np.concatenate([voice, bang])) == rejection(voice)
