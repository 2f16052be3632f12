"""The discovery payload is a contract with users: their Home Assistant entities depend on it."""

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


def test_the_payload_matches_the_golden_file() -> None:
    """After an intended change, update the file and note it in the changelog."""
    assert payload() == json.loads(GOLDEN.read_text())


def test_a_node_without_sensitivity_has_no_component_for_it() -> None:
    with_it, without = payload()["cmps"], payload(sensitivity=False)["cmps"]
    assert {key: with_it[key] for key in without} == without
    assert with_it.keys() - without.keys() == {"sensitivity"}


def test_a_node_without_corrections_has_no_components_for_them() -> None:
    with_it, without = payload()["cmps"], payload(corrections=False)["cmps"]
    assert {key: with_it[key] for key in without} == without
    assert with_it.keys() - without.keys() == {"correct", "not_that"}
    for key in ("correct", "not_that"):
        assert with_it[key]["command_topic"] == TOPICS.correct
        assert with_it[key]["json_attributes_topic"] == TOPICS.state


def test_discovery_topic() -> None:
    assert discovery_topic(TOPICS, "ha") == "ha/device/serd_living-room/config"


def test_ids_have_only_characters_that_home_assistant_accepts() -> None:
    announced = payload()
    ids = [component["unique_id"] for component in announced["cmps"].values()]
    assert len(set(ids)) == len(ids) > 10
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", name) for name in [*ids, *announced["cmps"]])


def test_every_component_has_a_platform_and_a_topic() -> None:
    for component in payload()["cmps"].values():
        if component["p"] == "button":
            assert str(component["command_topic"]).startswith("serd/living-room/")
            continue
        assert component["p"] in {"event", "sensor", "binary_sensor", "switch", "select"}
        assert str(component["state_topic"]).startswith("serd/living-room/")


def test_event_types_are_all_emotions_and_uncertain() -> None:
    event = payload()["cmps"]["event"]
    assert event["event_types"] == [*EMOTIONS, UNCERTAIN]


def diagnostics(telemetry_s: float = 60) -> dict[str, dict[str, Any]]:
    announced = payload(telemetry_s)["cmps"].items()
    return {key: c for key, c in announced if c.get("entity_category") == "diagnostic"}


def test_diagnostics_expire() -> None:
    components = payload(telemetry_s=10)["cmps"].values()
    diagnostics = [c for c in components if c.get("entity_category") == "diagnostic"]
    assert diagnostics
    assert all(component["expire_after"] == 30 for component in diagnostics)
