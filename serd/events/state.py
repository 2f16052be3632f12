"""What a room's retained ``state`` topic says: the latest event, the mood, and the switches."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from serd.events.clock import check_moment
from serd.model.emotions import EMOTIONS, UNCERTAIN

REPEAT_S: Final = 30.0
"""The state is told anew at least this often: in silence, too, the mood changes, for it fades."""

Microphone: TypeAlias = Literal["open", "muted", "quiet", "missing", "offline", "unknown"]
"""How a room's microphone is: open; closed because somebody muted it; closed in quiet hours; wanted
but not there; the node is offline; nothing has been heard of it. Every front end shows one of
these, from :func:`microphone`."""

TOLD: Final = ("open", "muted", "quiet", "missing")
"""Those that a node says of itself, in its state."""

_BY_CONDITION: Final[dict[str, Microphone]] = {
    "listening": "open", "muted": "muted", "quiet": "quiet", "waiting": "missing",
}  # fmt: skip
"""What the telemetry's ``condition`` means for the microphone."""


class RoomState(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the ``state`` topic, in the order of the JSON text."""

    emotion: str | None
    """Of the latest event; ``None`` (JSON ``null``) until there was one."""
    confidence: float | None
    """Likewise, 4 decimals."""
    mood: str
    """One of ``EMOTIONS``: what the room has sounded like lately."""
    mood_valence: float
    """-1 .. 1, 3 decimals."""
    mood_arousal: float
    """-1 .. 1, 3 decimals."""
    speech: bool
    """Whether someone is speaking now."""
    muted: bool
    """Whether the microphone is closed."""
    updated_at: str
    """When this was said, RFC 3339 UTC with milliseconds."""
    microphone: str | None = None
    """open, muted, quiet (hours) or missing; ``None`` before it is known and after the end."""
    name: str | None = None
    """What people call the room (the key ``name``); ``None`` if it has no such name."""
    event_id: str | None = None
    """Of the latest event; null until there was one since the start."""
    corrected: str | None = None
    """What people said since that it really was: an emotion, or ``not``; null: nothing."""


def microphone_in(condition: str | None) -> Microphone | None:
    """What a pipeline's condition, as in the telemetry, means for the microphone."""
    return _BY_CONDITION.get(condition or "")


def microphone(
    online: bool | None,
    state: RoomState | None,
    condition: str | None = None,
    *,
    muted: bool | None = None,
) -> Microphone:
    """How a node's microphone is, from what the node has said.

    Args:
        online: What its status says; None if that was never heard.
        state: Its latest state, if there is one.
        condition: Of its latest telemetry: nodes before this version say nothing in their state.
        muted: What its mute switch says, for the same reason.
    """
    if online is False:
        return "offline"
    if online is None:
        return "unknown"
    for said in TOLD:
        if state is not None and state.microphone == said:
            return said
    return "muted" if muted else microphone_in(condition) or "unknown"


def encode_state(state: RoomState) -> bytes:
    """Write a state as JSON, UTF-8, on one line."""
    return msgspec.json.encode(state)


def decode_state(payload: bytes | str) -> RoomState:
    """Read a state; unknown fields are ignored.

    Raises:
        ValueError: If it is not a state; the text says why.
    """
    try:
        state = msgspec.json.decode(payload, type=RoomState)
        check_moment(state.updated_at)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a room state: {error}") from error
    if state.emotion not in {None, UNCERTAIN, *EMOTIONS} or state.mood not in EMOTIONS:
        raise ValueError("not a room state: unknown emotion")
    confidence = 0.0 if state.confidence is None else state.confidence
    if not (0 <= confidence <= 1 and abs(state.mood_valence) <= 1 and abs(state.mood_arousal) <= 1):
        raise ValueError("not a room state: a figure is out of its range")
    return state
