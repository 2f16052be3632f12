"""The AsyncAPI document is up to date, well-formed, and matches what a real daemon publishes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serd.audio import SAMPLE
from serd.events.event import Event
from serd.events.payload import fields
from serd.events.state import RoomState
from serd.events.telemetry import Telemetry
from tests.broker import Recorder, mosquitto
from tests.system.node import Node
from tools.docs.asyncapi import document, text
from tools.docs.tables import PAGES, written

ROOT = Path(__file__).parents[2]
DOCUMENT = document()


def test_the_committed_document_is_up_to_date() -> None:
    assert (ROOT / "docs" / "asyncapi.yaml").read_text() == text(), "run `make docs`"
    assert yaml.safe_load(text()) == DOCUMENT


def references(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        found = [tree["$ref"]] if isinstance(tree.get("$ref"), str) else []
        return found + [ref for value in tree.values() for ref in references(value)]
    return [ref for item in tree for ref in references(item)] if isinstance(tree, list) else []


def resolve(reference: str) -> Any:
    node: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node


def test_every_reference_resolves() -> None:
    found = references(DOCUMENT)
    assert len(found) > 20
    for reference in found:
        assert resolve(reference), reference


def test_addresses_and_parameters_match() -> None:
    for channel in DOCUMENT["channels"].values():
        named = {part[1:-1] for part in channel["address"].replace("_", "/").split("/")
                 if part.startswith("{")}  # fmt: skip
        assert named == set(channel["parameters"])


def test_every_payload_schema_is_valid() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)  # AsyncAPI's schema objects are draft 7


@pytest.mark.skipif(
    not (ROOT / ".cache" / "asyncapi" / "node_modules").is_dir() or shutil.which("node") is None,
    reason="AsyncAPI's parser is not installed (make check-asyncapi)",
)
def test_asyncapis_parser_accepts_it_and_rejects_a_wrong_one(tmp_path: Path) -> None:
    def run_parser(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["node", "tests/mqtt/asyncapi_check.cjs", str(path)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
            env={"NODE_PATH": ".cache/asyncapi/node_modules", "PATH": "/usr/local/bin:/usr/bin"},
        )  # fmt: skip

    done = run_parser(ROOT / "docs" / "asyncapi.yaml")
    assert (done.returncode, done.stdout[:6]) == (0, "valid:"), done.stdout + done.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text().replace("action: receive", "action: wait"))
    assert run_parser(wrong).returncode == 1


@pytest.mark.broker
@pytest.mark.slow
def test_a_real_daemon_publishes_what_the_document_describes(
    tmp_path: Path, home_model_path: Path
) -> None:
    with mosquitto(tmp_path) as broker:
        with (
            Recorder(broker.port) as recorder,
            Node(
                *(tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast", "--keep"),
                *("--set", f"model.path={home_model_path}"),
            ) as node,
        ):
            assert node.wait() == 0, node.log
            recorder.wait_for("serd/test-room/status", b"offline")
            live = list(recorder.messages)
        with Recorder(broker.port) as late:
            late.wait(lambda: late.last("serd/test-room/telemetry") is not None)
            late.publish("end", b"")
            late.wait(lambda: late.last("end") is not None)
            retained = {message.topic for message in late.messages if message.retained}

    filled = {"base": "serd", "node": "test-room", "prefix": "homeassistant"}
    for operation in DOCUMENT["operations"].values():
        if operation["action"] != "send" or operation["channel"]["$ref"].endswith("correctResult"):
            continue  # the latter: no correction is sent here
        channel = resolve(operation["channel"]["$ref"])
        topic = channel["address"].format(**filled)
        (message,) = (resolve(ref["$ref"]) for ref in channel["messages"].values())
        payload = message["payload"]
        schema = resolve(payload["$ref"]) if "$ref" in payload else payload
        received = [one for one in live if one.topic == topic]
        assert received, topic
        binding = operation["bindings"]["mqtt"]
        assert {one.qos for one in received} == {binding["qos"]}, topic
        assert (topic in retained) is binding["retain"], topic
        for one in received:
            plain = message.get("contentType") == "text/plain"
            value: Any = one.payload.decode() if plain else json.loads(one.payload)
            jsonschema.validate(value, schema, jsonschema.Draft7Validator)
            if not plain and "properties" in schema:
                assert value.keys() <= schema["properties"].keys(), topic
    assert {one.topic for one in live} <= {
        channel["address"].format(**filled) for channel in DOCUMENT["channels"].values()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_generated_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text()
    assert "begin (written by `make docs`)" in text
    assert written(text) == text, "run `make docs`"


def test_every_field_is_documented() -> None:
    page = (ROOT / "docs" / "mqtt.md").read_text()
    for kind in (Event, RoomState, Telemetry):
        for field in fields(kind):
            assert f"| `{field.name}` |" in page
            assert field.description.endswith("."), field.name
