"""What users paste from docs/home-assistant.md works verbatim.

Whatever needs a Home Assistant is tested in ``test_automations.py``.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from serd.config.loading import load
from serd.mqtt.topics import Topics
from tests.homeassistant.guide import automations, blocks, cards
from tests.homeassistant.stand_in import StandIn

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

TOPICS = Topics("serd", "living-room")


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    (text,) = [b for b in blocks("yaml") if b.startswith("node:")]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    config = load(file, env={}, overrides=()).config
    assert (config.node, config.mqtt.host) == ("living-room", "homeassistant.local")


def test_every_block_is_of_a_known_kind() -> None:
    assert len(automations()) >= 6
    assert len(cards()) >= 2
    loaded = [yaml.safe_load(block) for block in blocks("yaml")]
    assert sum(isinstance(block, dict) for block in loaded) == len(cards()) + 1


def test_the_node_red_flow_is_connected() -> None:
    (text,) = blocks("json")
    flow = {node["id"]: node for node in json.loads(text)}
    for node in flow.values():
        for port in node.get("wires", []):
            assert set(port) <= flow.keys()
        if "broker" in node and node["type"] != "mqtt-broker":
            assert flow[node["broker"]]["type"] == "mqtt-broker"
        if "z" in node:
            assert flow[node["z"]]["type"] == "tab"
    assert flow["serd-in"]["topic"] == TOPICS.emotion
    assert flow["serd-mute"]["topic"] == TOPICS.mute_set


@pytest.mark.parametrize(
    ("emotion", "confidence", "age_s", "passes"),
    [
        ("fearful", 0.9, 1, True),
        ("fearful", 0.5, 1, False),
        ("happy", 0.9, 1, False),
        ("fearful", 0.9, 600, False),
    ],
)
def test_the_node_red_flow_filters_events(
    emotion: str, confidence: float, age_s: int, passes: bool
) -> None:
    node_js = shutil.which("node")
    if node_js is None:
        pytest.skip("needs node to run the function of the flow")
    (text,) = blocks("json")
    flow = {node["id"]: node for node in json.loads(text)}
    code = (
        f"const ended = new Date(Date.now() - {age_s * 1000}).toISOString();"
        f"const msg = {{payload: {{emotion: '{emotion}', confidence: {confidence}, "
        "ended_at: ended}};"
        f"const answer = (function (msg) {{ {flow['serd-afraid']['func']} }})(msg);"
        "console.log(answer !== null);"
    )
    done = subprocess.run(
        [node_js, "-e", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(passes).lower()


@pytest.mark.broker
def test_the_mosquitto_commands_work(broker: Mosquitto, recorder: Recorder) -> None:
    if shutil.which("mosquitto_sub") is None or shutil.which("jq") is None:
        pytest.skip("needs mosquitto_sub and jq")
    stand_in = StandIn(recorder, "living-room")
    stand_in.state(mood="calm")
    block = next(b for b in blocks("sh") if "mosquitto_sub" in b)
    options = f"-h 127.0.0.1 -p {broker.port}"
    events, state, mute = block.replace("-h homeassistant.local", options).splitlines()

    done = subprocess.run(state, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "calm\n"
    subprocess.run(mute, shell=True, check=True)
    recorder.wait_for(TOPICS.mute_set, b"ON")
    once = events.replace("mosquitto_sub", "mosquitto_sub -C 1")
    with subprocess.Popen(once, shell=True, stdout=subprocess.PIPE, text=True) as subscriber:
        while subscriber.poll() is None:  # events before the subscription are missed
            stand_in.event("happy", 0.75)
            time.sleep(0.05)
        out, _ = subscriber.communicate()
    assert out == "living-room\thappy\t0.75\n"


def test_the_serd_commands_exist() -> None:
    import click

    from serd.cli.main import cli

    text = "\n".join(blocks("sh"))
    named = [shlex.split(line)[1] for line in text.splitlines() if line.startswith("serd ")]
    assert named
    assert set(named) <= set(cli.list_commands(click.Context(cli)))
