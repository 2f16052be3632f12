"""How a real Home Assistant presents serd's messages, published by a stand-in for the daemon.

All tests share one Home Assistant; each uses its own node.
"""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.mqtt.discovery import discovery_topic
from tests.homeassistant.guide import table
from tests.homeassistant.instance import HomeAssistant, home_assistant
from tests.homeassistant.stand_in import VERSION, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

pytestmark = [pytest.mark.homeassistant, pytest.mark.broker, pytest.mark.slow]

MAIN = {
    ("event", "emotion"): ("Emotion", None, None, None),
    ("sensor", "emotion"): ("Emotion", "enum", None, None),
    ("sensor", "confidence"): ("Confidence", None, "%", "measurement"),
    ("sensor", "mood"): ("Mood", "enum", None, None),
    ("sensor", "valence"): ("Valence", None, None, "measurement"),
    ("sensor", "arousal"): ("Arousal", None, None, "measurement"),
    ("binary_sensor", "speech"): ("Speech", "sound", None, None),
    ("sensor", "microphone"): ("Microphone", "enum", None, None),
    ("switch", "mute"): ("Mute", None, None, None),
    ("select", "that_was"): ("That was...", None, None, None),
    ("button", "not_that"): ("Not that", None, None, None),
}
"""Name, device class, unit and state class of the main entities."""

DIAGNOSTIC = {
    ("sensor", "condition"): ("Condition", None, None, None),
    ("sensor", "level"): ("Level", None, "dBFS", "measurement"),
    ("sensor", "latency"): ("Latency", "duration", "ms", "measurement"),
    ("sensor", "events_waiting"): ("Events waiting", None, None, "measurement"),
    ("sensor", "version"): ("Version", None, None, None),
    ("sensor", "events_lost"): ("Events lost", None, None, "total_increasing"),
}
"""The same for the entities under "Diagnostic"."""

SETTINGS = {("select", "sensitivity"): ("Sensitivity", None, None, None)}
"""The same for the entities under "Configuration"."""

ALL = {**MAIN, **DIAGNOSTIC, **SETTINGS}

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def home(
    venv: Path, broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HomeAssistant]:
    folder = tmp_path_factory.mktemp("home")
    with home_assistant(venv, folder, broker_port=broker.port) as running:
        yield running


@pytest.fixture
def node(home: HomeAssistant, recorder: Recorder) -> Iterator[StandIn]:
    stand_in = StandIn(recorder, f"room-{next(_numbers)}")
    stand_in.announce()
    home.wait_value(stand_in.entity("sensor", "version"), VERSION)
    before = len(home.problems)
    yield stand_in
    assert home.problems[before:] == []


def registered(home: HomeAssistant, node: StandIn) -> dict[str, dict[str, Any]]:
    """The node's entities in Home Assistant's registry."""
    start = f"serd_{node.topics.node}_"
    listing = home.command("config/entity_registry/list")
    return {e["entity_id"]: e for e in listing if str(e["unique_id"]).startswith(start)}


def devices(home: HomeAssistant, node: StandIn) -> list[dict[str, Any]]:
    listing = home.command("config/device_registry/list")
    return [d for d in listing if ["mqtt", f"serd_{node.topics.node}"] in d["identifiers"]]


def test_every_entity_has_its_name_class_and_category(home: HomeAssistant, node: StandIn) -> None:
    entries = registered(home, node)
    assert set(entries) == {node.entity(*key) for key in ALL}
    for key, expected in ALL.items():
        entity = node.entity(*key)
        attributes = home.state(entity)["attributes"]
        name = entries[entity]["original_name"]
        shown = [attributes.get(k) for k in ("device_class", "unit_of_measurement", "state_class")]
        assert (name, *shown) == expected, entity
        assert attributes["friendly_name"] == f"serd {node.topics.node} {name}"
        category = "diagnostic" if key in DIAGNOSTIC else "config" if key in SETTINGS else None
        assert entries[entity]["entity_category"] == category, entity
    # An entity that is disabled from the start makes Home Assistant (2025.4) clear the whole
    # device's discovery message when it is removed, so there is none.
    assert not any(entry["disabled_by"] for entry in entries.values())
    assert home.problems == []


def test_the_guide_lists_every_entity(home: HomeAssistant, recorder: Recorder) -> None:
    node = StandIn(recorder, "living-room")
    node.announce()
    home.wait_value(node.entity("sensor", "version"), VERSION)
    listed = {row[0]: row[1] for row in table("What you get")}
    entries = registered(home, node)
    assert listed == {entity: entry["original_name"] for entity, entry in entries.items()}


def test_all_entities_belong_to_one_device(home: HomeAssistant, node: StandIn) -> None:
    (device,) = devices(home, node)
    assert device["name"] == f"serd {node.topics.node}"
    assert device["sw_version"] == VERSION
    assert {e["device_id"] for e in registered(home, node).values()} == {device["id"]}


def test_values_before_the_first_event(home: HomeAssistant, node: StandIn) -> None:
    values = {key: home.value(node.entity(*key)) for key in ALL}
    assert values == {
        ("event", "emotion"): "unknown",
        ("sensor", "emotion"): "unknown",
        ("sensor", "confidence"): "unknown",
        ("sensor", "mood"): "neutral",
        ("sensor", "valence"): "-0.25",
        ("sensor", "arousal"): "0.5",
        ("binary_sensor", "speech"): "off",
        ("sensor", "microphone"): "unknown",
        ("switch", "mute"): "off",
        ("sensor", "condition"): "listening",
        ("sensor", "level"): "-47.1",
        ("sensor", "latency"): "8.5",
        ("sensor", "events_waiting"): "0",
        ("sensor", "version"): VERSION,
        ("sensor", "events_lost"): "0",
        ("select", "that_was"): "unknown",
        ("button", "not_that"): "unknown",
        ("select", "sensitivity"): "normal",
    }


def test_an_event_becomes_the_state_of_the_event_entity(home: HomeAssistant, node: StandIn) -> None:
    entity = node.entity("event", "emotion")
    sent = node.event("fearful", 0.83)
    home.wait("the event", lambda: home.value(entity) != "unknown")
    state = home.state(entity)
    assert datetime.fromisoformat(state["state"]).tzinfo is not None
    attributes = state["attributes"]
    assert attributes["event_types"] == [*EMOTIONS, UNCERTAIN]
    assert attributes["event_type"] == "fearful"
    for field in ("id", "seq", "started_at", "ended_at", "duration_s", "confidence", "scores",
                  "valence", "arousal", "level_dbfs", "latency_ms"):  # fmt: skip
        assert attributes[field] == getattr(sent, field), field


def test_every_emotion_is_accepted_by_event_and_sensors(home: HomeAssistant, node: StandIn) -> None:
    entity = node.entity("event", "emotion")
    for emotion in (*EMOTIONS, UNCERTAIN):
        mood = "calm" if emotion == UNCERTAIN else emotion
        sent = node.event(emotion, 0.5)
        node.state(emotion=emotion, confidence=0.5, mood=mood)
        home.wait_value(node.entity("sensor", "emotion"), emotion)
        home.wait_attribute(entity, "id", sent.id)
        assert home.attribute(entity, "event_type") == emotion
        assert home.value(node.entity("sensor", "confidence")) == "50.0"
        assert home.value(node.entity("sensor", "mood")) == mood


def test_the_same_emotion_twice_changes_the_event_entity_twice(
    home: HomeAssistant, node: StandIn
) -> None:
    entity = node.entity("event", "emotion")
    node.event("happy", 0.9)
    first = home.wait("the first", lambda: home.attribute(entity, "id"))
    before = home.value(entity)
    node.event("happy", 0.9)
    home.wait("the second", lambda: home.attribute(entity, "id") != first)
    assert home.value(entity) != before


def test_the_mute_switch_sends_the_command(
    home: HomeAssistant, node: StandIn, recorder: Recorder
) -> None:
    mute = node.entity("switch", "mute")
    home.act("switch.turn_on", entity_id=mute)
    recorder.wait_for(node.topics.mute_set, b"ON")
    # The switch is not optimistic: it turns on once the node confirms.
    assert home.value(mute) == "off"
    recorder.publish(node.topics.mute, b"ON", retain=True)
    home.wait_value(mute, "on")
    home.act("switch.turn_off", entity_id=mute)
    recorder.wait_for(node.topics.mute_set, b"OFF")
    command = next(m for m in recorder.messages if m.topic == node.topics.mute_set)
    assert (command.qos, command.retained) == (1, False)


def test_the_sensitivity_select_sends_the_command(
    home: HomeAssistant, node: StandIn, recorder: Recorder
) -> None:
    select = node.entity("select", "sensitivity")
    assert home.attribute(select, "options") == ["low", "normal", "high"]
    home.act("select.select_option", entity_id=select, option="low")
    recorder.wait_for(node.topics.sensitivity_set, b"low")
    assert home.value(select) == "normal"
    recorder.publish(node.topics.sensitivity, b"low", retain=True)
    home.wait_value(select, "low")


def test_select_and_button_correct_the_latest_utterance(
    home: HomeAssistant, node: StandIn, recorder: Recorder
) -> None:
    select, button = node.entity("select", "that_was"), node.entity("button", "not_that")
    assert home.attribute(select, "options") == [*EMOTIONS]
    home.act("button.press", entity_id=button)  # no event yet: the node picks the latest
    recorder.wait_for(node.topics.correct, b'{"id":"last","emotion":null}')
    sent = node.event("angry", 0.7)
    node.state(emotion="angry", confidence=0.7, event_id=sent.id)
    home.wait("the event", lambda: home.attribute(select, "event_id") == sent.id)
    home.wait("the event", lambda: home.attribute(button, "event_id") == sent.id)
    home.act("select.select_option", entity_id=select, option="happy")
    recorder.wait_for(node.topics.correct, f'{{"id":"{sent.id}","emotion":"happy"}}'.encode())
    node.state(emotion="angry", confidence=0.7, event_id=sent.id, corrected="happy")
    home.wait_value(select, "happy")
    home.act("button.press", entity_id=button)
    recorder.wait_for(node.topics.correct, f'{{"id":"{sent.id}","emotion":null}}'.encode())
    node.state(emotion="angry", confidence=0.7, event_id=sent.id, corrected="not")
    home.wait_value(select, "unknown")
    command = next(m for m in recorder.messages if m.topic == node.topics.correct)
    assert (command.qos, command.retained) == (1, False)
    event_entity = node.entity("event", "emotion")
    home.wait("the event", lambda: home.attribute(event_entity, "event_id") == sent.id)


def test_offline_makes_everything_unavailable(
    home: HomeAssistant, node: StandIn, recorder: Recorder
) -> None:
    recorder.publish(node.topics.status, b"offline", retain=True)
    for key in ALL:
        home.wait_value(node.entity(*key), "unavailable")
    recorder.publish(node.topics.status, b"online", retain=True)
    for key in ALL:
        home.wait_available(node.entity(*key))


def test_diagnostics_become_unavailable_without_telemetry(
    home: HomeAssistant, node: StandIn
) -> None:
    node.announce(telemetry_s=1)
    for key in DIAGNOSTIC:
        home.wait_value(node.entity(*key), "unavailable")
    for key in MAIN:
        assert home.value(node.entity(*key)) != "unavailable", key


def test_the_last_event_is_restored_after_a_restart(home: HomeAssistant, node: StandIn) -> None:
    entity = node.entity("event", "emotion")
    node.event("sad", 0.7)
    home.wait("the event", lambda: home.value(entity) != "unknown")
    before = home.state(entity)
    home.restart()
    home.wait_value(entity, before["state"])
    assert home.attribute(entity, "event_type") == "sad"


def test_an_empty_discovery_message_removes_device_and_entities(
    home: HomeAssistant, node: StandIn, recorder: Recorder
) -> None:
    recorder.publish(discovery_topic(node.topics, "homeassistant"), b"", retain=True)
    home.wait("the entities to disappear", lambda: not registered(home, node))
    assert home.state(node.entity("event", "emotion")) is None
    home.wait("the device to disappear", lambda: not devices(home, node))


def test_the_condition_has_the_trouble_as_attribute(
    home: HomeAssistant, node: StandIn, recorder: Recorder
) -> None:
    entity = node.entity("sensor", "condition")
    assert "trouble" in home.state(entity)["attributes"]
    assert home.attribute(entity, "trouble") is None
    node.telemetry(condition="waiting", trouble="the microphone is gone")
    home.wait_value(entity, "waiting")
    assert home.attribute(entity, "trouble") == "the microphone is gone"


def test_nodes_are_independent(home: HomeAssistant, node: StandIn, recorder: Recorder) -> None:
    other = StandIn(recorder, f"room-{next(_numbers)}")
    other.announce()
    home.wait_value(other.entity("sensor", "version"), VERSION)
    other.event("happy", 0.9)
    entity = other.entity("event", "emotion")
    home.wait("the event", lambda: home.attribute(entity, "event_type"))
    assert home.value(node.entity("event", "emotion")) == "unknown"
