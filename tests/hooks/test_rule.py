from __future__ import annotations

import msgspec
import pytest

from serd.config import Hook
from serd.hooks import Rule
from tests.mqtt.samples import new_event

HAPPY = new_event()  # happy, confidence 0.3


@pytest.mark.parametrize(
    ("emotion", "min_confidence", "wanted"),
    [
        ((), 0.0, True),
        (("happy",), 0.0, True),
        (("sad", "happy"), 0.0, True),
        (("sad",), 0.0, False),
        ((), 0.3, True),
        ((), 0.31, False),
        (("happy",), 0.31, False),
    ],
)
def test_rules_match_emotion_and_confidence(
    emotion: tuple[str, ...], min_confidence: float, wanted: bool
) -> None:
    settings = msgspec.convert(
        {"command": ["x"], "emotion": emotion, "min_confidence": min_confidence}, Hook
    )
    assert Rule(settings).matches(HAPPY, 0.0) is wanted


def test_uncertain_is_matched_like_an_emotion() -> None:
    uncertain = msgspec.structs.replace(HAPPY, emotion="uncertain")
    assert not Rule(Hook(command=("x",), emotion=("happy",))).matches(uncertain, 0.0)
    assert Rule(Hook(command=("x",), emotion=("uncertain",))).matches(uncertain, 0.0)
    assert Rule(Hook(command=("x",))).matches(uncertain, 0.0)


def test_the_cooldown_starts_only_with_a_matching_event() -> None:
    rule = Rule(Hook(command=("x",), emotion=("happy",), cooldown_s=10))
    sad = msgspec.structs.replace(HAPPY, emotion="sad")
    wanted = [
        rule.matches(event, now)
        for event, now in [(sad, 0.0), (HAPPY, 1.0), (HAPPY, 10.9), (HAPPY, 11.0), (HAPPY, 20.9)]
    ]
    assert wanted == [False, True, False, True, False]


def test_the_first_event_matches_at_any_clock_reading() -> None:
    assert Rule(Hook(command=("x",), cooldown_s=86_400)).matches(HAPPY, 0.0)
