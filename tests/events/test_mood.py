from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.events.state import NEUTRAL_WEIGHT, Mood, MoodReading
from serd.model.emotions import COORDINATES, EMOTIONS

scores = st.lists(st.floats(min_value=0.001, max_value=1), min_size=8, max_size=8).map(
    lambda values: {n: v / sum(values) for n, v in zip(EMOTIONS, values, strict=True)}
)
gaps = st.floats(min_value=0, max_value=600)
conversations = st.lists(st.tuples(gaps, scores), min_size=1, max_size=12)
Conversation = list[tuple[float, dict[str, float]]]


def one_hot(name: str) -> dict[str, float]:
    return dict.fromkeys(EMOTIONS, 0.0) | {name: 1.0}


def replay(mood: Mood, conversation: Conversation) -> tuple[list[MoodReading], float]:
    moment, readings = 0.0, []
    for gap, values in conversation:
        moment += gap
        readings.append(mood.update(values, moment))
    return readings, moment


def test_the_initial_mood_is_neutral() -> None:
    reading = Mood().read(5.0)
    assert (reading.mood, reading.valence, reading.arousal) == ("neutral", 0.0, 0.0)
    assert reading.shares == one_hot("neutral")


def test_one_utterance_shifts_the_mood_and_several_change_it() -> None:
    mood = Mood(half_life_s=60, margin=0.1)
    first = mood.update(one_hot("angry"), 0.0)
    assert first.mood == "neutral"
    assert first.shares["angry"] == pytest.approx(1 / (1 + NEUTRAL_WEIGHT))
    assert first.valence == pytest.approx(COORDINATES["angry"][0] / 3)
    moods = [mood.update(one_hot("angry"), 3.0 * i).mood for i in range(1, 4)]
    assert moods == ["neutral", "angry", "angry"]


def test_an_utterances_weight_halves_every_half_life() -> None:
    mood = Mood(half_life_s=60)
    mood.update(one_hot("sad"), 100.0)
    for lives in range(6):
        weight = 0.5**lives
        shares = mood.read(100.0 + 60 * lives).shares
        assert shares["sad"] == pytest.approx(weight / (weight + NEUTRAL_WEIGHT))


@given(conversations, st.floats(min_value=1, max_value=600))
def test_the_mood_is_the_weighted_mean_of_the_utterances(
    conversation: Conversation, half_life_s: float
) -> None:
    mood = Mood(half_life_s=half_life_s)
    readings, end = replay(mood, conversation)
    moment, weighted, total = 0.0, dict.fromkeys(EMOTIONS, 0.0), NEUTRAL_WEIGHT
    weighted["neutral"] = NEUTRAL_WEIGHT
    for gap, values in conversation:
        moment += gap
        weight = 2 ** ((moment - end) / half_life_s)
        total += weight
        for name in EMOTIONS:
            weighted[name] += weight * values[name]
    for name in EMOTIONS:
        assert readings[-1].shares[name] == pytest.approx(weighted[name] / total, abs=1e-9)


@given(conversations)
def test_shares_are_probabilities_and_valence_and_arousal_stay_in_range(
    conversation: Conversation,
) -> None:
    for reading in replay(Mood(), conversation)[0]:
        assert sum(reading.shares.values()) == pytest.approx(1.0)
        assert min(reading.shares.values()) >= 0
        assert -1 <= reading.valence <= 1
        assert -1 <= reading.arousal <= 1


@given(conversations, st.lists(st.floats(min_value=0, max_value=1), max_size=5))
def test_reading_the_mood_does_not_change_it(
    conversation: Conversation, reads: list[float]
) -> None:
    quiet, watched = Mood(), Mood()
    moment = 0.0
    for gap, values in conversation:
        for part in sorted(reads):
            watched.read(moment + gap * part)
        moment += gap
        assert watched.update(values, moment) == quiet.update(values, moment)


@given(conversations, st.lists(st.floats(min_value=0, max_value=2000), min_size=2, max_size=6))
def test_in_silence_the_neutral_share_never_falls_and_no_new_mood_appears(
    conversation: Conversation, silence: list[float]
) -> None:
    mood = Mood()
    readings, end = replay(mood, conversation)
    before = readings[-1]
    for gap in sorted(silence):
        after = mood.read(end + gap)
        assert after.shares["neutral"] >= before.shares["neutral"] - 1e-12
        assert after.mood in (before.mood, "neutral")
        before = after


@given(conversations)
def test_every_mood_fades_to_neutral_in_a_long_silence(conversation: Conversation) -> None:
    mood = Mood(half_life_s=60)
    _, end = replay(mood, conversation)
    reading = mood.read(end + 60 * 30)
    assert reading.mood == "neutral"
    assert abs(reading.valence) < 1e-6
    assert abs(reading.arousal) < 1e-6


@given(conversations, st.floats(min_value=0, max_value=0.5))
def test_the_mood_changes_only_when_another_leads_by_the_margin(
    conversation: Conversation, margin: float
) -> None:
    name = "neutral"
    for reading in replay(Mood(margin=margin), conversation)[0]:
        best = max(reading.shares.values())
        assert best - reading.shares[reading.mood] <= margin
        if reading.mood != name:
            assert reading.shares[reading.mood] == best
        name = reading.mood


def test_the_mood_does_not_alternate_between_two_close_classes() -> None:
    def late_moods(mood: Mood) -> set[str]:
        turns = (one_hot("happy"), one_hot("surprised"))
        moods = [mood.update(turns[i % 2], 3.0 * i).mood for i in range(100)]
        return set(moods[50:])

    assert late_moods(Mood(margin=0.0)) == {"happy", "surprised"}
    assert len(late_moods(Mood(margin=0.1))) == 1


def test_a_mood_that_faded_between_readings_needs_the_margin_again() -> None:
    mood = Mood(half_life_s=60, margin=0.1)
    for _ in range(10):
        mood.update(one_hot("happy"), 0.0)
    later = 183.5  # the ten weigh 1.2 by now, neutral 2
    assert mood.read(later - 1e-6).mood == "neutral"
    reading = mood.update(one_hot("happy"), later)
    assert 0 < reading.shares["happy"] - reading.shares["neutral"] < 0.1
    assert reading.mood == "neutral"


def test_an_earlier_time_is_treated_as_the_latest_one() -> None:
    mood, same = Mood(), Mood()
    for m in (mood, same):
        m.update(one_hot("sad"), 50.0)
    assert mood.update(one_hot("sad"), 20.0) == same.update(one_hot("sad"), 50.0)


@pytest.mark.parametrize(("half_life_s", "margin"), [(0, 0.1), (-1, 0.1), (60, -0.1), (60, 1)])
def test_invalid_settings_are_rejected(half_life_s: float, margin: float) -> None:
    with pytest.raises(ValueError, match=r"a half-life of|a margin of"):
        Mood(half_life_s, margin)
