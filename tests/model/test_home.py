"""Models with assumptions about homes: which are valid, and the decisions that follow."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serd.errors import ModelError
from serd.model.classifier import Classifier
from serd.model.decision import Decision
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.model.metadata import (
    SENSITIVITIES,
    FeatureParameters,
    Gathering,
    Home,
    ModelInfo,
    OperatingPoint,
)
from serd.model.model_file import ModelFile
from tests.models import HOME, SIX, at_home

OUTPUTS = arrays(np.float32, 8, elements=st.floats(-20, 20, width=32))


def decision(labels: tuple[str, ...] = EMOTIONS, home: Home = HOME, **given: Any) -> Decision:
    info = ModelInfo(name="x", version="1", features=FeatureParameters(), home=home)
    return Decision(labels, info, **given)


def scores(**given: float) -> Any:
    """Log scores of all eight emotions; what is left is shared by those not given."""
    rest = (1.0 - sum(given.values())) / (8 - len(given))
    return np.log([given.get(name, rest) for name in EMOTIONS])


# ---------------------------------------------------------------------- the model file


def test_a_model_file_keeps_its_assumptions_about_homes() -> None:
    file = ModelFile.parse(at_home(), "x")
    assert file.info.home == HOME
    assert ModelFile.load().network == file.network


def test_a_model_without_such_assumptions_ignores_the_sensitivity() -> None:
    info = ModelInfo(name="x", version="1", features=FeatureParameters())
    assert info.home is None
    plain = Decision(SIX, info, sensitivity="high")
    assert plain.threshold == 0.0
    assert plain.decide(np.zeros(6, np.float32)).emotion in SIX


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ordinary_share": 1.0}, "ordinary_share is 1.0"),
        ({"ordinary_share": math.nan}, "ordinary_share is nan"),
        ({"trained_share": 0.0}, "trained_share is 0.0"),
        ({"bias": {"sad": 11.0}}, "home.bias of 'sad' is 11.0"),
        ({"agree": 0}, "agree is 0"),
        ({"agree": 6}, "agree is 6"),
        ({"threshold_on": "some"}, "threshold_on"),
        ({"sensitivity": {"normal": HOME.sensitivity["normal"]}}, "lacks low, high"),
        (
            {
                "sensitivity": dict(
                    zip(SENSITIVITIES, reversed(HOME.sensitivity.values()), strict=True)
                )
            },
            "above that of a lower",
        ),
    ],
)
def test_invalid_assumptions_are_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        msgspec.convert(msgspec.to_builtins(HOME) | change, Home)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Gathering(half_life_s=0.0, pause_s=1.0),
        lambda: Gathering(half_life_s=math.inf, pause_s=1.0),
        lambda: Gathering(half_life_s=1.0, pause_s=-1.0),
        lambda: Gathering(half_life_s=1.0, pause_s=1.0, weight=1.5),
        lambda: OperatingPoint(threshold=1.1, events_per_hour=1.0, recall=0.5),
        lambda: OperatingPoint(threshold=0.5, events_per_hour=-1.0, recall=0.5),
        lambda: OperatingPoint(threshold=0.5, events_per_hour=1.0, recall=math.nan),
    ],
)
def test_figures_out_of_range_are_rejected(bad: Any) -> None:
    with pytest.raises(ValueError, match="not within"):
        bad()


def test_a_bias_for_a_class_that_the_model_lacks_is_rejected() -> None:
    home = msgspec.structs.replace(HOME, bias={"calm": 1.0, "bored": 1.0})
    with pytest.raises(ModelError, match="lacks: 'bored'"):
        at_home(home=home)


# ---------------------------------------------------------------------- the decisions


@given(OUTPUTS, st.floats(0.01, 0.99))
def test_a_flat_output_gives_the_assumed_share(output: Any, share: float) -> None:
    """An uninformative output leaves the assumed share; any other shifts the odds."""
    decided = decision(home=msgspec.structs.replace(HOME, ordinary_share=share, trained_share=0.25))
    flat = np.zeros(len(EMOTIONS), np.float32)
    flat_scores = decided.decide(flat).scores
    assert flat_scores["neutral"] + flat_scores["calm"] == pytest.approx(share)
    # Bayes' rule, written out.
    odds = np.exp(output.astype(float) - output.max())
    odds *= [
        share / 0.25 if name in {"neutral", "calm"} else (1 - share) / 0.75 for name in EMOTIONS
    ]
    expected = odds / odds.sum()
    assert np.array(list(decided.decide(output).scores.values())) == pytest.approx(expected)


def test_a_class_bias_is_added_after_the_temperature() -> None:
    home = msgspec.structs.replace(HOME, ordinary_share=0.25, bias={"fearful": math.log(3)})
    info = ModelInfo(
        name="x", version="1", features=FeatureParameters(), home=home, temperature=2.0
    )
    found = Decision(EMOTIONS, info).decide(np.zeros(8, np.float32)).scores
    assert found["fearful"] == pytest.approx(3 / 10)
    assert found["sad"] == pytest.approx(1 / 10)


@given(OUTPUTS, st.sampled_from(SENSITIVITIES), st.none() | st.floats(0, 1))
def test_decisions_follow_the_rule(
    output: Any, sensitivity: Any, min_confidence: float | None
) -> None:
    prediction = decision(sensitivity=sensitivity, min_confidence=min_confidence).decide(output)
    threshold = HOME.sensitivity[sensitivity].threshold
    threshold = threshold if min_confidence is None else min_confidence
    top = max(EMOTIONS, key=prediction.scores.__getitem__)
    assert prediction.confidence == prediction.scores[top]
    ordinary = prediction.scores["neutral"] + prediction.scores["calm"]
    if top not in {"neutral", "calm"} and prediction.confidence >= threshold:
        assert prediction.emotion == top
    elif ordinary > 0.5 + 1e-9:
        assert prediction.emotion == max(("neutral", "calm"), key=prediction.scores.__getitem__)
    elif ordinary < 0.5 - 1e-9:
        assert prediction.emotion == UNCERTAIN


@pytest.mark.parametrize(
    ("given", "emotion"),
    [
        ({"angry": 0.6}, "angry"),
        ({"angry": 0.5}, UNCERTAIN),
        ({"neutral": 0.3, "calm": 0.25}, "neutral"),
        ({"neutral": 0.25, "calm": 0.3}, "calm"),
        ({"neutral": 0.27, "calm": 0.26, "angry": 0.4}, "neutral"),  # not angry enough
        ({"neutral": 0.4, "angry": 0.3}, UNCERTAIN),
    ],
)
def test_the_threshold_does_not_apply_to_neutral_and_calm(
    given: dict[str, float], emotion: str
) -> None:
    assert decision().predict(scores(**given)).emotion == emotion


def test_the_sensitivity_can_be_changed_at_run_time() -> None:
    decided = decision()
    own = decided.copy()
    log_scores = scores(angry=0.5)
    own.sensitivity = "high"
    assert own.predict(log_scores).emotion == "angry"
    assert decided.predict(log_scores).emotion == UNCERTAIN
    assert (own.threshold, decided.threshold) == (0.3, 0.54)
    with pytest.raises(ValueError, match="'bold' is none of low, normal, high"):
        own.sensitivity = "bold"  # type: ignore[assignment]
    firm = decision(min_confidence=0.7)
    firm.sensitivity = "high"
    assert firm.threshold == 0.7


@given(OUTPUTS, st.floats(-5, 5))
def test_a_constant_shift_of_the_log_scores_changes_nothing(output: Any, more: float) -> None:
    decided = decision()
    log_scores = decided.log_scores(output)
    assert np.isfinite(log_scores).all()
    assert math.fsum(np.exp(log_scores)) == pytest.approx(1.0)
    assert decided.predict(log_scores + more).scores == pytest.approx(decided.decide(output).scores)


def test_a_classifier_accepts_a_sensitivity(home_model_path: Any) -> None:
    assert Classifier.load(home_model_path).threshold == 0.54
    assert Classifier.load(home_model_path, sensitivity="low").threshold == 0.8
    with pytest.raises(ValueError, match="none of low"):
        Classifier.load(home_model_path, sensitivity="bold")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- thresholds on all emotions


def all_emotions() -> Home:
    points = dict(zip(SENSITIVITIES, (0.9, 0.6, 0.3), strict=True))
    return msgspec.structs.replace(
        HOME,
        threshold_on="all_emotions",
        sensitivity={
            name: msgspec.structs.replace(HOME.sensitivity[name], threshold=threshold)
            for name, threshold in points.items()
        },
    )


def test_two_emotions_that_are_confused_reach_a_threshold_together() -> None:
    torn = scores(sad=0.35, fearful=0.3, neutral=0.3)
    alone = msgspec.structs.replace(all_emotions(), threshold_on="emotion")
    assert decision(home=alone).predict(torn).emotion == UNCERTAIN
    together = decision(home=all_emotions())
    assert together.predict(torn).emotion == "sad"
    assert together.predict(torn).confidence == pytest.approx(0.35)
    together.sensitivity = "low"
    assert together.predict(torn).emotion == UNCERTAIN


def test_an_emotion_is_told_only_if_it_is_likelier_than_neutral_and_than_calm() -> None:
    sensitive = decision(home=all_emotions(), sensitivity="high")
    assert sensitive.predict(scores(neutral=0.28, sad=0.3, fearful=0.3)).emotion == "sad"
    assert sensitive.predict(scores(neutral=0.4, sad=0.3, fearful=0.28)).emotion == UNCERTAIN
    assert sensitive.predict(scores(neutral=0.8, sad=0.15)).emotion == "neutral"


def test_a_minimum_confidence_is_compared_with_the_emotion_itself() -> None:
    torn = scores(sad=0.45, fearful=0.4)
    assert decision(home=all_emotions(), min_confidence=0.5).predict(torn).emotion == UNCERTAIN
    assert decision(home=all_emotions(), min_confidence=0.4).predict(torn).emotion == "sad"


@given(OUTPUTS)
def test_a_higher_sensitivity_never_hides_an_emotion(output: Any) -> None:
    home = all_emotions()
    told = [decision(home=home, sensitivity=name).decide(output).emotion for name in SENSITIVITIES]
    for cautious, ready in itertools.pairwise(told):
        assert cautious in {"neutral", "calm", UNCERTAIN, ready}
