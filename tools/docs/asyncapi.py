"""What serd says and hears over MQTT, for machines: ``python -m tools.docs.asyncapi``.

An AsyncAPI 3.0 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0), made of
the schema of the event, the structs of the other payloads and the topics, so that it says what the
code does.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

import yaml

from serd.events.clock import RFC3339_PATTERN
from serd.events.event import event_schema
from serd.events.state import TOLD, RoomState
from serd.events.telemetry import Telemetry
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.model.home import SENSITIVITIES
from serd.mqtt.commands import CorrectResult
from serd.mqtt.discovery import discovery_topic
from serd.mqtt.topics import Topics
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

_HEAD: Final = "# Made of the code by `make docs`; changes here are overwritten.\n"
_NODE: Final = "NODE"
_BASE: Final = "BASE"
_PREFIX: Final = "PREFIX"

_CHANNELS: Final[Mapping[str, tuple[str, str, int, bool]]] = {
    "status": ("Whether the node is there; the last will says offline.", "Switch", 1, True),
    "emotion": ("One message for each utterance.", "Event", 1, False),
    "state": ("How the room is; every 30 s at least.", "RoomState", 1, True),
    "speech": ("Whether somebody is speaking.", "Switch", 0, True),
    "mute": ("Whether the microphone is closed.", "Switch", 1, True),
    "sensitivity": (
        "How readily emotions are told, if the model has sensitivities.",
        "Switch",
        1,
        True,
    ),
    "telemetry": ("How the daemon is; every 60 s.", "Telemetry", 0, True),
}
"""What a node sends: description, payload, quality of service, retained."""

_WORDS: Final = {
    "status": ("online", "offline"),
    "speech": ("ON", "OFF"),
    "mute": ("ON", "OFF"),
    "sensitivity": SENSITIVITIES,
}
"""Payloads that are one word."""


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
        "Closes or opens the microphone; ON or OFF in any case; all else is ignored and logged.",
        1,
        None,
    )
    operations["receiveSensitivitySet"] = _operation(
        "receive",
        "sensitivitySet",
        "Sets how readily emotions are told; any other word is ignored, with a warning.",
        1,
        None,
    )
    operations["receiveCorrect"] = _operation(
        "receive",
        "correct",
        "Takes what an utterance really was; each is answered on correct/result.",
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
            "description": "A daemon that tells how people sound. Nothing that is received can "
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
                "description": "The same with mqtt.tls; user name and password if wanted.",
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
        "sensitivitySet", "Command: how readily to tell emotions.", SENSITIVITIES
    )
    messages["correct"] = {
        "name": "correct",
        "summary": "Command: what an utterance really was, or that nothing is to be noted of it.",
        "payload": {"$ref": "#/components/schemas/Correct"},
    }
    messages["correctResult"] = {
        "name": "correctResult",
        "summary": "The answer to a correction, also to a refused one.",
        "payload": {"$ref": "#/components/schemas/CorrectResult"},
    }
    messages["discovery"] = {
        "name": "discovery",
        "summary": "Home Assistant's device-based discovery; empty: the device is removed.",
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
    event = event_schema()
    inlined = {key: value for key, value in event.items() if key not in {"$schema", "$id", "$defs"}}
    state = struct_schema(RoomState)
    emotions = state["properties"]
    emotions["emotion"]["enum"] = [*EMOTIONS, UNCERTAIN, None]
    emotions["mood"]["enum"] = [*EMOTIONS]
    emotions["microphone"]["enum"] = [*TOLD, None]
    emotions["corrected"]["enum"] = [*EMOTIONS, "not", None]
    emotions["updated_at"]["pattern"] = RFC3339_PATTERN
    return {
        "Event": _inline(inlined, event["$defs"]),
        "RoomState": state,
        "Telemetry": struct_schema(Telemetry),
        "Correct": {
            "title": "Correct",
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {
                    "description": "Of the event; or last: the latest of the node.",
                    "type": "string",
                },
                "emotion": {
                    "description": "What it really was; null: not what was told.",
                    "type": ["string", "null"],
                    "enum": [*EMOTIONS, None],
                },
                "forget": {
                    "description": "true: take back what was said of it; no emotion then.",
                    "type": "boolean",
                },
            },
        },
        "CorrectResult": struct_schema(CorrectResult),
    }


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Put definitions where they are referred to: beside a ``$ref``, AsyncAPI ignores the rest."""
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _inline(value, definitions) for key, value in schema.items() if key != "$ref"}
    if isinstance(reference := schema.get("$ref"), str):
        return {**inner, **_inline(definitions[reference.rpartition("/")[2]], definitions)}
    return inner


def struct_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON Schema of a payload, described by the docstrings of its fields.

    Args:
        kind: A struct of simple fields.

    Returns:
        The schema of an object that may have further fields: later versions may add some.
    """
    described = field_docs(kind)
    properties = {}
    for name, hint in get_type_hints(kind).items():
        properties[name] = {
            "description": described[name],
            "type": _json_types(hint),
        }
    about = inspect.getdoc(kind) or ""
    return {
        "title": kind.__name__,
        "description": " ".join(about.split()),
        "type": "object",
        "required": list(properties),
        "properties": properties,
    }


def _json_types(hint: Any) -> str | list[str]:
    names = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
    kinds = [names[member] for member in get_args(hint) or (hint,)]
    return kinds if len(kinds) > 1 else kinds[0]


def field_docs(kind: type) -> dict[str, str]:
    """The docstring below each field of a class, on one line; Python itself forgets them."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - for the type checker
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(below.value.value).replace("``", "`").split())
    return found


if __name__ == "__main__":
    sys.stdout.write(text())
