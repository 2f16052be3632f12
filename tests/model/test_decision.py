from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serd.model.adaptation import Example, fit
from serd.model.decision import Decision, softmax
from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN
from serd.model.metadata import FeatureParameters, ModelInfo
from tests.models import SIX


def info(**given: Any) -> ModelInfo:
    return ModelInfo(name="x", version="1", features=FeatureParameters(), **given)


def logits(*values: float) -> Any:
    return np.array(values, dtype=np.float32)


@given(
    arrays(np.float32, 6, elements=st.floats(-200, 200, width=32)),
    st.floats(0.01, 100.0),
    st.floats(0.0, 1.0),
)
def test_invariants_of_every_prediction(output: Any, temperature: float, threshold: float) -> None:
    decision = Decision(SIX, info(temperature=temperature, abstain_threshold=threshold))
    prediction = decision.decide(output)
    assert tuple(prediction.scores) == EMOTIONS
    assert math.fsum(prediction.scores.values()) == pytest.approx(1.0, abs=1e-12)
    assert all(0.0 <= score <= 1.0 for score in prediction.scores.values())
    assert prediction.scores["calm"] == prediction.scores["surprised"] == 0.0
    assert prediction.confidence == max(prediction.scores.values())
    assert -1.0 <= prediction.valence <= 1.0
    assert -1.0 <= prediction.arousal <= 1.0
    if prediction.confidence >= threshold:
        assert prediction.scores[prediction.emotion] == prediction.confidence
        assert prediction.emotion in SIX
    else:
        assert prediction.emotion == UNCERTAIN


def test_labels_are_in_the_order_of_the_model() -> None:
    labels = tuple(reversed(SIX))
    prediction = Decision(labels, info()).decide(logits(0, 0, 9, 0, 0, 0))
    assert prediction.emotion == labels[2]


def test_temperature_softens_but_does_not_reorder() -> None:
    output = logits(0, 0, math.log(3), 0, 0, 0)
    sharp = Decision(SIX, info()).decide(output)
    soft = Decision(SIX, info(temperature=2.0)).decide(output)
    assert sharp.confidence == pytest.approx(3 / 8)
    assert soft.confidence == pytest.approx(math.sqrt(3) / (5 + math.sqrt(3)))
    assert sharp.emotion == soft.emotion == "sad"


def test_probabilities_are_calibrated_like_logits() -> None:
    output = logits(0.1, 0.2, 0.5, 0.1, 0.05, 0.05)
    same = Decision(SIX, info(output="probabilities")).decide(output)
    assert same.scores["sad"] == pytest.approx(0.5, rel=1e-6)
    soft = Decision(SIX, info(output="probabilities", temperature=2.0)).decide(output)
    roots = np.sqrt(output.astype(float))
    assert soft.scores["sad"] == pytest.approx(roots[2] / roots.sum(), rel=1e-6)
    certain = Decision(SIX, info(output="probabilities")).decide(logits(0, 0, 1, 0, 0, 0))
    assert certain.confidence == pytest.approx(512 / 517)


def test_min_confidence_overrides_the_threshold_of_the_model() -> None:
    output = logits(0, 0, math.log(5), 0, 0, 0)  # 0.5
    abstaining = info(abstain_threshold=0.6)
    assert Decision(SIX, abstaining).decide(output).emotion == UNCERTAIN
    assert Decision(SIX, abstaining).threshold == 0.6
    overridden = Decision(SIX, abstaining, min_confidence=0.0)
    assert overridden.decide(output).emotion == "sad"
    assert overridden.threshold == 0.0
    assert Decision(SIX, info(), min_confidence=0.51).decide(output).emotion == UNCERTAIN
    assert Decision(SIX, info(), min_confidence=1.0).decide(output).emotion == UNCERTAIN
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="not within 0"):
            Decision(SIX, info(), min_confidence=bad)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_certain_emotion_has_its_coordinates_from_the_table(emotion: str) -> None:
    output = np.where(np.array(EMOTIONS) == emotion, 100.0, 0.0).astype(np.float32)
    prediction = Decision(EMOTIONS, info()).decide(output)
    assert (prediction.valence, prediction.arousal) == pytest.approx(COORDINATES[emotion])


def test_silence_is_uncertain_whatever_the_threshold() -> None:
    prediction = Decision(SIX, info(), min_confidence=0.0).silence()
    assert prediction.emotion == UNCERTAIN
    assert prediction.confidence == pytest.approx(1 / 6)
    assert prediction.scores["calm"] == 0.0


def test_softmax_of_large_logits_does_not_overflow() -> None:
    assert softmax(np.array([1000.0, 0.0, -1000.0])).tolist() == [1.0, 0.0, 0.0]


def test_corrections_apply_before_the_threshold() -> None:
    decision = Decision(SIX, info(abstain_threshold=0.5))
    output = logits(0.0, 1.0, 0.0, 2.0, 0.0, 0.0)
    alone = decision.decide(output)
    assert (alone.own, alone.adapted) == (None, 0)
    scores = tuple(alone.scores[label] for label in SIX)
    example = Example(scores=scores, emotion=SIX.index("happy"), denied=SIX.index("angry"))
    decision.adaptation = fit([example] * 30, SIX, None)
    after = decision.decide(output)
    assert after.own == alone
    assert after.adapted == 30
    assert after.emotion == "happy"
    assert after.confidence == max(after.scores.values()) >= decision.threshold
    assert math.fsum(after.scores.values()) == pytest.approx(1.0)
    assert after.scores["calm"] == 0.0  # the model has no such class
    assert decision.copy().adaptation is None  # each node has its own
    decision.adaptation = None
    assert decision.decide(output) == alone
