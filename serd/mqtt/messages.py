"""What a node publishes, read again: for those who follow it."""

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
    """An utterance was heard and judged."""

    node: str
    event: Event


class StateMessage(msgspec.Struct, frozen=True, kw_only=True):
    """How a room is."""

    node: str
    state: RoomState


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A node has come or gone."""

    node: str
    online: bool


class SpeechMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody begins or ends to speak."""

    node: str
    on: bool


class MuteMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A microphone was closed or opened."""

    node: str
    on: bool


class SensitivityMessage(msgspec.Struct, frozen=True, kw_only=True):
    """How readily a node tells an emotion."""

    node: str
    sensitivity: Sensitivity


class TelemetryMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a node's health."""

    node: str
    figures: dict[str, Any]
    """Numbers, texts, true and false, null; whatever else came was left out."""


class ClearedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What was retained on a topic is gone: of the status, the node is to be forgotten."""

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
    """Read what came on a topic. Fields that this version does not know are ignored.

    Args:
        base: First levels of the topics.
        topic: Where it came.
        payload: What came.

    Returns:
        The message; None if the topic is none of a node's.

    Raises:
        ValueError: The payload is not what belongs on that topic; the text says why.
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
    # The broker's access rules guard topics: a node speaks for itself only.
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
