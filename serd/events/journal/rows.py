"""How an event lies in the journal: whole numbers in typed columns, about 80 bytes a row."""

from __future__ import annotations

import struct
from typing import Any, Final
from uuid import UUID

from serd.events.clock import parse_rfc3339, rfc3339
from serd.events.event import SCORE_UNITS, Event, ModelRef
from serd.model.emotions import EMOTIONS, UNCERTAIN

SEQ_BITS: Final = 40
"""How many low bits of an event's key are its ``seq``; the bits above are its node's row."""

INSERT: Final = (
    "INSERT INTO events (key, id, started_ms, length_ms, audio_ms, emotion, scores, "
    "valence, arousal, level, model, latency) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
)
"""Takes the tuple of :func:`to_row`."""

SELECT: Final = (
    "SELECT n.name, e.seq, e.id, e.started_ms, e.length_ms, e.audio_ms, e.emotion, e.scores, "
    "e.valence, e.arousal, e.level, m.name, m.version, m.sha256, e.latency, e.node "
    "FROM events e JOIN nodes n ON n.id = e.node JOIN models m ON m.id = e.model "
)
"""Gives the rows that :func:`to_event` takes; to be followed by a condition on ``e``."""

Row = tuple[Any, ...]

_LABELS: Final = (*EMOTIONS, UNCERTAIN)
_CODES: Final = {label: code for code, label in enumerate(_LABELS)}
_SCORES: Final = struct.Struct(f"<{len(EMOTIONS)}H")


def key(node: int, seq: int) -> int:
    """The key of an event: node by node, in the order of ``seq``."""
    return node << SEQ_BITS | seq


def emotion_code(label: str) -> int:
    """The number that stands for an emotion, or for ``uncertain``, in the journal.

    Raises:
        KeyError: If it is neither.
    """
    return _CODES[label]


def latency_units(latency_ms: float) -> int:
    """A latency as the journal keeps it, in tenths of a millisecond."""
    return round(latency_ms * 10)


def to_row(event: Event, *, node: int, seq: int, model: int) -> Row:
    """Turn an event into parameters of :data:`INSERT`.

    Args:
        event: Rounded as :func:`serd.events.event.make` does.
        node: Row of the node in ``nodes``.
        seq: The number that the event gets.
        model: Row of the model in ``models``.
    """
    started = parse_rfc3339(event.started_at)
    return (
        key(node, seq),
        UUID(event.id).bytes,
        started,
        parse_rfc3339(event.ended_at) - started,
        round(event.duration_s * 1000),
        _CODES[event.emotion],
        _SCORES.pack(*(round(event.scores[name] * SCORE_UNITS) for name in EMOTIONS)),
        round(event.valence * 1000),
        round(event.arousal * 1000),
        round(event.level_dbfs * 10),
        model,
        None if event.latency_ms is None else latency_units(event.latency_ms),
    )


def to_event(row: Row) -> Event:
    """Turn a row of :data:`SELECT` into the event it was made from, equal to the last bit."""
    (node, seq, identifier, started, length, audio, emotion, scores) = row[:8]
    (valence, arousal, level, model, version, sha256, latency) = row[8:15]
    units = _SCORES.unpack(scores)
    return Event(
        id=str(UUID(bytes=identifier)),
        node=node,
        seq=seq,
        started_at=rfc3339(started),
        ended_at=rfc3339(started + length),
        duration_s=audio / 1000,
        emotion=_LABELS[emotion],
        confidence=max(units) / SCORE_UNITS,
        scores={name: n / SCORE_UNITS for name, n in zip(EMOTIONS, units, strict=True)},
        valence=valence / 1000,
        arousal=arousal / 1000,
        level_dbfs=level / 10,
        model=ModelRef(name=model, version=version, sha256=sha256),
        latency_ms=None if latency is None else latency / 10,
    )
