"""How much may be heard at once without an utterance ending later."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from serd.audio.file import read_mono16k
from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.benchmark.material import SAMPLE, phrases
from serd.config import SpeechConfig
from serd.speech import Discard, End, Segmenter, make_vad
from serd.speech.segmenter import MAX_BATCH_SAMPLES

Samples = npt.NDArray[np.float32]


def heard_at_ends(samples: Samples, settings: SpeechConfig, *, patient: bool) -> list[int]:
    """How many samples had been fed when each utterance, kept or not, ended; and how many feeds."""
    segmenter = Segmenter(settings, make_vad(settings))
    ends = []
    feeds = heard = 0
    while heard < len(samples):
        count = segmenter.batch_samples if patient else FRAME_SAMPLES
        assert FRAME_SAMPLES <= count <= MAX_BATCH_SAMPLES
        events = segmenter.feed(samples[heard : heard + count])
        heard = min(heard + count, len(samples))
        feeds += 1
        ends += [heard for event in events if isinstance(event, End | Discard)]
    return [*ends, feeds]


@pytest.mark.parametrize(
    "settings",
    [
        SpeechConfig(),
        SpeechConfig(hangover_s=0.1, window_s=1.01),
        SpeechConfig(hangover_s=0.0, window_s=0.5, min_speech_s=0.2),
        SpeechConfig(hangover_s=1.7, preroll_s=0.5),
    ],
    ids=["default", "short", "shortest", "long"],
)
@pytest.mark.parametrize("sound", ["sample", "phrases"])
def test_patience_ends_no_utterance_later(settings: SpeechConfig, sound: str) -> None:
    samples = read_mono16k(SAMPLE) if sound == "sample" else phrases(20.0)
    *hasty, many = heard_at_ends(samples, settings, patient=False)
    *patient, few = heard_at_ends(samples, settings, patient=True)
    assert len(hasty) > 5
    assert patient == hasty
    assert few < many


def test_silence_is_heard_in_the_largest_blocks() -> None:
    settings = SpeechConfig()
    segmenter = Segmenter(settings, make_vad(settings))
    for _ in range(20):
        assert segmenter.batch_samples == MAX_BATCH_SAMPLES
        segmenter.feed(np.zeros(MAX_BATCH_SAMPLES, np.float32))


def test_odd_blocks_leave_patience_for_the_rest_of_a_frame() -> None:
    """What is left over from the last block counts towards the frame in which speech may end."""
    settings = SpeechConfig()
    segmenter = Segmenter(settings, make_vad(settings))
    samples = phrases(6.0)
    heard = ends = 0
    while heard < len(samples):
        count = segmenter.batch_samples + 7
        events = segmenter.feed(samples[heard : heard + count])
        heard += count
        for event in events:
            if isinstance(event, End):
                ends += 1
                # Late by the surplus of this block and the rest of its frame, and by nothing else.
                due = event.utterance.end + round(settings.hangover_s * SAMPLE_RATE)
                assert heard <= due + 2 * FRAME_SAMPLES
    assert ends >= 3
