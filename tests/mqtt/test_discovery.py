"""What Home Assistant is told is a contract with its users: their entities hang on it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.mqtt.discovery import discovery_payload, discovery_topic
from serd.mqtt.topics import Topics

GOLDEN = Path(__file__).parent / "discovery.golden.json"
TOPICS = Topics("serd", "living-room")


def payload(
    telemetry_s: float = 60, *, sensitivity: bool = True, corrections: bool = True
) -> dict[str, Any]:
    encoded = discovery_payload(
        TOPICS,
        version="1.2.3",
        telemetry_s=telemetry_s,
        sensitivity=sensitivity,
        corrections=corrections,
    )
    decoded: dict[str, Any] = json.loads(encoded)
    return decoded


def test_golden() -> None:
    """If this fails on purpose, write the new file and say so in the changelog."""
    assert payload() == json.loads(GOLDEN.read_text())


def test_a_node_that_takes_no_sensitivity_shows_none() -> None:
    with_it, without = payload()["cmps"], payload(sensitivity=False)["cmps"]
    assert {key: with_it[key] for key in without} == without
    assert with_it.keys() - without.keys() == {"sensitivity"}


def test_a_node_that_takes_no_corrections_offers_none() -> None:
    with_it, without = payload()["cmps"], payload(corrections=False)["cmps"]
    assert {key: with_it[key] for key in without} == without
    assert with_it.keys() - without.keys() == {"correct", "not_that"}
    for key in ("correct", "not_that"):
        assert with_it[key]["command_topic"] == TOPICS.correct
        assert with_it[key]["json_attributes_topic"] == TOPICS.state


def test_topic() -> None:
    assert discovery_topic(TOPICS, "ha") == "ha/device/serd_living-room/config"


def test_ids_have_only_what_home_assistant_takes() -> None:
    said = payload()
    ids = [component["unique_id"] for component in said["cmps"].values()]
    assert len(set(ids)) == len(ids) > 10
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", name) for name in [*ids, *said["cmps"]])


def test_every_component_names_platform_and_state() -> None:
    for component in payload()["cmps"].values():
        if component["p"] == "button":
            assert str(component["command_topic"]).startswith("serd/living-room/")
            continue
        assert component["p"] in {"event", "sensor", "binary_sensor", "switch", "select"}
        assert str(component["state_topic"]).startswith("serd/living-room/")


def test_event_types_are_those_of_events() -> None:
    event = payload()["cmps"]["event"]
    assert event["event_types"] == [*EMOTIONS, UNCERTAIN]


def diagnostics(telemetry_s: float = 60) -> dict[str, dict[str, Any]]:
    said = payload(telemetry_s)["cmps"].items()
    return {key: c for key, c in said if c.get("entity_category") == "diagnostic"}


def test_diagnostics_expire() -> None:
    components = payload(telemetry_s=10)["cmps"].values()
    diagnostics = [c for c in components if c.get("entity_category") == "diagnostic"]
    assert diagnostics
    assert all(component["expire_after"] == 30 for component in diagnostics)
