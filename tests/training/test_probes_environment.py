"""The events counted in a stream without speech are those that the daemon would publish."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from serd.audio import SAMPLE
from serd.audio.highpass import HighPass
from serd.config import SpeechConfig
from serd.errors import InputError
from serd.model.classifier import Classifier, Recogniser
from serd.model.emotions import UNCERTAIN
from serd.speech import Segmenter
from tests.broker import Recorder, mosquitto
from tests.system.node import Node
from tests.training.synthetic import RATE, voice
from training.corpora import Clip, corpora_root
from training.corpora.esc10 import Sound, read_sounds
from training.probes.environment import (
    PAUSE_S,
    Stream,
    make_stream,
    probe_environment,
    recognise,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Sound]:
    """Buzzing voices that "cry" or "bark", and rain, in folds 1 and 3."""
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    made = []
    for fold in (1, 3):
        for kind, emotion in (("baby_cry", "06"), ("dog_bark", "05"), ("rain", None)):
            samples = (
                0.05 * random.normal(size=2 * RATE)
                if emotion is None
                else np.concatenate([voice(emotion, fold, 1), np.zeros(RATE)])
            )
            path = folder / f"{fold}-{kind}-A.wav"
            soundfile.write(path, samples, RATE, subtype="FLOAT")
            made.append(Sound(path=path, kind=kind, fold=fold))
    return made


def test_a_stream_contains_every_sound_once_with_pauses(sounds: list[Sound]) -> None:
    stream = make_stream(sounds)
    assert sorted(one.path for one in stream.sounds) == sorted(one.path for one in sounds)
    ends = [at + round(s * RATE) for at, s in zip(stream.starts, stream.seconds, strict=True)]
    pause = round(PAUSE_S * RATE)
    assert [at - pause for at in stream.starts] == [0, *ends[:-1]]
    assert len(stream.samples) == ends[-1] + pause
    for at, end in zip(stream.starts, ends, strict=True):
        tone = stream.samples[end : end + pause]
        assert 10 * np.log10(np.mean(tone**2)) == pytest.approx(-60, abs=1)
        assert stream.samples[at:end].any()
    np.testing.assert_array_equal(stream.samples * 32768, np.rint(stream.samples * 32768))
    again, other = make_stream(sounds[::-1]), make_stream(sounds, seed=1)
    np.testing.assert_array_equal(again.samples, stream.samples)
    assert [one.path for one in other.sounds] != [one.path for one in stream.sounds]


def test_events_are_counted_by_kind_and_fold(sounds: list[Sound], tiny_model_path: Path) -> None:
    clips = [
        Clip(path=one.path, corpus="ravdess", speaker="01", emotion="angry")
        for one in sounds
        if one.kind != "rain"
    ]
    result = probe_environment(
        tiny_model_path,
        sounds,
        voices=clips,
        engines=["webrtc"],
        confirm="none",  # silero rejects synthetic voices
        silence_s=5.0,
    )
    of_engine = result["engines"]["webrtc"]
    speech = SpeechConfig(confirm="none")
    recogniser = Recogniser(Segmenter.of(speech), Classifier.load(tiny_model_path, stated="home"))
    recognised = recognise(make_stream(sounds).samples, recogniser)
    assert recognised, "no utterance detected in the synthetic voices"
    everything = of_engine["all"]["everything"]
    decided = [one for one in recognised if one.prediction.emotion != UNCERTAIN]
    assert everything["utterances"] == len(recognised)
    assert everything["events"] == len(decided)
    assert everything["uncertain"] == len(recognised) - len(decided)
    assert everything["seconds"] == pytest.approx(2 * (2 * 1.9 + 2.0))
    assert everything["events_per_hour"] == pytest.approx(
        3600 * len(decided) / everything["seconds"], abs=0.01
    )
    kinds = of_engine["all"]["kinds"]
    assert kinds["rain"]["utterances"] == 0
    assert kinds["baby_cry"]["utterances"] == of_engine["all"]["human"]["utterances"] == 2
    assert kinds["dog_bark"]["utterances"] == of_engine["all"]["sounds"]["utterances"] == 2
    assert of_engine["held_out"]["everything"]["clips"] == 3
    assert of_engine["held_out"]["everything"]["utterances"] == 2
    assert result["held_out_folds"] == [3]
    assert of_engine["speech"]["ravdess"]["clips"] == of_engine["speech"]["ravdess"]["heard"] == 4
    for silence in of_engine["silence"].values():
        assert silence["utterances"] == 0


NO_CONFIRMATION = ("--set", "speech.confirm=none")


def events_of_the_daemon(folder: Path, stream: Stream, *, pipe: bool) -> list[dict[str, Any]]:
    """The events that a real daemon publishes for a stream, from a file or standard input."""
    folder.mkdir()
    with mosquitto(folder) as broker, Recorder(broker.port) as recorder:
        if pipe:
            raw = folder / "stream.raw"
            raw.write_bytes((stream.samples * 32768).astype("<i2").tobytes())
            with raw.open("rb") as file:
                feeder = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
                assert feeder.stdout is not None
                stdin = feeder.stdout.fileno()
                with Node(
                    folder, broker.port, "--source", "-", *NO_CONFIRMATION, stdin=stdin
                ) as node:
                    assert node.wait() == 0, node.log
                feeder.stdout.close()
                feeder.wait(10)
        else:
            wave = folder / "stream.wav"
            soundfile.write(wave, stream.samples, RATE, subtype="PCM_16")
            arguments = ("--source", str(wave), "--pace", "fast")
            with Node(folder, broker.port, *arguments, *NO_CONFIRMATION) as node:
                assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        return [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]


@pytest.fixture(scope="module")
def subset(sounds: list[Sound]) -> list[Sound]:
    """The speech sample and sounds, real ones if the corpus is available."""
    chosen = [Sound(path=SAMPLE, kind="speech", fold=3)]
    try:
        real = read_sounds(corpora_root())
    except InputError:
        return chosen + sounds
    by_kind: dict[str, Sound] = {}
    for sound in real:
        by_kind.setdefault(sound.kind, sound)
    return chosen + list(by_kind.values())


@pytest.mark.broker
@pytest.mark.parametrize("pipe", [False, True], ids=["file", "stdin"])
def test_the_daemon_publishes_the_same_events(
    pipe: bool, subset: list[Sound], tmp_path: Path
) -> None:
    stream = make_stream(subset)
    # Without silero, which would reject almost all of these sounds.
    speech = SpeechConfig(confirm="none")
    recogniser = Recogniser(Segmenter.of(speech), Classifier.load(stated="home"))
    samples = stream.samples.copy()
    HighPass().filter(samples)  # as for all of the daemon's input
    expected = recognise(samples, recogniser)
    assert len(expected) >= 8
    published = events_of_the_daemon(tmp_path / "home", stream, pipe=pipe)
    utterances = [event["utterance"] for event in published]
    for heard, one in zip(utterances, expected, strict=True):
        scores = one.prediction.scores
        assert heard["scores"] == pytest.approx(scores, abs=0.03)
        if heard["emotion"] != one.prediction.emotion:  # only where two are equally likely
            assert scores[heard["emotion"]] == pytest.approx(max(scores.values()), abs=0.03)
    for event, one in zip(published, expected, strict=True):
        assert event["duration_s"] == pytest.approx(one.utterance.duration_s, abs=0.002)
