"""How many samples may be fed at once without delaying the end of an utterance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from serd.audio import SAMPLE
from serd.audio.file import read_mono16k
from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.benchmark.material import phrases
from serd.config import SpeechConfig
from serd.speech import Discard, End, Segmenter, make_vad
from serd.speech.segmenter import MAX_BATCH_SAMPLES

Samples = npt.NDArray[np.float32]


def fed_at_ends(samples: Samples, settings: SpeechConfig, *, batched: bool) -> list[int]:
    """Samples fed when each utterance, kept or discarded, ended; last, the number of feeds."""
    segmenter = Segmenter(settings, make_vad(settings))
    ends = []
    feeds = fed = 0
    while fed < len(samples):
        count = segmenter.batch_samples if batched else FRAME_SAMPLES
        assert FRAME_SAMPLES <= count <= MAX_BATCH_SAMPLES
        events = segmenter.feed(samples[fed : fed + count])
        fed = min(fed + count, len(samples))
        feeds += 1
        ends += [fed for event in events if isinstance(event, End | Discard)]
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
def test_batches_do_not_delay_the_end_of_an_utterance(settings: SpeechConfig, sound: str) -> None:
    samples = read_mono16k(SAMPLE) if sound == "sample" else phrases(20.0)
    *frame_by_frame, many = fed_at_ends(samples, settings, batched=False)
    *batched, few = fed_at_ends(samples, settings, batched=True)
    assert len(frame_by_frame) > 5
    assert batched == frame_by_frame
    assert few < many


def test_silence_is_fed_in_the_largest_batches() -> None:
    settings = SpeechConfig()
    segmenter = Segmenter(settings, make_vad(settings))
    for _ in range(20):
        assert segmenter.batch_samples == MAX_BATCH_SAMPLES
        segmenter.feed(np.zeros(MAX_BATCH_SAMPLES, np.float32))


def test_odd_block_sizes_delay_an_end_by_at_most_two_frames() -> None:
    """Samples left over from the last block count towards the frame in which speech may end."""
    settings = SpeechConfig()
    segmenter = Segmenter(settings, make_vad(settings))
    samples = phrases(6.0)
    fed = ends = 0
    while fed < len(samples):
        count = segmenter.batch_samples + 7
        events = segmenter.feed(samples[fed : fed + count])
        fed += count
        for event in events:
            if isinstance(event, End):
                ends += 1
                # Late only by the surplus of this block and the rest of its frame.
                due = event.utterance.end + round(settings.hangover_s * SAMPLE_RATE)
                assert fed <= due + 2 * FRAME_SAMPLES
    assert ends >= 3
