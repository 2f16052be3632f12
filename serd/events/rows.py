"""How an event lies in the journal: whole numbers in typed columns, about 80 bytes a row.

Fields that only some events have share a column of MessagePack, a map with keys of one letter; with
it a row has about 110 bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from serd.events.clock import parse_rfc3339, rfc3339
from serd.events.event import SCORE_UNITS, Event, ModelRef, single
from serd.model.emotions import EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

SEQ_BITS: Final = 40
"""How many low bits of an event's key are its ``seq``; the bits above are its node's row."""

INSERT: Final = (
    "INSERT INTO events (key, id, started_ms, length_ms, audio_ms, emotion, scores, "
    "valence, arousal, level, model, latency, extra) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
"""Takes the tuple of :func:`to_row`."""

SELECT: Final = (
    "SELECT n.name, e.seq, e.id, e.started_ms, e.length_ms, e.audio_ms, e.emotion, e.scores, "
    "e.valence, e.arousal, e.level, m.name, m.version, m.sha256, e.latency, e.node, e.extra "
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


def emotion_label(code: int) -> str:
    """The emotion, or ``uncertain``, of a number that :func:`emotion_code` gave."""
    return _LABELS[code]


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
        pack_scores(event.scores),
        round(event.valence * 1000),
        round(event.arousal * 1000),
        round(event.level_dbfs * 10),
        model,
        None if event.latency_ms is None else latency_units(event.latency_ms),
        _extra(event),
    )


def to_event(row: Row) -> Event:
    """Turn a row of :data:`SELECT` into the event it was made from, equal to the last bit."""
    (node, seq, identifier, started, length, audio, emotion, scores) = row[:8]
    (valence, arousal, level, model, version, sha256, latency) = row[8:15]
    told = single(_LABELS[emotion], _SCORES.unpack(scores))
    return Event(
        id=str(UUID(bytes=identifier)),
        node=node,
        seq=seq,
        started_at=rfc3339(started),
        ended_at=rfc3339(started + length),
        duration_s=audio / 1000,
        emotion=told.emotion,
        confidence=told.confidence,
        scores=told.scores,
        valence=valence / 1000,
        arousal=arousal / 1000,
        level_dbfs=level / 10,
        model=ModelRef(name=model, version=version, sha256=sha256),
        latency_ms=None if latency is None else latency / 10,
        **_read_extra(row[16]),
    )


def unpack_scores(packed: bytes) -> dict[str, float]:
    """Scores that :func:`pack_scores` wrote."""
    units = _SCORES.unpack(packed)
    return {name: n / SCORE_UNITS for name, n in zip(EMOTIONS, units, strict=True)}


def pack_scores(scores: Mapping[str, float]) -> bytes:
    """The scores of an event, 16 bytes."""
    return _SCORES.pack(*(round(scores[name] * SCORE_UNITS) for name in EMOTIONS))


def _extra(event: Event) -> bytes | None:
    """The fields that only some events have; None if this one has none."""
    extra: dict[str, Any] = {}
    if event.utterance is not UNSET:
        scores = pack_scores(event.utterance.scores)
        extra["u"] = (_CODES[event.utterance.emotion], scores)
    if event.gathered is not UNSET:
        extra["g"] = event.gathered
    if event.prior is not UNSET:
        extra["p"] = round(event.prior * SCORE_UNITS)
    if (
        event.adapted is not UNSET
        and event.model_emotion is not UNSET
        and event.model_scores is not UNSET
    ):
        own = (event.adapted, _CODES[event.model_emotion], pack_scores(event.model_scores))
        extra["a"] = own
    return msgspec.msgpack.encode(extra) if extra else None


def _read_extra(packed: bytes | None) -> dict[str, Any]:
    """The same as arguments of `Event`; what a later version added is passed over."""
    if packed is None:
        return {}
    extra = msgspec.msgpack.decode(packed)
    fields: dict[str, Any] = {}
    if "u" in extra:
        code, scores = extra["u"]
        fields["utterance"] = single(_LABELS[code], _SCORES.unpack(scores))
    if "g" in extra:
        fields["gathered"] = extra["g"]
    if "p" in extra:
        fields["prior"] = extra["p"] / SCORE_UNITS
    if "a" in extra:
        corrections, code, scores = extra["a"]
        own = single(_LABELS[code], _SCORES.unpack(scores))
        fields["adapted"] = corrections
        fields["model_emotion"] = own.emotion
        fields["model_confidence"] = own.confidence
        fields["model_scores"] = own.scores
    return fields
