"""The current state of every node, built from MQTT messages. Not thread-safe.

Messages are written by others, so everything kept is limited: names by the syntax of topics, texts
in length, figures to those of telemetry, and nodes in number.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from serd.events.payload import fields
from serd.events.state import microphone
from serd.events.telemetry import Telemetry
from serd.mqtt.messages import (
    ClearedMessage,
    EventMessage,
    Message,
    MuteMessage,
    SensitivityMessage,
    SpeechMessage,
    StateMessage,
    StatusMessage,
    TelemetryMessage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serd.events.event import Event
    from serd.events.state import Microphone, RoomState

NODES_MAX: Final = 2000
"""Nodes that are kept; messages of further ones are counted and dropped."""

TEXT_MAX: Final = 200
"""Characters kept of any text."""

_ID_MAX: Final = 64
_TEXTS: Final = frozenset(field.name for field in fields(Telemetry) if str in field.types)
_NUMBERS: Final = frozenset(
    field.name for field in fields(Telemetry) if {int, float} & set(field.types)
)


class KnownNode:
    """What is known of one node."""

    __slots__ = ("event", "missed", "muted", "name", "online", "seen_ms", "sensitivity",
                 "speech", "state", "telemetry")  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.online: bool | None = None
        """None until its status arrives."""
        self.speech = False
        self.muted: bool | None = None
        self.sensitivity: str | None = None
        """None if the node has no such setting."""
        self.state: RoomState | None = None
        self.event: Event | None = None
        """The one with the highest ``seq``."""
        self.telemetry: dict[str, Any] | None = None
        self.missed = 0
        """Events that never arrived: gaps in ``seq``."""
        self.seen_ms = 0
        """When the last message arrived, milliseconds since 1970."""

    @property
    def microphone(self) -> Microphone:
        """The state of its microphone, as every front end shows it."""
        condition = (self.telemetry or {}).get("condition")
        reported = condition if isinstance(condition, str) else None
        return microphone(self.online, self.state, reported, muted=self.muted)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        state = self.state
        # Events are not retained: until one arrives, the retained state has the latest emotion.
        latest = self.event or state
        return {
            "name": self.name,
            "online": self.online,
            "speech": self.speech and self.online is not False,
            "muted": self.muted,
            "sensitivity": self.sensitivity,
            "microphone": self.microphone,
            "event_id": None if state is None else state.event_id,
            "corrected": None if state is None else state.corrected,
            "title": None if state is None else state.name,
            "emotion": None if latest is None else latest.emotion,
            "confidence": None if latest is None else latest.confidence,
            "mood": None if state is None else state.mood,
            "mood_valence": None if state is None else state.mood_valence,
            "mood_arousal": None if state is None else state.mood_arousal,
            "updated_at": None if state is None else state.updated_at,
            "event": self.event,
            "telemetry": self.telemetry,
            "missed": self.missed,
            "seen_ms": self.seen_ms,
        }


class KnownNodes:
    """The nodes by name.

    Args:
        now_ms: Milliseconds since 1970.
    """

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._nodes: dict[str, KnownNode] = {}
        self.ignored = 0
        """Messages dropped: invalid, or of nodes beyond the limit."""

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[KnownNode]:
        return iter(self._nodes.values())

    def get(self, name: str) -> KnownNode | None:
        """The node of that name."""
        return self._nodes.get(name)

    def clear(self, message: ClearedMessage) -> bool:
        """Handle a cleared topic; True if the node is forgotten with it."""
        return message.kind == "status" and self._nodes.pop(message.node, None) is not None

    def update(self, message: Message) -> tuple[KnownNode, Event | None] | None:
        """Apply a message.

        Returns:
            The node it changed, and the event if it was one; None if the message was dropped.
        """
        if isinstance(message, ClearedMessage):
            return None
        event = _limited_event(message) if isinstance(message, EventMessage) else None
        node = self._nodes.get(message.node)
        invalid = isinstance(message, EventMessage) and event is None
        if invalid or (node is None and len(self._nodes) >= NODES_MAX):
            self.ignored += 1
            return None
        if node is None:
            node = self._nodes[message.node] = KnownNode(message.node)
        node.seen_ms = self._now_ms()
        _apply(node, message, event)
        return node, event


def _apply(node: KnownNode, message: Message, event: Event | None) -> None:
    """Apply a message to its node."""
    match message:
        case StatusMessage():
            node.online = message.online
        case SpeechMessage():
            node.speech = message.on
        case MuteMessage():
            node.muted = message.on
        case SensitivityMessage():
            node.sensitivity = message.sensitivity
        case StateMessage():
            node.state = _limited_state(message.state)
        case TelemetryMessage():
            node.telemetry = _limited_figures(message.figures)
        case EventMessage():
            _add_event(node, event)


def _add_event(node: KnownNode, event: Event | None) -> None:
    if event is None:
        return
    before = node.event
    if before is not None and event.seq > before.seq + 1:
        node.missed += event.seq - before.seq - 1
    if before is None or event.seq >= before.seq or event.ended_at >= before.ended_at:
        node.event = event


def _limited_event(message: EventMessage) -> Event | None:
    """The event with its node's name from the topic, which the broker's access rules protect."""
    event = message.event
    if len(event.id) > _ID_MAX:
        return None
    model = event.model
    return replace(
        event,
        node=message.node,
        model=replace(model, name=model.name[:TEXT_MAX], version=model.version[:TEXT_MAX]),
    )


def _limited_state(state: RoomState) -> RoomState:
    return replace(
        state,
        emotion=None if state.emotion is None else state.emotion[:TEXT_MAX],
        mood=state.mood[:TEXT_MAX],
        mood_valence=max(-1.0, min(1.0, state.mood_valence)),
        mood_arousal=max(-1.0, min(1.0, state.mood_arousal)),
        updated_at=state.updated_at[:TEXT_MAX],
        microphone=None if state.microphone is None else state.microphone[:TEXT_MAX],
        name=None if state.name is None else state.name[:TEXT_MAX],
        event_id=None if state.event_id is None else state.event_id[:_ID_MAX],
        corrected=None if state.corrected is None else state.corrected[:TEXT_MAX],
    )


def _limited_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """The known ones that are of the right type, which the page relies on."""
    limited: dict[str, Any] = {}
    for name, value in figures.items():
        if name in _TEXTS and isinstance(value, str):
            limited[name] = value[:TEXT_MAX]
        elif name in _NUMBERS and isinstance(value, int | float) and not isinstance(value, bool):
            limited[name] = value
        elif name in _TEXTS | _NUMBERS and value is None:
            limited[name] = None
    return limited
