from __future__ import annotations

import json
import math
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from serd.events.event import (
    SCORE_UNITS,
    Event,
    decode,
    encode,
    fixed,
    make,
    model_ref,
    round_scores,
)
from serd.model.decision import Prediction
from serd.model.emotions import EMOTIONS
from tests.events.making import MODEL, event

CONTRACT = [
    *("schema", "id", "node", "seq", "started_at", "ended_at", "duration_s", "emotion"),
    *("confidence", "scores", "valence", "arousal", "level_dbfs", "model", "latency_ms"),
]

weights = st.lists(
    st.floats(min_value=0, max_value=1e6, allow_subnormal=False), min_size=8, max_size=8
).filter(lambda values: sum(values) > 1e-300)


def test_the_json_has_the_documented_fields_in_order() -> None:
    payload = encode(msgspec.structs.replace(event(), seq=7, latency_ms=3.5))
    assert b"\n" not in payload
    assert list(json.loads(payload)) == CONTRACT
    assert list(json.loads(payload)["scores"]) == list(EMOTIONS)
    assert list(json.loads(payload)["model"]) == ["name", "version", "sha256"]


def test_the_exact_json_of_one_event() -> None:
    made = make(
        node="living-room",
        started_ms=1_772_352_900_250,
        ended_ms=1_772_352_903_250,
        duration_s=2.99999,
        prediction=Prediction(
            emotion="angry",
            confidence=0.66666,
            scores=dict.fromkeys(EMOTIONS, 0.0) | {"angry": 0.66667, "sad": 0.33333},
            valence=-0.63333,
            arousal=0.4,
        ),
        level_dbfs=-23.456,
        model=MODEL,
    )
    made = msgspec.structs.replace(
        made, id="017f22e2-79b0-7cc3-98c4-dc0c0c07398f", seq=12, latency_ms=4.2
    )
    assert encode(made).decode() == (
        '{"schema":1,"id":"017f22e2-79b0-7cc3-98c4-dc0c0c07398f","node":"living-room","seq":12,'
        '"started_at":"2026-03-01T08:15:00.250Z","ended_at":"2026-03-01T08:15:03.250Z",'
        '"duration_s":3.0,"emotion":"angry","confidence":0.6667,"scores":{"neutral":0.0,'
        '"calm":0.0,"happy":0.0,"sad":0.3333,"angry":0.6667,"fearful":0.0,"disgust":0.0,'
        '"surprised":0.0},"valence":-0.633,"arousal":0.4,"level_dbfs":-23.5,"model":{"name":"test",'
        '"version":"1.2.3","sha256":"0123456789ab"},"latency_ms":4.2}'
    )


def test_the_single_utterance_result_is_kept_beside_the_combined_one() -> None:
    made = event(3, home=True)
    assert made.utterance is not UNSET
    assert made.utterance.scores != made.scores
    assert made.single_scores == made.utterance.scores
    assert event(3).single_scores == event(3).scores
    assert list(json.loads(encode(made)))[-3:] == ["utterance", "gathered", "prior"]
    assert (made.gathered, made.prior) == (4, 0.9)
    assert decode(encode(made)) == made
    for broken in ({"emotion": "merry"}, {"scores": {"happy": 1.0}}):
        payload = json.loads(encode(made))
        payload["utterance"] |= broken
        with pytest.raises(ValueError, match="not an event"):
            decode(json.dumps(payload))


@pytest.mark.parametrize("home", [False, True])
def test_an_adapted_event_keeps_the_models_own_result(home: bool) -> None:
    made = event(3, home=home, corrections=12)
    assert made.adapted == 12
    assert made.own_scores == made.model_scores
    assert made.own_scores not in (made.scores, made.single_scores)
    assert made.model_confidence == max(made.own_scores.values())
    assert decode(encode(made)) == made
    assert event(3, home=home).own_scores == event(3, home=home).single_scores
    for broken in ({"model_emotion": "merry"}, {"model_scores": {"happy": 1.0}}):
        payload = json.loads(encode(made)) | broken
        with pytest.raises(ValueError, match="not an event"):
            decode(json.dumps(payload))


@pytest.mark.parametrize("cut", [False, True])
def test_an_event_records_whether_its_utterance_was_cut(cut: bool) -> None:
    made = msgspec.structs.replace(event(), cut=cut)
    assert list(json.loads(encode(made))) == [*CONTRACT, "cut"]
    assert json.loads(encode(made))["cut"] is cut
    assert decode(encode(made)) == made


@given(weights)
@example([0.0] * 5 + [999995.0, 999999.9999999999, 1000000.0])
def test_rounded_scores_sum_to_one_exactly_and_keep_their_order(values: list[float]) -> None:
    units = round_scores(dict(zip(EMOTIONS, values, strict=True)))
    assert sum(units) == SCORE_UNITS
    total = sum(map(Fraction, values))
    for value, unit in zip(values, units, strict=True):
        assert abs(Fraction(value) / total * SCORE_UNITS - unit) < Fraction(1001, 1000)
    for a, unit_a in zip(values, units, strict=True):
        for b, unit_b in zip(values, units, strict=True):
            assert not (a > b and unit_a < unit_b)


@given(weights)
def test_the_top_class_still_has_the_highest_score_after_rounding(values: list[float]) -> None:
    scores = dict(zip(EMOTIONS, values, strict=True))
    for top in (name for name in EMOTIONS if scores[name] == max(values)):
        made = make(
            node="n",
            started_ms=0,
            ended_ms=1000,
            duration_s=1.0,
            prediction=Prediction(
                emotion=top, confidence=scores[top], scores=scores, valence=0, arousal=0
            ),
            level_dbfs=-30,
            model=MODEL,
        )
        assert made.confidence == made.scores[top] == max(made.scores.values())


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"happy": 0.0},
        {"happy": -0.1, "sad": 1.1},
        {"happy": math.nan, "sad": 1.0},
        {"happy": math.inf},
        {"merry": 1.0},
    ],
)
def test_scores_that_are_not_probabilities_are_rejected(scores: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not a probability"):
        round_scores(scores)


def test_out_of_range_values_are_clamped_and_non_finite_ones_rejected() -> None:
    def with_level(level: float, valence: float = 0.0) -> Event:
        return make(
            node="n",
            started_ms=0,
            ended_ms=1000,
            duration_s=1.0,
            prediction=Prediction(
                emotion="sad", confidence=1.0, scores={"sad": 1.0}, valence=valence, arousal=-1e-9
            ),
            level_dbfs=level,
            model=MODEL,
        )

    assert with_level(-math.inf).level_dbfs == -120.0
    assert with_level(0.4).level_dbfs == 0.0
    assert with_level(-30, valence=1.0000001).valence == 1.0
    assert b'"arousal":0.0' in encode(with_level(-30))
    with pytest.raises(ValueError, match="finite"):
        fixed(math.nan, 1)
    with pytest.raises(ValueError, match="finite"):
        fixed(math.inf, 1)


def test_every_event_gets_a_unique_id() -> None:
    assert len({event(0).id for _ in range(100)}) == 100


def test_a_model_reference_has_the_first_12_digits_of_its_digest() -> None:
    assert model_ref("m", "1", "ABCDEF0123456789").sha256 == "abcdef012345"


@settings(max_examples=50)
@given(st.integers(min_value=0, max_value=10**6))
def test_encoding_and_decoding_round_trip(seed: int) -> None:
    made = msgspec.structs.replace(event(seed), seq=seed + 1, latency_ms=seed / 10)
    assert decode(encode(made)) == made
    assert encode(decode(encode(made))) == encode(made)


def test_fields_of_newer_versions_are_ignored() -> None:
    made = event()
    later = json.loads(encode(made)) | {"age_group": "adult"}
    later["model"]["licence"] = "CC0"
    assert decode(json.dumps(later)) == made


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": "1"}, "schema"),
        ({"emotion": "merry"}, "merry"),
        ({"emotion": None}, "emotion"),
        ({"seq": 1.5}, "seq"),
        ({"seq": -1}, "seq"),
        ({"node": ""}, "node"),
        ({"started_at": "yesterday"}, "started_at"),
        ({"confidence": 1.2}, "confidence"),
        ({"valence": -2}, "valence"),
        ({"scores": {"happy": 1.0}}, "eight emotions"),
        ({"scores": []}, "scores"),
        ({"model": {"name": "m", "version": "1", "sha256": "xyz"}}, "sha256"),
        ({"latency_ms": -1}, "latency_ms"),
    ],
)
def test_invalid_events_are_rejected_with_the_reason(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        decode(json.dumps(json.loads(encode(event())) | change))


@pytest.mark.parametrize(
    "payload", [b"", b"online", b"[]", b"{}", b"\xff\xfe", b"1" * 1000, b"[" * 100_000]
)
def test_any_other_payload_is_rejected(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not an event"):
        decode(payload)
