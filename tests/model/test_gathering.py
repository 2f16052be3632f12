"""Evidence accumulated over utterances: against a reference implementation, and invariants."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.model.decision import Decision, Prediction
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.model.gathering import Gatherer
from serd.model.metadata import FeatureParameters, Gathering, Home, ModelInfo
from tests.models import HOME, SIX


def decision(labels: tuple[str, ...] = EMOTIONS, home: Home = HOME) -> Decision:
    info = ModelInfo(name="x", version="1", features=FeatureParameters(), home=home)
    return Decision(labels, info, sensitivity="normal")


def predicted(labels: tuple[str, ...] = EMOTIONS, **given: float) -> Prediction:
    rest = (1.0 - sum(given.values())) / (len(labels) - len(given))
    log_scores = np.log([given.get(name, rest) for name in labels])
    return decision(labels).predict(log_scores)


logits = st.lists(st.floats(-8, 8), min_size=6, max_size=6)
steps = st.lists(st.tuples(st.floats(0, 100), st.floats(0.5, 3), logits), min_size=1, max_size=8)


@given(
    steps,
    st.floats(1, 200),
    st.floats(0, 1),
    st.floats(0, 90),
    st.floats(0.05, 0.95),
)
def test_matches_a_reference_implementation(
    utterances: Any, half_life: float, weight: float, pause: float, share: float
) -> None:
    home = msgspec.structs.replace(
        HOME,
        ordinary_share=share,
        gathering=Gathering(half_life_s=half_life, weight=weight, pause_s=pause),
    )
    decided = decision(SIX, home)
    gatherer = Gatherer(decided)
    now = 0.0
    prior = {name: share if name == "neutral" else (1 - share) / 5 for name in SIX}
    since_pause: list[tuple[float, float, dict[str, float]]] = []
    for gap, length, values in utterances:
        start, end = now + gap, now + gap + length
        if since_pause and start - since_pause[-1][1] > pause:
            since_pause = []
        single = decided.predict(np.array(values))
        result = gatherer.add(single, start, end).prediction
        since_pause.append((start, end, single.scores))
        now = end
        # The evidence of each utterance, discounted for every gap since then.
        total = dict.fromkeys(SIX, 0.0)
        for at, (_, _, scores) in enumerate(since_pause):
            factor = 1.0
            for before, after in zip(since_pause[at:], since_pause[at + 1 :], strict=False):
                factor *= weight * 0.5 ** ((after[0] - before[1]) / half_life)
            for name in SIX:
                total[name] += factor * math.log(max(scores[name], 1 / 512) / prior[name])
        odds = {name: prior[name] * math.exp(total[name]) for name in SIX}
        expected = {name: odds.get(name, 0.0) / math.fsum(odds.values()) for name in EMOTIONS}
        if len(since_pause) == 1 or weight == 0.0:
            expected = single.scores
        assert result.scores == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(logits, st.floats(0, 1e6))
def test_the_first_utterance_after_a_pause_keeps_its_own_scores(values: Any, start: float) -> None:
    decided = decision(SIX)
    gatherer = Gatherer(decided)
    single = decided.predict(np.array(values) * 3)
    for _ in range(2):
        result = gatherer.add(single, start, start + 1)
        assert (result.prediction, result.utterances) == (single, 1)
        gatherer.add(predicted(SIX, angry=0.9), start + 2, start + 3)
        start += 3 + 60.001
    gatherer.reset()
    assert gatherer.add(single, 0, 1).prediction == single


def test_agreeing_utterances_add_up_and_fade_with_time() -> None:
    gatherer = Gatherer(decision())
    faint = predicted(angry=0.4, neutral=0.3)
    assert gatherer.add(faint, 0, 2).prediction.emotion == UNCERTAIN
    result = gatherer.add(faint, 2, 4)
    assert result.prediction.emotion == "angry"
    assert result.utterances == 2
    later = Gatherer(decision())
    later.add(faint, 0, 2)
    assert 0.4 < later.add(faint, 32, 34).prediction.confidence < result.prediction.confidence


def test_one_outlier_in_ordinary_speech_is_suppressed() -> None:
    gatherer = Gatherer(decision())
    for at in range(3):
        gatherer.add(predicted(neutral=0.95), 2 * at, 2 * at + 2)
    result = gatherer.add(predicted(angry=0.6, neutral=0.3), 6, 8).prediction
    assert result.emotion != "angry"


@given(st.lists(st.tuples(st.floats(0, 20), logits), min_size=1, max_size=20))
def test_invariants_for_any_sequence_of_utterances(utterances: Any) -> None:
    decided = decision(SIX)
    gatherer = Gatherer(decided)
    now = 0.0
    for gap, values in utterances:
        now += gap
        result = gatherer.add(decided.predict(np.array(values)), now, now + 1)
        scores = result.prediction.scores
        assert math.fsum(scores.values()) == pytest.approx(1.0)
        assert scores["calm"] == scores["surprised"] == 0.0
        assert result.prediction.confidence == max(scores.values())
        # The weight is halved each time: only 1, 1/2 ... 1/16 are above 1/20.
        assert 1 <= result.utterances <= 5
        now += 1


def test_without_weight_every_utterance_stands_alone() -> None:
    home = msgspec.structs.replace(
        HOME, gathering=Gathering(half_life_s=30, weight=0.0, pause_s=60)
    )
    gatherer = Gatherer(decision(home=home))
    for at, single in enumerate((predicted(angry=0.9), predicted(neutral=0.9), predicted(sad=0.7))):
        result = gatherer.add(single, at, at + 1)
        assert (result.prediction, result.utterances) == (single, 1)


def test_an_emotion_is_reported_only_when_enough_utterances_agree() -> None:
    gatherer = Gatherer(decision(), agree=2)
    angry = predicted(angry=0.9)
    assert gatherer.add(angry, 0, 2).prediction.emotion == UNCERTAIN
    assert gatherer.add(angry, 2, 4).prediction.emotion == "angry"
    # After a pause, counting starts again.
    assert gatherer.add(angry, 70, 72).prediction.emotion == UNCERTAIN


def test_which_utterances_agree() -> None:
    angry = predicted(angry=0.9)
    # One agrees if this is its likeliest emotion and is likely enough by itself...
    gatherer = Gatherer(decision(), agree=2)
    gatherer.add(predicted(neutral=0.6, angry=0.3), 0, 2)
    assert gatherer.add(angry, 2, 4).prediction.emotion == "angry"
    # ... but not if it is less likely, or if another emotion is the likeliest.
    for other in (predicted(neutral=0.7, angry=0.2), predicted(sad=0.5, angry=0.4)):
        gatherer = Gatherer(decision(), agree=2)
        gatherer.add(other, 0, 2)
        assert gatherer.add(angry, 2, 4).prediction.emotion != "angry"


def test_an_old_utterance_no_longer_agrees() -> None:
    home = msgspec.structs.replace(
        HOME, gathering=Gathering(half_life_s=10, weight=0.5, pause_s=1000)
    )
    gatherer = Gatherer(decision(home=home), agree=2)
    angry = predicted(angry=0.9)
    gatherer.add(angry, 0, 2)
    assert gatherer.add(angry, 33, 35).prediction.emotion == UNCERTAIN
    assert gatherer.add(angry, 65, 66).prediction.emotion == "angry"  # 30 s after 35


def test_without_agreement_ordinary_speech_stays_ordinary() -> None:
    eager = msgspec.structs.replace(
        HOME,
        sensitivity={
            name: msgspec.structs.replace(point, threshold=0.3)
            for name, point in HOME.sensitivity.items()
        },
    )
    decided = decision(home=eager)
    mixed = {"angry": 0.42, "neutral": 0.4, "calm": 0.15}
    alone = decided.predict(np.log([mixed.get(name, 0.006) for name in EMOTIONS]))
    assert alone.emotion == "angry"
    result = Gatherer(decided, agree=2).add(alone, 0, 2).prediction
    assert result.emotion == "neutral"
    assert result.scores == alone.scores


def test_an_overlapping_utterance_counts_as_following_at_once() -> None:
    one, two = Gatherer(decision()), Gatherer(decision())
    faint = predicted(angry=0.4)
    one.add(faint, 0, 2)
    two.add(faint, 0, 2)
    assert one.add(faint, 1.9, 3.9) == two.add(faint, 2.0, 4.0)


def test_invalid_arguments_are_rejected() -> None:
    plain = Decision(SIX, ModelInfo(name="x", version="1", features=FeatureParameters()))
    with pytest.raises(ValueError, match="does not say how evidence accumulates"):
        Gatherer(plain)
    with pytest.raises(ValueError, match="cannot agree"):
        Gatherer(decision(), agree=0)


def test_the_number_of_utterances_is_bounded() -> None:
    home = msgspec.structs.replace(
        HOME, gathering=Gathering(half_life_s=1000, weight=1.0, pause_s=1000)
    )
    gatherer = Gatherer(decision(home=home))
    result = [gatherer.add(predicted(angry=0.9), at, at + 1) for at in range(400)]
    assert result[-1].utterances == 256
    assert math.isfinite(result[-1].prediction.confidence)
