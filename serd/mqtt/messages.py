"""The messages of a node, decoded for followers."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from serd.config import Sensitivity  # noqa: TC001 - msgspec looks types up
from serd.events.event import TEXT_MAX, UNNUMBERED, Event, decode
from serd.events.state import RoomState, decode_state
from serd.mqtt.commands import parse_sensitivity, parse_switch
from serd.mqtt.topics import Kind, parse

_STATUS = {b"online": True, b"offline": False}
_FIGURES_MAX = 100
_NAME_MAX = 64
_NUMBER_MAX = 2**53


class EventMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An event."""

    node: str
    event: Event


class StateMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a room."""

    node: str
    state: RoomState


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A node went online or offline."""

    node: str
    online: bool


class SpeechMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Speech has begun or ended."""

    node: str
    on: bool


class MuteMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The microphone was muted or unmuted."""

    node: str
    on: bool


class SensitivityMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The sensitivity has changed."""

    node: str
    sensitivity: Sensitivity


class TelemetryMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Telemetry of a node."""

    node: str
    figures: dict[str, Any]
    """Numbers, strings, booleans and null; other values are left out."""


class ClearedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A retained message was removed; if it was the status, the node is gone for good."""

    node: str
    kind: Kind


Message: TypeAlias = (
    ClearedMessage
    | EventMessage
    | StateMessage
    | StatusMessage
    | SpeechMessage
    | MuteMessage
    | SensitivityMessage
    | TelemetryMessage
)


def decode_message(base: str, topic: str, payload: bytes) -> Message | None:
    """Decode a message. Unknown fields are ignored.

    Args:
        base: First levels of the topics.
        topic: The message's topic.
        payload: Its payload.

    Returns:
        The message; None if the topic is not one of a node's.

    Raises:
        ValueError: The payload does not belong on that topic; the text says why.
    """
    parsed = parse(base, topic)
    if parsed is None:
        return None
    node, kind = parsed
    if not payload:
        return ClearedMessage(node=node, kind=kind)
    return _decode(node, kind, payload)


def _decode(node: str, kind: Kind, payload: bytes) -> Message:
    message: Message
    match kind:
        case "emotion":
            message = EventMessage(node=node, event=_decode_event(node, payload))
        case "state":
            message = StateMessage(node=node, state=decode_state(payload))
        case "telemetry":
            message = TelemetryMessage(node=node, figures=_decode_figures(payload))
        case "status":
            online = _STATUS.get(payload)
            if online is None:
                raise ValueError("not a status: neither online nor offline")
            message = StatusMessage(node=node, online=online)
        case "sensitivity":
            sensitivity = parse_sensitivity(payload)
            if sensitivity is None:
                raise ValueError("not a sensitivity: none of low, normal and high")
            message = SensitivityMessage(node=node, sensitivity=sensitivity)
        case "speech" | "mute":
            on = parse_switch(payload)
            if on is None:
                raise ValueError("not a switch: neither ON nor OFF")
            kind_type = SpeechMessage if kind == "speech" else MuteMessage
            message = kind_type(node=node, on=on)
    return message


def _decode_event(node: str, payload: bytes) -> Event:
    event = decode(payload)
    # The broker's access rules protect topics, so a node may only speak for itself.
    if event.node != node:
        raise ValueError(f"not an event of {node}: it says that its node is another one")
    if event.seq == UNNUMBERED:
        raise ValueError("not an event: it has no `seq`")
    return event


def _decode_figures(payload: bytes) -> dict[str, Any]:
    try:
        figures = msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a JSON object: {error}") from error
    kept: dict[str, Any] = {}
    for name, value in figures.items():
        if len(kept) < _FIGURES_MAX and len(name) <= _NAME_MAX:
            if isinstance(value, str):
                kept[name] = value[:TEXT_MAX]
            elif value is None or (isinstance(value, int | float) and abs(value) <= _NUMBER_MAX):
                kept[name] = value
    return kept
