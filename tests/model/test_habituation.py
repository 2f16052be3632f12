"""Getting used to a room: against a reference implementation, and what it must never do."""

from __future__ import annotations

import math
import statistics
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.config import DecisionConfig
from serd.model.decision import Decision, Prediction
from serd.model.emotions import EMOTIONS
from serd.model.gathering import Gatherer
from serd.model.habituation import Habituation
from serd.model.metadata import ORDINARY, FeatureParameters, Home, ModelInfo, Usual
from tests.models import HOME, SIX

EMOTIONAL = tuple(name for name in EMOTIONS if name not in ORDINARY)
USUAL = Usual(odds=dict.fromkeys(EMOTIONAL, -4.0), remembered=200, half_after=20)
FAMILIAR = msgspec.structs.replace(HOME, usual=USUAL)


def decision(home: Home = FAMILIAR, labels: tuple[str, ...] = EMOTIONS) -> Decision:
    info = ModelInfo(name="x", version="1", features=FeatureParameters(), home=home)
    return Decision(labels, info, sensitivity="normal")


def predicted(**given: float) -> Prediction:
    """A prediction with these scores; the other classes divide the rest evenly."""
    rest = (1.0 - sum(given.values())) / (len(EMOTIONS) - len(given))
    return decision().predict(np.log([given.get(name, rest) for name in EMOTIONS]))


CALM = predicted(neutral=0.86, calm=0.08)
LIVELY = predicted(neutral=0.56, calm=0.06, surprised=0.3)
SURPRISED = predicted(neutral=0.1, calm=0.02, surprised=0.8)


class Room:
    """A gatherer whose utterances are an hour apart, so that no evidence accumulates."""

    def __init__(self, home: Home = FAMILIAR, **settings: Any) -> None:
        self.gatherer = Gatherer(decision(home), **settings)
        self._now = 0.0

    def hear(self, *predictions: Prediction) -> Prediction:
        for one in predictions:
            self._now += 3600.0
            last = self.gatherer.add(one, self._now, self._now + 2.0).prediction
        return last


logits = st.lists(st.floats(-8, 8), min_size=6, max_size=6)


@given(
    st.lists(logits, min_size=1, max_size=12),
    st.lists(st.floats(-8, 0), min_size=4, max_size=4),
    st.integers(1, 8),
    st.integers(1, 50),
)
def test_matches_a_reference_implementation(
    utterances: list[list[float]], odds: list[float], remembered: int, half_after: int
) -> None:
    emotional = [name for name in SIX if name not in ORDINARY]
    # One of the emotions has no typical value.
    usual = Usual(
        odds=dict(zip(emotional, odds, strict=False)), remembered=remembered, half_after=half_after
    )
    room = Habituation(usual, SIX)
    for number, values in enumerate(utterances, start=1):
        room.add(np.array(values))
        latest = [dict(zip(SIX, one, strict=True)) for one in utterances[:number][-remembered:]]
        above = {
            name: statistics.median(
                one[name] - math.log(sum(math.exp(one[o]) for o in SIX if o in ORDINARY))
                for one in latest
            )
            - usual.odds[name]
            for name in usual.odds
        }
        others = max(0.0, statistics.median(above.values()))
        weight = len(latest) / (len(latest) + half_after)
        expected = [weight * max(0.0, above.get(name, -99.0) - others) for name in SIX]
        assert room.excess == pytest.approx(expected, abs=1e-9)


def test_a_voice_that_always_sounds_surprised_is_reported_less_readily() -> None:
    room = Room()
    before = room.hear(SURPRISED)
    room.hear(*[LIVELY] * 60)
    after = room.hear(SURPRISED)
    assert after.scores["surprised"] < before.scores["surprised"] - 0.2
    assert set(room.gatherer.excess) == {"surprised"}
    # Another emotion is reported as before.
    angry = predicted(neutral=0.1, calm=0.02, angry=0.8)
    assert room.hear(angry).scores["angry"] == pytest.approx(angry.scores["angry"], abs=0.02)


def test_an_ordinary_room_changes_nothing() -> None:
    room = Room()
    room.hear(*[CALM] * 100)
    assert room.gatherer.excess == {}
    assert room.hear(SURPRISED) == SURPRISED


@pytest.mark.parametrize("others", [[], [CALM], [CALM, CALM]])
def test_an_emotion_that_people_show_does_not_become_usual(others: list[Prediction]) -> None:
    room = Room()
    room.hear(*[SURPRISED, *others] * 60)
    assert room.gatherer.excess == {}
    assert room.hear(SURPRISED) == SURPRISED


def test_a_room_in_which_people_show_many_emotions_keeps_them() -> None:
    room = Room()
    many = [predicted(neutral=0.1, calm=0.02, **{name: 0.8}) for name in EMOTIONAL]
    room.hear(*many * 20)
    assert max(room.gatherer.excess.values(), default=0.0) < 0.05


def test_a_room_forgets_what_it_no_longer_hears() -> None:
    home = msgspec.structs.replace(FAMILIAR, usual=msgspec.structs.replace(USUAL, remembered=50))
    room = Room(home)
    room.hear(*[LIVELY] * 50)
    assert room.gatherer.excess
    room.hear(*[CALM] * 50)
    assert room.gatherer.excess == {}


def test_a_reset_of_the_evidence_keeps_the_room_familiar() -> None:
    room = Room()
    room.hear(*[LIVELY] * 30)
    room.gatherer.reset()
    assert room.gatherer.excess


def test_the_first_utterance_is_not_compared_with_itself() -> None:
    assert Room().hear(SURPRISED) == SURPRISED


def test_it_can_be_switched_off_and_needs_a_model_that_knows_ordinary_speech() -> None:
    for room in (Room(habituation=False), Room(HOME)):
        room.hear(*[LIVELY] * 60)
        assert room.gatherer.excess == {}
        assert room.hear(SURPRISED) == SURPRISED
        assert room.gatherer.without_excess(SURPRISED.scores) == SURPRISED.scores


def test_the_mood_sees_scores_without_the_excess() -> None:
    room = Room()
    room.hear(*[LIVELY] * 60)
    scores = room.gatherer.without_excess(LIVELY.scores)
    assert sum(scores.values()) == pytest.approx(1.0)
    assert scores["surprised"] < LIVELY.scores["surprised"] - 0.1
    factor = scores["angry"] / LIVELY.scores["angry"]
    assert scores["neutral"] == pytest.approx(LIVELY.scores["neutral"] * factor)


@given(st.lists(logits, min_size=1, max_size=30), logits)
def test_no_room_becomes_more_sensitive(heard: list[list[float]], last: list[float]) -> None:
    labels = SIX
    decided = decision(msgspec.structs.replace(HOME, usual=USUAL), labels)
    gatherer = Gatherer(decided)
    for number, values in enumerate(heard):
        gatherer.add(decided.predict(np.array(values)), 3600.0 * number, 3600.0 * number + 1)
    alone = decided.predict(np.array(last))
    told = gatherer.add(alone, 1e6, 1e6 + 1).prediction
    ordinary = [name for name in SIX if name in ORDINARY]
    assert sum(told.scores[o] for o in ordinary) >= sum(alone.scores[o] for o in ordinary) - 0.02


def test_a_configuration_decides_whether_a_room_gets_familiar() -> None:
    for habituation in (True, False):
        settings = DecisionConfig(habituation=habituation)
        gatherer = Gatherer.configured(decision(), settings)
        assert gatherer is not None
        for number in range(60):
            gatherer.add(LIVELY, 3600.0 * number, 3600.0 * number + 1)
        assert bool(gatherer.excess) is habituation
    bare = Decision(EMOTIONS, ModelInfo(name="x", version="1", features=FeatureParameters()))
    assert Gatherer.configured(bare, DecisionConfig()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"odds": {"angry": math.nan}},
        {"odds": {"angry": -21.0}},
        {"remembered": 0},
        {"remembered": 10**9},
        {"half_after": 0},
    ],
)
def test_figures_out_of_range_are_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"usual\."):
        msgspec.structs.replace(USUAL, **change)
