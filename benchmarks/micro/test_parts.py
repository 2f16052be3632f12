"""Micro-benchmarks of single parts, with pytest-benchmark."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.audio.resample import StreamResampler
from serd.audio.ring import RingBuffer
from serd.benchmark.material import silence, speech
from serd.config import SpeechConfig
from serd.events.event import encode, make, model_ref
from serd.events.journal import Journal
from serd.events.state import Mood
from serd.model.classifier import Classifier, Recogniser
from serd.model.mfcc import BLOCK_FRAMES
from serd.speech import Segmenter, make_vad
from serd.speech.voice import rejection

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

UTTERANCE = speech(3.0)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


def test_ring_write_and_read_of_30_ms(benchmark: BenchmarkFixture) -> None:
    ring = RingBuffer(96_000, 2)
    block = np.zeros((1440, 2), np.float32)

    def turn() -> None:
        ring.write(block, 0.0)
        ring.read()

    benchmark(turn)


def test_resampler_48_khz_30_ms(benchmark: BenchmarkFixture) -> None:
    resampler = StreamResampler(48_000)
    block = np.random.default_rng(0).standard_normal(1440, dtype=np.float32)
    benchmark(resampler.push, block)


def test_vad_frame(benchmark: BenchmarkFixture) -> None:
    vad = make_vad(SpeechConfig())
    frame = np.rint(UTTERANCE[FRAME_SAMPLES : 2 * FRAME_SAMPLES] * 32767).astype(np.int16)
    benchmark(vad.is_speech, frame)


@pytest.mark.parametrize("sound", ["speech", "silence"])
def test_segmenter_120_ms(benchmark: BenchmarkFixture, sound: str) -> None:
    settings = SpeechConfig()
    segmenter = Segmenter(settings, make_vad(settings))
    samples = (speech if sound == "speech" else silence)(2.4)
    blocks = iter(np.tile(samples, 50_000 // 20).reshape(-1, 1920))
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: segmenter.feed(next(blocks)), rounds=2000, warmup_rounds=50
    )


def test_evidence_of_a_voice_in_3_s(benchmark: BenchmarkFixture) -> None:
    benchmark(rejection, UTTERANCE)


def test_streaming_features_256_ms(benchmark: BenchmarkFixture, classifier: Classifier) -> None:
    """One block of frames."""
    front_end = classifier.front_end()
    block = UTTERANCE[: BLOCK_FRAMES * 256]

    def turn() -> None:
        if front_end.pushed > 40_000:
            front_end.start()
        front_end.push(block)

    benchmark(turn)


def test_features_of_3_s(benchmark: BenchmarkFixture, classifier: Classifier) -> None:
    benchmark(classifier.front_end().features, UTTERANCE)


def test_end_of_an_utterance(benchmark: BenchmarkFixture, classifier: Classifier) -> None:
    """The work left after 3 s of audio: last frames, decibels, transform, network."""
    front_end = classifier.front_end()
    front_end.start()
    front_end.push(UTTERANCE)
    benchmark(lambda: classifier.classify_features(front_end.finish(len(UTTERANCE))))


def test_inference(benchmark: BenchmarkFixture, classifier: Classifier) -> None:
    features = classifier.front_end().features(UTTERANCE)
    benchmark(classifier.classify_features, features)


def test_decision_event_and_mood(benchmark: BenchmarkFixture, classifier: Classifier) -> None:
    prediction = classifier.classify_utterance(UTTERANCE)
    model = model_ref("default", "1.0", "0" * 64)
    mood = Mood()

    def turn() -> bytes:
        event = make(
            node="bench", started_ms=0, ended_ms=3000, duration_s=3.0, prediction=prediction,
            level_dbfs=-20.0, model=model,
        )  # fmt: skip
        mood.update(event.scores, time.monotonic())
        return encode(event)

    benchmark(turn)


def test_journal_append_hand_over_ack(
    benchmark: BenchmarkFixture, classifier: Classifier, tmp_path: Path
) -> None:
    prediction = classifier.classify_utterance(UTTERANCE)
    event = make(
        node="bench", started_ms=0, ended_ms=3000, duration_s=3.0, prediction=prediction,
        level_dbfs=-20.0, model=model_ref("default", "1.0", "0" * 64),
    )  # fmt: skip
    with Journal(tmp_path / "journal.db") as journal:

        def turn() -> None:
            numbered = journal.append(event, arrived=time.monotonic())
            journal.hand_over(numbered)
            journal.ack("bench", numbered.seq)

        benchmark(turn)


def test_second_of_speech_from_samples_to_predictions(
    benchmark: BenchmarkFixture, classifier: Classifier
) -> None:
    settings = SpeechConfig()
    recogniser = Recogniser(Segmenter(settings, make_vad(settings)), classifier)
    samples = speech(60.0)
    seconds = iter(np.tile(samples, 100).reshape(-1, SAMPLE_RATE))

    def turn() -> None:
        second = next(seconds)
        for first in range(0, SAMPLE_RATE, 1920):
            recogniser.feed(second[first : first + 1920])

    benchmark.pedantic(  # type: ignore[no-untyped-call]
        turn, rounds=300, warmup_rounds=10
    )
