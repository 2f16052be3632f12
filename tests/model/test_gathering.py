"""Evidence over several utterances, against a plain twin, and what must hold whatever comes."""

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


def said(labels: tuple[str, ...] = EMOTIONS, **given: float) -> Prediction:
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
def test_a_plain_twin_says_the_same(
    heard: Any, half_life: float, weight: float, pause: float, share: float
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
    for gap, length, values in heard:
        start, end = now + gap, now + gap + length
        if since_pause and start - since_pause[-1][1] > pause:
            since_pause = []
        single = decided.predict(np.array(values))
        told = gatherer.add(single, start, end).prediction
        since_pause.append((start, end, single.scores))
        now = end
        # Every utterance by itself: what it says, discounted by all silences since.
        total = dict.fromkeys(SIX, 0.0)
        for at, (_, _, said) in enumerate(since_pause):
            factor = 1.0
            for before, after in zip(since_pause[at:], since_pause[at + 1 :], strict=False):
                factor *= weight * 0.5 ** ((after[0] - before[1]) / half_life)
            for name in SIX:
                total[name] += factor * math.log(max(said[name], 1 / 512) / prior[name])
        odds = {name: prior[name] * math.exp(total[name]) for name in SIX}
        expected = {name: odds.get(name, 0.0) / math.fsum(odds.values()) for name in EMOTIONS}
        if len(since_pause) == 1 or weight == 0.0:
            expected = single.scores
        assert told.scores == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(logits, st.floats(0, 1e6))
def test_the_first_after_a_pause_gives_its_own_scores(values: Any, start: float) -> None:
    decided = decision(SIX)
    gatherer = Gatherer(decided)
    single = decided.predict(np.array(values) * 3)
    for _ in range(2):
        told = gatherer.add(single, start, start + 1)
        assert (told.prediction, told.utterances) == (single, 1)
        gatherer.add(said(SIX, angry=0.9), start + 2, start + 3)
        start += 3 + 60.001
    gatherer.reset()
    assert gatherer.add(single, 0, 1).prediction == single


def test_two_that_agree_say_more_than_one_and_fade() -> None:
    gatherer = Gatherer(decision())
    faint = said(angry=0.4, neutral=0.3)
    assert gatherer.add(faint, 0, 2).prediction.emotion == UNCERTAIN
    told = gatherer.add(faint, 2, 4)
    assert told.prediction.emotion == "angry"
    assert told.utterances == 2
    later = Gatherer(decision())
    later.add(faint, 0, 2)
    assert 0.4 < later.add(faint, 32, 34).prediction.confidence < told.prediction.confidence


def test_one_outlier_among_ordinary_speech_is_told_as_ordinary() -> None:
    gatherer = Gatherer(decision())
    for at in range(3):
        gatherer.add(said(neutral=0.95), 2 * at, 2 * at + 2)
    told = gatherer.add(said(angry=0.6, neutral=0.3), 6, 8).prediction
    assert told.emotion != "angry"


@given(st.lists(st.tuples(st.floats(0, 20), logits), min_size=1, max_size=20))
def test_what_always_holds(heard: Any) -> None:
    decided = decision(SIX)
    gatherer = Gatherer(decided)
    now = 0.0
    for gap, values in heard:
        now += gap
        told = gatherer.add(decided.predict(np.array(values)), now, now + 1)
        scores = told.prediction.scores
        assert math.fsum(scores.values()) == pytest.approx(1.0)
        assert scores["calm"] == scores["surprised"] == 0.0
        assert told.prediction.confidence == max(scores.values())
        # A half of the weight is left at each: 1, 1/2 ... 1/16 are above a twentieth.
        assert 1 <= told.utterances <= 5
        now += 1


def test_without_weight_every_utterance_stands_alone() -> None:
    home = msgspec.structs.replace(
        HOME, gathering=Gathering(half_life_s=30, weight=0.0, pause_s=60)
    )
    gatherer = Gatherer(decision(home=home))
    for at, single in enumerate((said(angry=0.9), said(neutral=0.9), said(sad=0.7))):
        told = gatherer.add(single, at, at + 1)
        assert (told.prediction, told.utterances) == (single, 1)


def test_an_emotion_waits_for_as_many_as_must_agree() -> None:
    gatherer = Gatherer(decision(), agree=2)
    angry = said(angry=0.9)
    assert gatherer.add(angry, 0, 2).prediction.emotion == UNCERTAIN
    assert gatherer.add(angry, 2, 4).prediction.emotion == "angry"
    # Behind a pause all begins anew.
    assert gatherer.add(angry, 70, 72).prediction.emotion == UNCERTAIN


def test_who_agrees() -> None:
    angry = said(angry=0.9)
    # Its likeliest emotion, if that is likely enough by itself...
    gatherer = Gatherer(decision(), agree=2)
    gatherer.add(said(neutral=0.6, angry=0.3), 0, 2)
    assert gatherer.add(angry, 2, 4).prediction.emotion == "angry"
    # ... but not less likely, and not another one.
    for other in (said(neutral=0.7, angry=0.2), said(sad=0.5, angry=0.4)):
        gatherer = Gatherer(decision(), agree=2)
        gatherer.add(other, 0, 2)
        assert gatherer.add(angry, 2, 4).prediction.emotion != "angry"


def test_what_agreed_long_ago_no_longer_does() -> None:
    home = msgspec.structs.replace(
        HOME, gathering=Gathering(half_life_s=10, weight=0.5, pause_s=1000)
    )
    gatherer = Gatherer(decision(home=home), agree=2)
    angry = said(angry=0.9)
    gatherer.add(angry, 0, 2)
    assert gatherer.add(angry, 33, 35).prediction.emotion == UNCERTAIN
    assert gatherer.add(angry, 65, 66).prediction.emotion == "angry"  # 30 s after 35


def test_too_few_that_agree_leave_ordinary_speech_ordinary() -> None:
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
    told = Gatherer(decided, agree=2).add(alone, 0, 2).prediction
    assert told.emotion == "neutral"
    assert told.scores == alone.scores


def test_an_utterance_from_before_follows_at_once() -> None:
    one, two = Gatherer(decision()), Gatherer(decision())
    faint = said(angry=0.4)
    one.add(faint, 0, 2)
    two.add(faint, 0, 2)
    assert one.add(faint, 1.9, 3.9) == two.add(faint, 2.0, 4.0)


def test_what_cannot_gather_is_refused() -> None:
    plain = Decision(SIX, ModelInfo(name="x", version="1", features=FeatureParameters()))
    with pytest.raises(ValueError, match="does not say how evidence accumulates"):
        Gatherer(plain)
    with pytest.raises(ValueError, match="cannot agree"):
        Gatherer(decision(), agree=0)


def test_it_is_bounded() -> None:
    home = msgspec.structs.replace(
        HOME, gathering=Gathering(half_life_s=1000, weight=1.0, pause_s=1000)
    )
    gatherer = Gatherer(decision(home=home))
    told = [gatherer.add(said(angry=0.9), at, at + 1) for at in range(400)]
    assert told[-1].utterances == 256
    assert math.isfinite(told[-1].prediction.confidence)
