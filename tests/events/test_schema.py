"""The shipped JSON schema accepts real events, rejects invalid ones and matches the struct."""

from __future__ import annotations

import copy
import json
from importlib import resources
from typing import Any

import jsonschema
import msgspec
import pytest

from serd.events.event import Event, ModelRef, Single, encode
from serd.model.emotions import EMOTIONS, UNCERTAIN
from tests.events.making import event
from tools.docs.json_schema import event_schema

VALIDATOR = jsonschema.Draft202012Validator(event_schema())


OPTIONAL = (
    "utterance", "gathered", "prior",
    "adapted", "model_emotion", "model_confidence", "model_scores", "cut",
)  # fmt: skip


def published(
    seed: int = 0, *, home: bool = False, corrections: int | None = None
) -> dict[str, Any]:
    made = event(seed, home=home, corrections=corrections)
    made = msgspec.structs.replace(made, seq=seed + 1, latency_ms=4.2)
    payload: dict[str, Any] = json.loads(encode(made))
    return payload


def test_the_schema_is_valid() -> None:
    assert event_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(event_schema())


def test_real_events_are_valid() -> None:
    for seed in range(200):
        VALIDATOR.validate(published(seed))
        VALIDATOR.validate(published(seed, home=True))
        VALIDATOR.validate(published(seed, home=seed % 2 == 0, corrections=seed))


def test_optional_fields_are_omitted_when_unset() -> None:
    assert not set(OPTIONAL) & published().keys()
    assert set(OPTIONAL[:-1]) < published(home=True, corrections=3).keys()
    assert set(OPTIONAL[:3]) == set(OPTIONAL) & published(home=True).keys()
    assert set(OPTIONAL[3:-1]) == set(OPTIONAL) & published(corrections=3).keys()


def test_additional_fields_are_allowed() -> None:
    VALIDATOR.validate(published() | {"age_group": "adult"})
    more = published()
    more["model"]["licence"] = "CC0"
    VALIDATOR.validate(more)


def test_the_shipped_schema_matches_the_struct() -> None:
    shipped = resources.files("serd.events").joinpath("event.schema.json").read_text("utf-8")
    assert json.loads(shipped) == event_schema(), "run `make docs`"
    schema = event_schema()
    fields = [field.encode_name for field in msgspec.structs.fields(Event)]
    assert list(schema["properties"]) == fields == [*schema["required"], *OPTIONAL]
    utterance = schema["properties"]["utterance"]
    fields = [field.encode_name for field in msgspec.structs.fields(Single)]
    assert list(utterance["properties"]) == fields == utterance["required"]
    model = schema["properties"]["model"]
    fields = [field.encode_name for field in msgspec.structs.fields(ModelRef)]
    assert list(model["properties"]) == fields == model["required"]
    scores = schema["$defs"]["scores"]
    assert list(scores["properties"]) == list(EMOTIONS) == scores["required"]
    assert schema["$defs"]["emotion"]["enum"] == [*EMOTIONS, UNCERTAIN]
    assert schema["properties"]["schema"]["const"] == Event.__struct_defaults__[0]


@pytest.mark.parametrize("field", event_schema()["required"])
def test_a_missing_required_field_is_reported(field: str) -> None:
    broken = published()
    del broken[field]
    assert field in next(VALIDATOR.iter_errors(broken)).message


VIOLATIONS: list[tuple[str, Any]] = [
    ("schema", 2),
    ("schema", "1"),
    ("id", "not-a-uuid"),
    ("id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),  # version 1
    ("id", "017f22e2-79b0-7cc3-18c4-dc0c0c07398f"),  # another variant
    ("id", 7),
    ("node", ""),
    ("node", 1),
    ("seq", 0),
    ("seq", -3),
    ("seq", 1.5),
    ("seq", "1"),
    ("started_at", "2026-03-01T08:15:00Z"),
    ("started_at", "2026-03-01T08:15:00.250+01:00"),
    ("ended_at", 1_772_352_900),
    ("duration_s", -0.1),
    ("duration_s", 3.1),
    ("duration_s", "3"),
    ("emotion", "merry"),
    ("emotion", None),
    ("confidence", 1.01),
    ("confidence", -0.01),
    ("confidence", True),
    ("valence", -1.1),
    ("arousal", 1.1),
    ("arousal", None),
    ("level_dbfs", 0.1),
    ("level_dbfs", -121),
    ("level_dbfs", "loud"),
    ("latency_ms", -1),
    ("latency_ms", None),  # an event without a latency must not be published
    ("utterance", {"emotion": "sad", "confidence": 0.5}),
    ("utterance", None),
    ("gathered", 0),
    ("gathered", "1"),
    ("prior", 1.5),
    ("adapted", -1),
    ("adapted", None),
    ("model_emotion", "merry"),
    ("model_confidence", 1.5),
    ("model_scores", {"happy": 1.0}),
    ("cut", None),
    ("cut", 1),
    ("model", "default"),
    ("model", {"name": "m", "version": "1"}),
    ("model", {"name": "m", "version": "1", "sha256": "0123"}),
    ("model", {"name": "m", "version": "1", "sha256": "0123456789AB"}),
    ("model", {"name": 1, "version": "1", "sha256": "0123456789ab"}),
    ("scores", {}),
    ("scores", {"happy": 1.0}),
    ("scores", dict.fromkeys((*EMOTIONS, "merry"), 0.1)),
    ("scores", dict.fromkeys(EMOTIONS, 1.5)),
    ("scores", dict.fromkeys(EMOTIONS, "0.1")),
]


@pytest.mark.parametrize(("field", "value"), VIOLATIONS)
def test_each_violation_is_reported_at_its_field(field: str, value: object) -> None:
    broken = copy.deepcopy(published())
    broken[field] = value
    errors = list(VALIDATOR.iter_errors(broken))
    assert errors
    assert {error.absolute_path[0] for error in errors} == {field}
