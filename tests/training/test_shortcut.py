"""A guard against networks that recognise a corpus instead of an emotion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from serd.model.emotions import EMOTIONS
from serd.model.model_file import ModelFile
from training.corpora import read_corpus
from training.evaluate.household import decision_of
from training.evaluate.predictions import (
    ClipScores,
    RecordingScores,
    UtteranceScores,
    ordinary_recordings,
    pack_uncalibrated,
    predict,
)
from training.evaluate.shortcut import area_under_roc, separation

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("scipy")


def logs(emotional: float) -> tuple[float, ...]:
    """Log scores with this probability of all emotions together."""
    return tuple(
        float(np.log((1.0 - emotional) / 2 if name in {"neutral", "calm"} else emotional / 6))
        for name in EMOTIONS
    )


def clip(emotion: str, emotional: float, corpus: str = "acted") -> ClipScores:
    return ClipScores(corpus=corpus, name="x", speaker="1", emotion=emotion, logs=logs(emotional))


def recording(*emotional: float) -> RecordingScores:
    utterances = tuple(UtteranceScores(start_s=0, end_s=1, logs=logs(one)) for one in emotional)
    return RecordingScores(
        source="s", kind="read", language="en", name="n", duration_s=9, utterances=utterances
    )


def test_a_network_that_knows_the_corpus_is_told_from_one_that_knows_emotion() -> None:
    decision = decision_of(EMOTIONS, 1.0, None)
    ordinary = [recording(0.1, 0.2), recording(0.3)]
    by_corpus = [clip("neutral", 0.8), clip("calm", 0.9), clip("angry", 0.85)]
    by_emotion = [clip("neutral", 0.15), clip("calm", 0.25), clip("angry", 0.9)]
    assert separation(by_corpus, ordinary, decision)["acted"] == {
        "neutral_from_ordinary": 1.0,
        "emotional_from_neutral": 0.5,
    }
    assert separation(by_emotion, ordinary, decision)["acted"] == {
        "neutral_from_ordinary": 0.5,
        "emotional_from_neutral": 1.0,
    }


def test_corpora_are_separate_and_missing_kinds_are_none() -> None:
    decision = decision_of(EMOTIONS, 1.0, None)
    clips = [clip("sad", 0.9, "one"), clip("neutral", 0.2, "two")]
    found = separation(clips, [], decision)
    nothing = {"neutral_from_ordinary": None, "emotional_from_neutral": None}
    assert found == {"one": nothing, "two": nothing}


def test_equal_values_count_half() -> None:
    assert area_under_roc(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.5
    assert area_under_roc(np.array([2.0]), np.array([1.0, 2.0, 3.0])) == 0.5
    assert area_under_roc(np.array([5.0, 6.0]), np.array([1.0])) == 1.0


NEUTRAL_FROM_ORDINARY = 0.7
"""Most that the shipped model may separate EMO-DB's neutral clips from ordinary speech."""
EMOTIONAL_FROM_NEUTRAL = 0.8
"""Least that it must separate EMO-DB's emotional clips from its neutral ones."""


@pytest.mark.slow
def test_the_shipped_model_recognises_emotion_where_it_was_not_trained(
    corpora: Path, tmp_path: Path
) -> None:
    """EMO-DB is unknown to it and the ordinary speech is not, so a shortcut would show."""
    model = ModelFile.load()
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(pack_uncalibrated(model.source))
    clips = read_corpus("emodb", corpora).clips
    neutral = [one for one in clips if one.emotion == "neutral"]
    emotional = [one for one in clips if one.emotion != "neutral"][::5]
    speech = ordinary_recordings(corpora, {"speechocean762", "watson", "fleursdumal"})
    speech = [one for one in speech if one.kind == "read"][::12]
    heard = predict(bare, [*neutral, *emotional], speech)
    decision = decision_of(heard.labels, model.info.temperature, model.info.home)
    found = separation(heard.clips, heard.recordings, decision)["emodb"]
    assert len(neutral) > 50
    assert sum(len(one.utterances) for one in heard.recordings) > 100
    assert found["neutral_from_ordinary"] is not None
    assert found["emotional_from_neutral"] is not None
    assert found["neutral_from_ordinary"] <= NEUTRAL_FROM_ORDINARY, found
    assert found["emotional_from_neutral"] >= EMOTIONAL_FROM_NEUTRAL, found
