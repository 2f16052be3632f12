"""The automations and entities of docs/home-assistant.md, verbatim, in a real Home Assistant.

The tests run in this order: each starts from the state that the previous one left.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.homeassistant.guide import automations, cards, entities
from tests.homeassistant.instance import HomeAssistant, home_assistant
from tests.homeassistant.stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

pytestmark = [pytest.mark.homeassistant, pytest.mark.broker, pytest.mark.slow]

LIGHT = "light.living_room"
MUTE = "switch.serd_living_room_mute"
TELEVISION = "media_player.television"

# The devices that the automations control: a lamp that stores its brightness, and a phone that
# appends its notifications to a file.
HOUSE = """
input_number:
  brightness:
    min: 0
    max: 255
    initial: 255
  mireds:
    min: 100
    max: 600
    initial: 200
input_boolean:
  lamp:
    initial: true
light:
  - platform: template
    lights:
      living_room:
        value_template: "{{{{ is_state('input_boolean.lamp', 'on') }}}}"
        level_template: "{{{{ states('input_number.brightness') | int }}}}"
        temperature_template: "{{{{ states('input_number.mireds') | int }}}}"
        supports_transition_template: "{{{{ true }}}}"
        turn_on:
          - action: input_boolean.turn_on
            target: {{entity_id: input_boolean.lamp}}
        turn_off:
          - action: input_boolean.turn_off
            target: {{entity_id: input_boolean.lamp}}
        set_level:
          - action: input_number.set_value
            target: {{entity_id: input_number.brightness}}
            data: {{value: "{{{{ brightness }}}}"}}
        set_temperature:
          - action: input_number.set_value
            target: {{entity_id: input_number.mireds}}
            data: {{value: "{{{{ color_temp }}}}"}}
          - if: "{{{{ brightness is defined }}}}"
            then:
              - action: input_number.set_value
                target: {{entity_id: input_number.brightness}}
                data: {{value: "{{{{ brightness }}}}"}}
command_line:
  - notify:
      name: mobile_app_phone
      command: "cat >> {phone}; echo >> {phone}"
"""


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file into which the phone writes its messages."""
    path = tmp_path_factory.mktemp("phone") / "messages"
    path.touch()
    return path


@pytest.fixture(scope="module")
def home(
    venv: Path, broker: Mosquitto, phone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HomeAssistant]:
    with home_assistant(
        venv,
        tmp_path_factory.mktemp("home"),
        broker_port=broker.port,
        automations=yaml.safe_dump(automations()),
        configuration=HOUSE.format(phone=phone),
    ) as running:
        yield running
        assert running.problems == []


@pytest.fixture(scope="module")
def node(home: HomeAssistant, recorder: Recorder) -> StandIn:
    stand_in = StandIn(recorder, "living-room")
    stand_in.announce()
    home.wait_available(MUTE)
    home.wait_value("sensor.serd_living_room_mood", "neutral")
    return stand_in


@pytest.fixture
def automation(home: HomeAssistant) -> dict[str, str]:
    """Entity of each automation by its name."""
    states = home.get("/api/states")
    found = [state for state in states if state["entity_id"].startswith("automation.")]
    return {state["attributes"]["friendly_name"]: state["entity_id"] for state in found}


def test_every_automation_is_accepted(home: HomeAssistant, automation: dict[str, str]) -> None:
    assert set(automation) == {entry["alias"] for entry in automations()}
    assert {home.value(entity) for entity in automation.values()} == {"on"}


def test_every_entity_in_the_text_exists(home: HomeAssistant, node: StandIn) -> None:
    known = {state["entity_id"] for state in home.get("/api/states")}
    named = entities()
    assert len(named) >= 8
    assert named <= known
    on_cards = {row["entity"] for card in cards() for row in card["entities"]}
    assert on_cards <= known


def test_a_sad_mood_dims_the_light(home: HomeAssistant, node: StandIn) -> None:
    assert home.attribute(LIGHT, "brightness") == 255
    node.state(mood="sad")
    home.wait_attribute(LIGHT, "brightness", 76)
    home.wait_value("input_number.mireds", "454.0")  # 2200 K
    # A lamp that is off stays off.
    node.state(mood="neutral")
    home.wait_value("sensor.serd_living_room_mood", "neutral")
    home.act("light.turn_off", entity_id=LIGHT)
    home.wait_value(LIGHT, "off")
    node.state(mood="sad")
    home.wait_value("sensor.serd_living_room_mood", "sad")
    home.act("input_number.set_value", entity_id="input_number.mireds", value=200)
    assert home.value(LIGHT) == "off"


def test_fear_is_notified_once_if_confident_and_recent(
    home: HomeAssistant, node: StandIn, phone: Path
) -> None:
    event = "event.serd_living_room_emotion"
    for emotion, confidence, ago_s in (("happy", 0.9, 1), ("fearful", 0.5, 1),
                                       ("fearful", 0.9, 3600)):  # fmt: skip
        sent = node.event(emotion, confidence, ago_s=ago_s)
        home.wait_attribute(event, "id", sent.id)
    assert phone.read_text() == ""
    node.event("fearful", 0.9)
    home.wait("the message", lambda: phone.read_text() != "")
    sent = node.event("fearful", 0.95)
    home.wait_attribute(event, "id", sent.id)
    assert phone.read_text() == "Somebody sounds afraid.\n"


def test_notification_buttons_correct_the_event(
    home: HomeAssistant, node: StandIn, recorder: Recorder, phone: Path
) -> None:
    before = phone.read_text()
    asked = node.event("angry", 0.8)
    home.wait("the question", lambda: phone.read_text() == f"{before}Was that anger?\n")
    # The user answers after a later event; the correction is for the event in question.
    later = node.event("neutral", 0.8)
    home.wait_attribute("event.serd_living_room_emotion", "event_id", later.id)
    for action in ("OTHER_APP", f"SERD_NOT_{asked.id}", f"SERD_HAPPY_{asked.id}"):
        home.post("/api/events/mobile_app_notification_action", {"action": action})
    recorder.wait_count(node.topics.correct, 2)
    assert [json.loads(payload) for payload in recorder.on(node.topics.correct)] == [
        {"id": asked.id, "emotion": None},
        {"id": asked.id, "emotion": "happy"},
    ]


def test_the_television_mutes_the_node(
    home: HomeAssistant, node: StandIn, recorder: Recorder
) -> None:
    before = len(recorder.on(node.topics.mute_set))
    for state, command in (("playing", b"ON"), ("paused", b"OFF")):
        home.post(f"/api/states/{TELEVISION}", {"state": state})
        before += 1
        recorder.wait_count(node.topics.mute_set, before)
        assert recorder.on(node.topics.mute_set)[-1] == command


def test_quiet_hours(
    home: HomeAssistant, node: StandIn, recorder: Recorder, automation: dict[str, str]
) -> None:
    before = len(recorder.on(node.topics.mute_set))
    # The actions are triggered directly, without waiting for the time of day.
    for alias in ("Do not listen at night", "Listen again in the morning"):
        home.act("automation.trigger", entity_id=automation[alias], skip_condition=True)
    recorder.wait_count(node.topics.mute_set, before + 2)
    assert recorder.on(node.topics.mute_set)[before:] == [b"ON", b"OFF"]


@pytest.mark.parametrize("alias", ["Suggest a break when it stays angry",
                                   "Tell me when serd is gone"])  # fmt: skip
def test_the_actions_of_delayed_automations(
    home: HomeAssistant, automation: dict[str, str], phone: Path, alias: str
) -> None:
    entity = automation[alias]
    home.act("automation.trigger", entity_id=entity, skip_condition=True)
    home.wait("it to have run", lambda: home.attribute(entity, "last_triggered"))
    home.wait("it to have ended", lambda: home.attribute(entity, "current") == 0)
    if "angry" in alias:
        notices = home.command("persistent_notification/get")
        assert any("Tea?" in notice["message"] for notice in notices)
    else:
        home.wait("the message", lambda: "been away for ten minutes" in phone.read_text())


def test_a_restart_of_home_assistant_triggers_nothing(
    home: HomeAssistant, node: StandIn, phone: Path
) -> None:
    before = phone.read_text()
    node.event("fearful", 0.99)
    home.restart()
    home.wait_available("event.serd_living_room_emotion")
    assert home.attribute("event.serd_living_room_emotion", "confidence") == 0.99
    home.wait_value("sensor.serd_living_room_version", "1.2.3")
    assert phone.read_text() == before
