"""All nodes as they are now, made of the messages that came. One thread only, the event loop's.

What comes over MQTT is written by others: names are checked by the topic's syntax, texts are cut
to a length, figures to those that telemetry has, and nodes to a number.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

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

ROOMS_MAX: Final = 2000
"""Nodes that are kept; what comes of further ones is counted and dropped."""

TEXT_MAX: Final = 200
"""Characters kept of a text."""

_ID_MAX: Final = 64
_FIGURES: Final = frozenset(Telemetry.__struct_fields__)


class Room:
    """One node."""

    __slots__ = ("event", "missed", "muted", "name", "online", "seen_ms", "sensitivity",
                 "speech", "state", "telemetry")  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.online: bool | None = None
        """None until it has said so."""
        self.speech = False
        self.muted: bool | None = None
        self.sensitivity: str | None = None
        """None of a node that takes none."""
        self.state: RoomState | None = None
        self.event: Event | None = None
        """The one with the highest ``seq``."""
        self.telemetry: dict[str, Any] | None = None
        self.missed = 0
        """Events missing between those that came: gaps of ``seq``."""
        self.seen_ms = 0
        """When something came last, milliseconds since 1970."""

    @property
    def microphone(self) -> Microphone:
        """How its microphone is, as every front end says it."""
        condition = (self.telemetry or {}).get("condition")
        said = condition if isinstance(condition, str) else None
        return microphone(self.online, self.state, said, muted=self.muted)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        state = self.state
        # Events are not retained: until one comes, the state tells what the latest said.
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


class Rooms:
    """The nodes by name.

    Args:
        now_ms: Milliseconds since 1970.
    """

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._rooms: dict[str, Room] = {}
        self.ignored = 0
        """Messages that were dropped: of too many nodes, or unusable."""

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def get(self, name: str) -> Room | None:
        """The node of that name."""
        return self._rooms.get(name)

    def clear(self, message: ClearedMessage) -> bool:
        """Take that something retained is gone; whether the node is forgotten with it."""
        return message.kind == "status" and self._rooms.pop(message.node, None) is not None

    def take(self, message: Message) -> tuple[Room, Event | None] | None:
        """Take a message.

        Returns:
            The node that it changed, and the event if it was one; None if it was dropped.
        """
        if isinstance(message, ClearedMessage):
            return None
        event = _own(message) if isinstance(message, EventMessage) else None
        room = self._rooms.get(message.node)
        unusable = isinstance(message, EventMessage) and event is None
        if unusable or (room is None and len(self._rooms) >= ROOMS_MAX):
            self.ignored += 1
            return None
        if room is None:
            room = self._rooms[message.node] = Room(message.node)
        room.seen_ms = self._now_ms()
        _note(room, message, event)
        return room, event


def _note(room: Room, message: Message, event: Event | None) -> None:
    """Let a room be as a message says."""
    match message:
        case StatusMessage():
            room.online = message.online
        case SpeechMessage():
            room.speech = message.on
        case MuteMessage():
            room.muted = message.on
        case SensitivityMessage():
            room.sensitivity = message.sensitivity
        case StateMessage():
            room.state = _own_state(message.state)
        case TelemetryMessage():
            room.telemetry = _own_figures(message.figures)
        case EventMessage():
            _count(room, event)


def _count(room: Room, event: Event | None) -> None:
    if event is None:
        return
    before = room.event
    if before is not None and event.seq > before.seq + 1:
        room.missed += event.seq - before.seq - 1
    if before is None or event.seq >= before.seq or event.ended_at >= before.ended_at:
        room.event = event


def _own(message: EventMessage) -> Event | None:
    """The event under the name of the topic, which the broker's access rules vouch for."""
    event = message.event
    if len(event.id) > _ID_MAX:
        return None
    model = event.model
    return replace(
        event,
        node=message.node,
        model=replace(model, name=model.name[:TEXT_MAX], version=model.version[:TEXT_MAX]),
    )


def _own_state(state: RoomState) -> RoomState:
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


def _own_figures(figures: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for name in _FIGURES & figures.keys():
        value = figures[name]
        if isinstance(value, str):
            own[name] = value[:TEXT_MAX]
        elif value is None or isinstance(value, int | float):
            own[name] = value
    return own
