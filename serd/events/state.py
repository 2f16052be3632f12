"""What a room's retained ``state`` topic says: the latest event, the mood, and the switches."""

from __future__ import annotations

from typing import Final

import msgspec

REPEAT_S: Final = 30.0
"""The state is told anew at least this often: in silence, too, the mood changes, for it fades."""


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


def encode_state(state: RoomState) -> bytes:
    """Write a state as JSON, UTF-8, on one line."""
    return msgspec.json.encode(state)


def decode_state(payload: bytes | str) -> RoomState:
    """Read a state; unknown fields are ignored.

    Raises:
        ValueError: If it is not a state; the text says why.
    """
    try:
        return msgspec.json.decode(payload, type=RoomState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a room state: {error}") from error
