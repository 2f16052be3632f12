"""A real serd, a real mosquitto and a real Home Assistant together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.homeassistant.instance import HomeAssistant, home_assistant
from tests.homeassistant.speaker import (
    Speaker,
    clearest_utterance,
    decode,
    model_with_swapped_labels,
)
from tests.homeassistant.test_entities import DIAGNOSTIC, MAIN, SETTINGS
from tests.system.node import run_serd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

    MakeNode = Callable[[str], Speaker]

pytestmark = [pytest.mark.homeassistant, pytest.mark.broker, pytest.mark.slow]

AUTOMATIONS = """
- id: afraid
  alias: Somebody sounds afraid
  mode: queued
  max: 20
  triggers:
    - trigger: state
      entity_id: event.serd_living_room_emotion
      not_from: unavailable
  conditions:
    - condition: state
      entity_id: event.serd_living_room_emotion
      attribute: event_type
      state: fearful
  actions:
    - action: input_boolean.turn_on
      target:
        entity_id: input_boolean.afraid
    - action: counter.increment
      target:
        entity_id: counter.afraid
"""

HELPERS = """
input_boolean:
  afraid:
counter:
  afraid:
"""


@pytest.fixture(scope="module")
def home(
    venv: Path, broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HomeAssistant]:
    with home_assistant(
        venv,
        tmp_path_factory.mktemp("home"),
        broker_port=broker.port,
        automations=AUTOMATIONS,
        configuration=HELPERS,
    ) as running:
        yield running
        assert running.problems == []


@pytest.fixture(scope="module")
def utterance(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The utterance of the sample with the highest confidence."""
    return clearest_utterance(tmp_path_factory.mktemp("classify"))


@pytest.fixture
def make_node(tmp_path: Path, broker: Mosquitto, utterance: dict[str, Any]) -> MakeNode:
    """Make a node whose model labels that utterance as fearful."""

    def make(name: str) -> Speaker:
        model = model_with_swapped_labels(
            "fearful", utterance["emotion"], tmp_path / "model.tflite"
        )
        settings = (f"model.path={model}", "model.min_confidence=0.0", "mqtt.telemetry_s=1")
        return Speaker(tmp_path / name, broker.port, node=name, settings=settings)

    return make


# `make_node` sets model.min_confidence, so there is no sensitivity to choose.
ALL = {**MAIN, **DIAGNOSTIC}


def ids(name: str, keys: dict[tuple[str, str], Any]) -> list[str]:
    return [f"{platform}.serd_{name.replace('-', '_')}_{key}" for platform, key in keys]


def last_event(recorder: Recorder, node: str) -> dict[str, Any]:
    return decode(recorder.on(f"serd/{node}/emotion")[-1])


def test_an_utterance_triggers_an_automation(
    home: HomeAssistant, recorder: Recorder, make_node: MakeNode, utterance: dict[str, Any]
) -> None:
    event = "event.serd_living_room_emotion"
    with make_node("living-room") as speaker:
        for entity in ids("living-room", ALL):
            home.wait_available(entity)
        assert home.value(event) == "unknown"
        assert home.value("input_boolean.afraid") == "off"

        speaker.say(utterance)
        home.wait_value("input_boolean.afraid", "on")
        home.wait_value("counter.afraid", "1")
        published = last_event(recorder, "living-room")
        attributes = home.state(event)["attributes"]
        assert attributes["event_type"] == published["emotion"] == "fearful"
        assert attributes["id"] == published["id"]
        assert attributes["scores"] == published["scores"]
        assert attributes["confidence"] == published["confidence"]
        home.wait_value("sensor.serd_living_room_emotion", "fearful")
        percent = home.value("sensor.serd_living_room_confidence")
        assert float(str(percent)) == pytest.approx(100 * published["confidence"], abs=0.06)
        assert {b"ON", b"OFF"} <= set(recorder.on("serd/living-room/speech"))
        home.wait_value("binary_sensor.serd_living_room_speech", "off")

        home.wait_value("sensor.serd_living_room_latency", str(published["latency_ms"]))

        # A single utterance does not set the mood; several do.
        assert home.value("sensor.serd_living_room_mood") == "neutral"
        speaker.say(utterance, times=12)
        home.wait_value("sensor.serd_living_room_mood", "fearful")
        home.wait_value("counter.afraid", "13")
        recorder.wait_count("serd/living-room/emotion", 13)
        published = last_event(recorder, "living-room")
        home.wait_attribute(event, "id", published["id"])

        # An event restored after a restart of Home Assistant or serd triggers nothing.
        home.restart()
        home.wait_available(event)
        assert home.attribute(event, "id") == published["id"]
        assert speaker.node.stop() == 0
        home.wait_value(event, "unavailable")
    with make_node("living-room"):
        home.wait_available(event)
        assert home.attribute(event, "id") == published["id"]
        # By then the first messages of the new connection have arrived.
        home.wait_value("sensor.serd_living_room_condition", "listening")
        assert home.value("counter.afraid") == "13"


def test_the_mute_switch_of_home_assistant_closes_the_microphone(
    home: HomeAssistant, recorder: Recorder, make_node: MakeNode, utterance: dict[str, Any]
) -> None:
    mute, event = "switch.serd_kitchen_mute", "event.serd_kitchen_emotion"
    with make_node("kitchen") as speaker:
        home.wait_value(mute, "off")
        home.act("switch.turn_on", entity_id=mute)
        home.wait_value(mute, "on")
        speaker.node.wait_log("muted: the microphone is closed")
        recorder.wait(lambda: decode(recorder.on("serd/kitchen/state")[-1])["muted"] is True)
        speaker.say(utterance)
        assert speaker.node.stop() == 0
        assert home.value(event) in {"unknown", "unavailable"}

    # It stays muted across a restart of serd and of Home Assistant.
    with make_node("kitchen") as speaker:
        home.restart()
        home.wait_value(mute, "on")
        speaker.node.wait_log("muted: the microphone is closed")
        assert recorder.on("serd/kitchen/emotion") == []
        home.act("switch.turn_off", entity_id=mute)
        home.wait_value(mute, "off")
        speaker.say(utterance)
        home.wait_attribute(event, "event_type", "fearful")


def test_everything_recovers_from_restarts(
    home: HomeAssistant,
    broker: Mosquitto,
    recorder: Recorder,
    make_node: MakeNode,
    utterance: dict[str, Any],
) -> None:
    event = "event.serd_attic_emotion"

    def assert_works(speaker: Speaker) -> None:
        """All entities are available, and a new event arrives."""
        for entity in ids("attic", ALL):
            home.wait_available(entity)
        before = home.attribute(event, "id")
        speaker.say(utterance)
        home.wait("a new event", lambda: home.attribute(event, "id") not in {None, before})

    with make_node("attic") as speaker:
        assert_works(speaker)

        home.restart()
        assert_works(speaker)

        broker.restart()
        assert_works(speaker)

        # The broker has lost its retained messages.
        broker.stop()
        for entity in ids("attic", MAIN):
            home.wait_value(entity, "unavailable")
        broker.kill()
        for database in broker.folder.glob("*.db"):
            database.unlink()
        broker.start()
        assert_works(speaker)

        # Home Assistant starts while the broker is down.
        broker.stop()
        home.restart()
        broker.start()
        assert_works(speaker)

        speaker.node.kill()
        for entity in ids("attic", ALL):
            home.wait_value(entity, "unavailable")
    with make_node("attic") as speaker:
        assert_works(speaker)


def test_a_removed_node_disappears(
    home: HomeAssistant, broker: Mosquitto, make_node: MakeNode, tmp_path: Path
) -> None:
    with make_node("cellar") as speaker:
        for entity in ids("cellar", ALL):
            home.wait_available(entity)
        assert speaker.node.stop() == 0
    address = ("--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={broker.port}")
    done = run_serd("discovery", "remove", "cellar", *address, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")

    def removed() -> bool:
        listing = home.command("config/entity_registry/list")
        return not any("cellar" in entry["entity_id"] for entry in listing)

    home.wait("the entities to disappear", removed)
    home.restart()
    assert removed()
    assert not any("cellar" in str(d["name"]) for d in home.command("config/device_registry/list"))


def test_the_shipped_model_has_a_selectable_sensitivity(
    home: HomeAssistant, recorder: Recorder, tmp_path: Path, broker: Mosquitto
) -> None:
    [select] = ids("den", SETTINGS)
    with Speaker(tmp_path / "den", broker.port, node="den"):
        home.wait_available(select)
        home.wait_value(select, "normal")
        home.act("select.select_option", entity_id=select, option="low")
        recorder.wait_for("serd/den/sensitivity", b"low")
        home.wait_value(select, "low")
