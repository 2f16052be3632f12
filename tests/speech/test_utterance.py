"""A whole recording as one utterance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.audio.level import rms_dbfs
from serd.config import SpeechConfig
from serd.speech import make_vad, trim_to_speech
from tests.speech.signals import RATE, Samples, at, noise, vowels

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT = SpeechConfig()


class ScriptedVad:
    """Returns scripted decisions, frame by frame."""

    gain = 10.0

    def __init__(self, script: list[bool]) -> None:
        self.script = script
        self.frame = 0
        self.peak = 0

    def is_speech(self, frame: NDArray[np.int16]) -> bool:
        self.peak = max(self.peak, int(np.abs(frame.astype(np.int32)).max()))
        self.frame += 1
        return self.script[self.frame - 1]

    def reset(self) -> None:
        self.frame = 0


@settings(deadline=None)
@given(
    script=st.lists(st.booleans(), min_size=1, max_size=160),
    missing=st.integers(0, 479),
    preroll=st.sampled_from([0.0, 0.1, 0.5]),
    window=st.sampled_from([0.5, 3.0]),
)
def test_trims_to_the_first_and_last_voiced_frame(
    script: list[bool], missing: int, preroll: float, window: float
) -> None:
    samples = at(noise(6.0), -20)[: len(script) * 480 - missing]
    config = SpeechConfig(preroll_s=preroll, window_s=window)
    utterance, audio = trim_to_speech(samples, config, ScriptedVad(script))
    mask = np.repeat(script, 480)[: len(samples)]
    wanted = np.arange(len(samples))
    if mask.any():
        margin = round(preroll * RATE)
        last = 480 * (int(np.flatnonzero(script)[-1]) + 1)
        wanted = wanted[max(0, int(mask.argmax()) - margin) : last + margin]
    kept = wanted[: round(window * RATE)]
    assert (utterance.start, utterance.end) == (kept[0], kept[-1] + 1)
    assert utterance.cut == (len(kept) < len(wanted))
    assert utterance.voiced_share == pytest.approx(mask[kept].mean())
    assert utterance.level_dbfs == rms_dbfs(samples[kept])
    np.testing.assert_array_equal(audio, samples[kept])


@pytest.mark.parametrize("level", [-90, -60, -40, -6])
def test_trimming_does_not_depend_on_the_level(level: float, sentences: list[Samples]) -> None:
    recording = np.concatenate([at(noise(1.0), -75), sentences[0], at(noise(1.0), -75)])
    reference, _ = trim_to_speech(recording, DEFAULT, make_vad(DEFAULT))
    assert RATE - 3000 < reference.start < RATE + 1000
    assert reference.end < RATE + len(sentences[0]) + 3000
    found, _ = trim_to_speech(at(recording, level), DEFAULT, make_vad(DEFAULT))
    # Rounding to 16 bits may change the decision for a frame at an edge.
    assert abs(found.start - reference.start) <= 480
    assert abs(found.end - reference.end) <= 480


def test_the_detector_gets_audio_at_half_of_full_scale() -> None:
    vad = ScriptedVad([True] * 100)
    trim_to_speech(at(vowels(3.0), -60), DEFAULT, vad)
    assert vad.peak == round(32767 / 2)
    assert vad.frame == 0, "the detector was not reset at the end"


def test_the_detector_is_reset_afterwards(sentences: list[Samples]) -> None:
    vad = make_vad(DEFAULT)
    first, _ = trim_to_speech(sentences[0], DEFAULT, vad)
    trim_to_speech(sentences[1], DEFAULT, vad)
    assert trim_to_speech(sentences[0], DEFAULT, vad)[0] == first


def test_without_speech_the_first_window_is_used() -> None:
    silence = np.zeros(5 * RATE, np.float32)
    utterance, audio = trim_to_speech(silence, DEFAULT, make_vad(DEFAULT))
    assert (utterance.start, utterance.end) == (0, 3 * RATE)
    assert utterance.cut
    assert utterance.voiced_share == 0
    assert utterance.level_dbfs == -120
    assert len(audio) == 3 * RATE


@pytest.mark.parametrize("length", [0, 1, 479, 480, 481])
def test_very_short_recordings_are_kept_whole(length: int) -> None:
    short = vowels(1.0)[:length]
    utterance, audio = trim_to_speech(short, DEFAULT, make_vad(DEFAULT))
    assert (utterance.start, utterance.end) == (0, length)
    np.testing.assert_array_equal(audio, short)
