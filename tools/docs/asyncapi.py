"""The MQTT interface, machine-readable: ``python -m tools.docs.asyncapi >docs/asyncapi.yaml``.

An AsyncAPI 3.0 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0), generated
from the payload structs and the topics.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import yaml

from serd.events.event import Event
from serd.events.state import RoomState
from serd.events.telemetry import Telemetry
from serd.model.emotions import EMOTIONS
from serd.model.metadata import SENSITIVITIES
from serd.mqtt.commands import TEXT_MAX, CorrectResult
from serd.mqtt.discovery import discovery_topic
from serd.mqtt.topics import Topics
from serd.version import VERSION
from tools.docs.json_schema import struct_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD: Final = "# Generated from the code by `make docs`; changes here are overwritten.\n"
_NODE: Final = "NODE"
_BASE: Final = "BASE"
_PREFIX: Final = "PREFIX"

_CHANNELS: Final[Mapping[str, tuple[str, str, int, bool]]] = {
    "status": ("Whether the node is online; its last will says offline.", "Switch", 1, True),
    "emotion": ("One message per utterance.", "Event", 1, False),
    "state": ("State of the room; at least every 30 s.", "RoomState", 1, True),
    "speech": ("Whether someone is speaking.", "Switch", 0, True),
    "mute": ("Whether the microphone is closed.", "Switch", 1, True),
    "sensitivity": (
        "How readily emotions are reported, if the model has sensitivities.",
        "Switch",
        1,
        True,
    ),
    "telemetry": ("Figures about the daemon; every `mqtt.telemetry_s`.", "Telemetry", 0, True),
}
"""What a node publishes: description, payload, QoS, retained."""

_WORDS: Final = {
    "status": ("online", "offline"),
    "speech": ("ON", "OFF"),
    "mute": ("ON", "OFF"),
    "sensitivity": SENSITIVITIES,
}
"""Payloads that consist of one word."""


def document() -> dict[str, Any]:
    """The AsyncAPI document, in plain types."""
    topics = Topics(_BASE, _NODE)
    channels = {name: _channel(getattr(topics, name), name) for name in _CHANNELS}
    channels["muteSet"] = _channel(topics.mute_set, "muteSet")
    channels["sensitivitySet"] = _channel(topics.sensitivity_set, "sensitivitySet")
    channels["correct"] = _channel(topics.correct, "correct")
    channels["correctResult"] = _channel(topics.correct_result, "correctResult")
    channels["discovery"] = _channel(discovery_topic(topics, _PREFIX), "discovery")
    operations = {
        f"send{name.capitalize()}": _operation("send", name, about, qos, retain)
        for name, (about, _, qos, retain) in _CHANNELS.items()
    }
    operations["sendDiscovery"] = _operation(
        "send", "discovery", "Announces the node to Home Assistant.", 1, True
    )
    operations["receiveMuteSet"] = _operation(
        "receive",
        "muteSet",
        "Closes or opens the microphone: ON or OFF, in any case; anything else is ignored and "
        "logged.",
        1,
        None,
    )
    operations["receiveSensitivitySet"] = _operation(
        "receive",
        "sensitivitySet",
        "Sets how readily emotions are reported; any other word is ignored and logged.",
        1,
        None,
    )
    operations["receiveCorrect"] = _operation(
        "receive",
        "correct",
        "Corrects the emotion of an utterance; each is answered on correct/result.",
        1,
        None,
    )
    operations["sendCorrectResult"] = _operation(
        "send", "correctResult", "Answers a correction.", 1, False
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "serd",
            "version": VERSION,
            "description": "A daemon that recognises emotion in speech. Nothing it receives can "
            "change a path, run a program or stop the daemon.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "localhost:1883",
                "protocol": "mqtt",
                "protocolVersion": "3.1.1",
                "description": "mqtt.host and mqtt.port of the configuration.",
            },
            "brokerWithTls": {
                "host": "broker.example:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "3.1.1",
                "description": "The same with mqtt.tls; user name and password are optional.",
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def text() -> str:
    """The document as YAML."""
    dumped: str = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=96)
    return _HEAD + dumped


def _channel(topic: str, name: str) -> dict[str, Any]:
    address = topic.replace(_BASE, "{base}").replace(_NODE, "{node}").replace(_PREFIX, "{prefix}")
    known = {
        "base": {"description": "mqtt.base_topic.", "default": "serd"},
        "node": {"description": "node: letters, digits, _ and -.", "examples": ["living-room"]},
        "prefix": {"description": "mqtt.discovery_prefix.", "default": "homeassistant"},
    }
    used = {key: value for key, value in known.items() if f"{{{key}}}" in address}
    return {
        "address": address,
        "parameters": used,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def _operation(
    action: str, name: str, summary: str, qos: int, retain: bool | None
) -> dict[str, Any]:
    binding: dict[str, Any] = {"qos": qos}
    if retain is not None:
        binding["retain"] = retain
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "bindings": {"mqtt": {**binding, "bindingVersion": "0.2.0"}},
    }


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for name, (about, payload, *_) in _CHANNELS.items():
        if name in _WORDS:
            messages[name] = _word(name, about, _WORDS[name])
        else:
            messages[name] = {
                "name": name,
                "summary": about,
                "payload": {"$ref": f"#/components/schemas/{payload}"},
            }
    messages["muteSet"] = _word("muteSet", "Command: close or open the microphone.", ("ON", "OFF"))
    messages["sensitivitySet"] = _word(
        "sensitivitySet", "Command: how readily to report emotions.", SENSITIVITIES
    )
    messages["correct"] = {
        "name": "correct",
        "summary": "Command: what an utterance really was, or that a correction is taken back.",
        "payload": {"$ref": "#/components/schemas/Correct"},
    }
    messages["correctResult"] = {
        "name": "correctResult",
        "summary": "The answer to a correction, whether accepted or refused.",
        "payload": {"$ref": "#/components/schemas/CorrectResult"},
    }
    messages["discovery"] = {
        "name": "discovery",
        "summary": "Home Assistant's device discovery; an empty message removes the device.",
        "payload": {"type": "object", "required": ["dev", "o", "avty", "cmps"]},
    }
    return messages


def _word(name: str, about: str, words: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": about,
        "contentType": "text/plain",
        "payload": {"type": "string", "enum": [*words]},
    }


def _schemas() -> dict[str, Any]:
    return {
        "Event": struct_schema(Event, nulls=False),
        "RoomState": struct_schema(RoomState),
        "Telemetry": struct_schema(Telemetry),
        "Correct": {
            "title": "Correct",
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {
                    "description": "The event's id, or `last` for the node's latest event.",
                    "type": "string",
                },
                "emotion": {
                    "description": "What it really was; null: not what serd said.",
                    "type": ["string", "null"],
                    "enum": [*EMOTIONS, None],
                },
                "forget": {
                    "description": "true: take back what was said about it; then no emotion.",
                    "type": "boolean",
                },
                "request": {
                    "description": "Of the sender's choice; comes back in the answer.",
                    "type": "string",
                    "maxLength": TEXT_MAX,
                },
            },
        },
        "CorrectResult": struct_schema(CorrectResult),
    }


if __name__ == "__main__":
    sys.stdout.write(text())
