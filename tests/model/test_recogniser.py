"""From streams of speech to predictions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import serd.audio
from serd.audio.file import read_mono16k
from serd.config import SpeechConfig
from serd.model.classifier import Classifier, Recogniser, Recognition
from serd.speech import Segmenter, make_vad

Samples = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def speech() -> Samples:
    """The sample that serd ships: several voices, pauses and noise."""
    return read_mono16k(Path(serd.audio.__path__[0]) / "data" / "sample.ogg")


@pytest.fixture(scope="module")
def classifier(tiny_model_path: Path) -> Classifier:
    return Classifier.load(tiny_model_path, min_confidence=0.0)


def make_recogniser(classifier: Classifier) -> Recogniser:
    config = SpeechConfig()
    return Recogniser(Segmenter(config, make_vad(config)), classifier)


def run(recogniser: Recogniser, samples: Samples, size: int) -> list[Recognition]:
    found = []
    for first in range(0, len(samples), size):
        found += recogniser.feed(samples[first : first + size])
    return found + recogniser.flush()


@pytest.fixture(scope="module")
def at_once(classifier: Classifier, speech: Samples) -> list[Recognition]:
    return run(make_recogniser(classifier), speech, len(speech))


def test_the_sample_contains_several_utterances(at_once: list[Recognition]) -> None:
    assert len(at_once) >= 5
    assert len({found.prediction.emotion for found in at_once}) >= 2
    ends = [found.utterance.end for found in at_once]
    assert ends == sorted(ends)


def test_each_prediction_is_based_on_exactly_its_samples(
    classifier: Classifier, speech: Samples, at_once: list[Recognition]
) -> None:
    for found in at_once:
        samples = speech[found.utterance.start : found.utterance.end]
        assert classifier.classify_utterance(samples) == found.prediction


@pytest.mark.parametrize("size", [1600, 480, 331])
def test_the_block_size_does_not_change_the_result(
    classifier: Classifier, speech: Samples, at_once: list[Recognition], size: int
) -> None:
    assert run(make_recogniser(classifier), speech, size) == at_once


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 7, 480, 481, 5000, 48_000, 100_000]), max_size=6))
def test_mixed_block_sizes_do_not_change_the_result(
    classifier: Classifier, speech: Samples, at_once: list[Recognition], sizes: list[int]
) -> None:
    recogniser = make_recogniser(classifier)
    found: list[Recognition] = []
    position = 0
    for size in itertools.cycle([*sizes, 1601]):
        found += recogniser.feed(speech[position : position + size])
        position += size
        if position >= len(speech):
            break
    assert found + recogniser.flush() == at_once


def test_a_prediction_arrives_with_the_block_that_ends_the_speech(
    classifier: Classifier, speech: Samples, at_once: list[Recognition]
) -> None:
    recogniser = make_recogniser(classifier)
    arrived: list[tuple[int, Recognition]] = []
    for first in range(0, len(speech), 480):
        arrived += [
            (recogniser.position, found) for found in recogniser.feed(speech[first : first + 480])
        ]
    assert [found for _, found in arrived] == at_once[: len(arrived)]
    config = SpeechConfig()
    for position, found in arrived:
        late = (position - found.utterance.end) / 16_000
        longest = 0.03 if found.utterance.cut else config.hangover_s + 0.03
        assert 0.0 <= late <= longest + 1e-9


def test_speaking_counters_and_position_are_reported(
    classifier: Classifier, speech: Samples
) -> None:
    recogniser = make_recogniser(classifier)
    assert not recogniser.speaking
    spoke = False
    utterances = 0
    for first in range(0, len(speech), 480):
        utterances += len(recogniser.feed(speech[first : first + 480]))
        spoke = spoke or recogniser.speaking
    utterances += len(recogniser.flush())
    assert spoke
    assert recogniser.counters.utterances == utterances
    assert recogniser.position == len(speech)


def test_lost_audio_separates_utterances(
    classifier: Classifier, speech: Samples, at_once: list[Recognition]
) -> None:
    """After a gap, utterances have the new positions and contain no audio from before it."""
    last = at_once[-1].utterance
    recogniser = make_recogniser(classifier)
    middle = (at_once[0].utterance.start + at_once[0].utterance.end) // 2
    before = recogniser.feed(speech[:middle]) + recogniser.reset(1_000_000)
    assert all(found.utterance.end <= middle for found in before)
    quiet = -(-at_once[-2].utterance.end // 480) * 480  # keeps the frame boundaries
    after = recogniser.feed(speech[quiet:]) + recogniser.flush()
    assert after
    found = after[-1]
    shift = 1_000_000 - quiet
    # The detector is reset after a gap, so the decision for a frame at the edge may differ.
    assert abs(found.utterance.end - shift - last.end) <= 2 * 480
    samples = speech[found.utterance.start - shift : found.utterance.end - shift]
    assert classifier.classify_utterance(samples) == found.prediction


def test_two_streams_do_not_affect_each_other(
    classifier: Classifier, speech: Samples, at_once: list[Recognition]
) -> None:
    one, other = make_recogniser(classifier), make_recogniser(classifier)
    found: list[Any] = []
    for first in range(0, len(speech), 4800):
        found += one.feed(speech[first : first + 4800])
        other.feed(speech[::-1][first : first + 4800])
    assert found + one.flush() == at_once
