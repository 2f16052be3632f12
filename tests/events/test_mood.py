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
talks = st.lists(st.tuples(gaps, scores), min_size=1, max_size=12)
Talk = list[tuple[float, dict[str, float]]]


def only(name: str) -> dict[str, float]:
    return dict.fromkeys(EMOTIONS, 0.0) | {name: 1.0}


def follow(mood: Mood, talk: Talk) -> tuple[list[MoodReading], float]:
    moment, readings = 0.0, []
    for gap, values in talk:
        moment += gap
        readings.append(mood.update(values, moment))
    return readings, moment


def test_a_room_where_nobody_spoke_is_neutral() -> None:
    reading = Mood().read(5.0)
    assert (reading.mood, reading.valence, reading.arousal) == ("neutral", 0.0, 0.0)
    assert reading.shares == only("neutral")


def test_one_utterance_moves_the_mood_and_several_that_agree_turn_it() -> None:
    mood = Mood(half_life_s=60, margin=0.1)
    first = mood.update(only("angry"), 0.0)
    assert first.mood == "neutral"
    assert first.shares["angry"] == pytest.approx(1 / (1 + NEUTRAL_WEIGHT))
    assert first.valence == pytest.approx(COORDINATES["angry"][0] / 3)
    moods = [mood.update(only("angry"), 3.0 * i).mood for i in range(1, 4)]
    assert moods == ["neutral", "angry", "angry"]


def test_an_utterance_counts_half_after_each_half_life() -> None:
    mood = Mood(half_life_s=60)
    mood.update(only("sad"), 100.0)
    for lives in range(6):
        weight = 0.5**lives
        shares = mood.read(100.0 + 60 * lives).shares
        assert shares["sad"] == pytest.approx(weight / (weight + NEUTRAL_WEIGHT))


@given(talks, st.floats(min_value=1, max_value=600))
def test_it_is_the_weighted_mean_that_it_claims_to_be(talk: Talk, half_life_s: float) -> None:
    mood = Mood(half_life_s=half_life_s)
    readings, end = follow(mood, talk)
    moment, weighted, total = 0.0, dict.fromkeys(EMOTIONS, 0.0), NEUTRAL_WEIGHT
    weighted["neutral"] = NEUTRAL_WEIGHT
    for gap, values in talk:
        moment += gap
        weight = 2 ** ((moment - end) / half_life_s)
        total += weight
        for name in EMOTIONS:
            weighted[name] += weight * values[name]
    for name in EMOTIONS:
        assert readings[-1].shares[name] == pytest.approx(weighted[name] / total, abs=1e-9)


@given(talks)
def test_shares_are_probabilities_and_the_axes_stay_within_bounds(talk: Talk) -> None:
    for reading in follow(Mood(), talk)[0]:
        assert sum(reading.shares.values()) == pytest.approx(1.0)
        assert min(reading.shares.values()) >= 0
        assert -1 <= reading.valence <= 1
        assert -1 <= reading.arousal <= 1


@given(talks, st.lists(st.floats(min_value=0, max_value=1), max_size=5))
def test_reading_changes_nothing(talk: Talk, looks: list[float]) -> None:
    quiet, watched = Mood(), Mood()
    moment = 0.0
    for gap, values in talk:
        for part in sorted(looks):
            watched.read(moment + gap * part)
        moment += gap
        assert watched.update(values, moment) == quiet.update(values, moment)


@given(talks, st.lists(st.floats(min_value=0, max_value=2000), min_size=2, max_size=6))
def test_in_silence_neutral_only_grows_and_no_other_mood_appears(
    talk: Talk, silence: list[float]
) -> None:
    mood = Mood()
    readings, end = follow(mood, talk)
    before = readings[-1]
    for gap in sorted(silence):
        after = mood.read(end + gap)
        assert after.shares["neutral"] >= before.shares["neutral"] - 1e-12
        assert after.mood in (before.mood, "neutral")
        before = after


@given(talks)
def test_in_long_silence_every_mood_fades_into_neutral(talk: Talk) -> None:
    mood = Mood(half_life_s=60)
    _, end = follow(mood, talk)
    reading = mood.read(end + 60 * 30)
    assert reading.mood == "neutral"
    assert abs(reading.valence) < 1e-6
    assert abs(reading.arousal) < 1e-6


@given(talks, st.floats(min_value=0, max_value=0.5))
def test_the_name_changes_only_with_a_lead(talk: Talk, margin: float) -> None:
    name = "neutral"
    for reading in follow(Mood(margin=margin), talk)[0]:
        best = max(reading.shares.values())
        assert best - reading.shares[reading.mood] <= margin
        if reading.mood != name:
            assert reading.shares[reading.mood] == best
        name = reading.mood


def test_two_classes_close_together_do_not_make_it_flicker() -> None:
    def late_moods(mood: Mood) -> set[str]:
        turns = (only("happy"), only("surprised"))
        moods = [mood.update(turns[i % 2], 3.0 * i).mood for i in range(100)]
        return set(moods[50:])

    assert late_moods(Mood(margin=0.0)) == {"happy", "surprised"}
    assert len(late_moods(Mood(margin=0.1))) == 1


def test_a_mood_that_faded_unseen_must_win_again() -> None:
    mood = Mood(half_life_s=60, margin=0.1)
    for _ in range(10):
        mood.update(only("happy"), 0.0)
    later = 183.5  # the ten count 1.2 by now, neutral 2
    assert mood.read(later - 1e-6).mood == "neutral"
    reading = mood.update(only("happy"), later)
    assert 0 < reading.shares["happy"] - reading.shares["neutral"] < 0.1
    assert reading.mood == "neutral"


def test_a_moment_before_the_latest_counts_as_the_latest() -> None:
    mood, same = Mood(), Mood()
    for m in (mood, same):
        m.update(only("sad"), 50.0)
    assert mood.update(only("sad"), 20.0) == same.update(only("sad"), 50.0)


@pytest.mark.parametrize(("half_life_s", "margin"), [(0, 0.1), (-1, 0.1), (60, -0.1), (60, 1)])
def test_senseless_settings_are_refused(half_life_s: float, margin: float) -> None:
    with pytest.raises(ValueError, match=r"a half-life of|a margin of"):
        Mood(half_life_s, margin)
