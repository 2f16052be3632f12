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


def test_a_node_without_sensitivity_has_its_entity_removed() -> None:
    """Home Assistant removes a component of which only the platform is announced."""
    with_it, without = payload()["cmps"], payload(sensitivity=False)["cmps"]
    assert without == {**with_it, "sensitivity": {"p": "select"}}


def test_a_node_without_corrections_has_their_entities_removed() -> None:
    with_it, without = payload()["cmps"], payload(corrections=False)["cmps"]
    assert without == {**with_it, "correct": {"p": "select"}, "not_that": {"p": "button"}}
    for key in ("correct", "not_that"):
        assert with_it[key]["command_topic"] == TOPICS.correct
        assert with_it[key]["json_attributes_topic"] == TOPICS.state


def test_a_shortened_announcement_removes_what_it_leaves_out() -> None:
    whole = payload()["cmps"]
    without = {"sensitivity": {"p": "select"}, "correct": {"p": "select"}}
    for most, corrections in ((4000, True), (4000, False), (2000, False)):
        encoded = discovery_payload(
            TOPICS, version="1.2.3", telemetry_s=60, corrections=corrections, bytes_max=most
        )
        assert len(encoded) <= most
        announced = json.loads(encoded)["cmps"]
        removed = {key: each for key, each in announced.items() if len(each) == 1}
        assert removed == {key: {"p": whole[key]["p"]} for key in removed}
        assert removed.items() >= (without if not corrections else {}).items()
        assert len(removed) >= 3
        assert {"event", "mute", "mood"} <= announced.keys() - removed.keys()


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
