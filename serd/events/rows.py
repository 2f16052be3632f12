"""How an event is stored in the journal: one column per field, by name.

The columns derive from the fields of `Event`, so a new field gets its column by itself: a fresh
journal is created with it, and one that exists gets it when it is opened for writing
(:func:`missing_columns`). Older rows then have no value there, and an older version of serd ignores
the column. Numbers are integers in units of their last decimal; a row takes about 80 bytes, and
about 105 with a model calibrated for homes.
"""

from __future__ import annotations

import struct
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from serd.events.clock import parse_rfc3339, rfc3339
from serd.events.event import SCORE_UNITS, Event, ModelRef, Single
from serd.events.payload import Definition, Field, GreatestOf, Number, fields
from serd.model.emotions import EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

SEQ_BITS: Final = 40
"""How many low bits of an event's key are its ``seq``; the bits above are its node's row."""

Row = tuple[Any, ...]

_LABELS: Final = (*EMOTIONS, UNCERTAIN)
_CODES: Final = {label: code for code, label in enumerate(_LABELS)}
_SCORES: Final = struct.Struct(f"<{len(EMOTIONS)}H")


def key(node: int, seq: int) -> int:
    """The key of an event: node by node, in the order of ``seq``."""
    return node << SEQ_BITS | seq


def split_key(key: int) -> tuple[int, int]:
    """The node's row and the ``seq`` of a key."""
    return key >> SEQ_BITS, key & (1 << SEQ_BITS) - 1


def emotion_code(label: str) -> int:
    """The number that stands for an emotion, or for ``uncertain``, in the journal.

    Raises:
        KeyError: If it is neither.
    """
    return _CODES[label]


def emotion_label(code: int) -> str:
    """The emotion, or ``uncertain``, of a number that :func:`emotion_code` gave."""
    return _LABELS[code]


def pack_scores(scores: Mapping[str, float]) -> bytes:
    """The scores of an event, 16 bytes."""
    return _SCORES.pack(*(round(scores[name] * SCORE_UNITS) for name in EMOTIONS))


def unpack_scores(packed: bytes) -> dict[str, float]:
    """Scores that :func:`pack_scores` wrote."""
    units = _SCORES.unpack(packed)
    return {name: n / SCORE_UNITS for name, n in zip(EMOTIONS, units, strict=True)}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column that holds one field."""

    name: str
    sql: str
    """Type and constraint."""
    comment: str
    """What the value means, for whoever reads the table."""
    read: Callable[[Event], Any]
    """Gets the field of an event; ``None`` or `UNSET`: it has none."""
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


_EMOTION: Final = "index in EMOTIONS; one past the last: uncertain"
_OTHERWISE: Final = ("schema", "id", "node", "seq", "started_at", "ended_at", "model")
"""Fields that the identity of a row, its dates and its model hold; see :data:`TABLE`."""


def _columns() -> tuple[Column, ...]:
    found: list[Column] = []
    for field in fields(Event):
        if field.name in _OTHERWISE or field.get(GreatestOf) is not None:
            continue
        if Single in field.types:
            found += [
                _column(inner, prefix=field.name)
                for inner in fields(Single)
                if not inner.get(GreatestOf)
            ]
        else:
            found.append(_column(field))
    return tuple(found)


def _column(field: Field, *, prefix: str = "") -> Column:
    def read_part(event: Event) -> Any:
        holder = getattr(event, prefix)
        return UNSET if holder is UNSET else getattr(holder, field.name)

    kind, comment, pack, unpack = _storage(field)
    required = not (prefix or field.optional or NoneType in field.types)
    return Column(
        name=f"{prefix}_{field.name}" if prefix else field.name,
        sql=f"{kind} NOT NULL" if required else kind,
        comment=comment,
        read=read_part if prefix else attrgetter(field.name),
        pack=pack,
        unpack=unpack,
    )


def _storage(field: Field) -> tuple[str, str, Callable[[Any], Any], Callable[[Any], Any]]:
    """SQLite's type of a field, what the value means, and how it is packed and unpacked."""
    definition, number = field.get(Definition), field.get(Number)
    if definition and definition.name == "emotion":
        return "INTEGER", _EMOTION, emotion_code, emotion_label
    if definition and definition.name == "scores":
        return "BLOB", "8 x uint16, little-endian, 1/10000 each", pack_scores, unpack_scores
    if number:
        units = 10**number.decimals
        about = f"1/{units} {number.unit}".rstrip()
        return "INTEGER", about, lambda value: round(value * units), lambda n: n / units
    if field.types[0] in {int, bool}:
        return "INTEGER", "", int, field.types[0]
    if field.types[0] is str:
        return "TEXT", "", str, str
    raise TypeError(f"no column can hold the field {field.name}")


COLUMNS: Final = _columns()
"""Those of the table ``events`` that hold one field each, in the order of the fields."""

_SINGLES: Final = tuple(field.name for field in fields(Event) if Single in field.types)
"""Fields that consist of several columns."""


def _greatest() -> list[tuple[str, str]]:
    """Names of values that no column holds, and of the scores whose greatest they are."""
    found = [(field.name, field.get(GreatestOf)) for field in fields(Event)]
    found += [
        (f"{name}_{field.name}", GreatestOf(f"{name}_{greatest.field}"))
        for name in _SINGLES
        for field in fields(Single)
        if (greatest := field.get(GreatestOf))
    ]
    return [(name, greatest.field) for name, greatest in found if greatest]


_GREATEST: Final = _greatest()
_BY_NAME: Final = {column.name: column for column in COLUMNS}

TABLE: Final = (
    "CREATE TABLE events (\n"
    f"    key INTEGER PRIMARY KEY, -- node << {SEQ_BITS} | seq\n"
    "    id BLOB NOT NULL, -- UUIDv7, 16 bytes\n"
    "    started_ms INTEGER NOT NULL, -- since 1970, UTC\n"
    "    length_ms INTEGER NOT NULL, -- ended - started\n"
    "    model INTEGER NOT NULL, -- models.id\n"
    + "".join(
        f"    {one.name} {one.sql}," + (f" -- {one.comment}\n" if one.comment else "\n")
        for one in COLUMNS
    )
    + f"    node INTEGER GENERATED ALWAYS AS (key >> {SEQ_BITS}) VIRTUAL, -- nodes.id\n"
    f"    seq INTEGER GENERATED ALWAYS AS (key & {(1 << SEQ_BITS) - 1}) VIRTUAL\n"
    ") STRICT;\n"
)
"""SQL that creates the table of events."""

INSERT: Final = (
    "INSERT INTO events (key, id, started_ms, length_ms, model, "  # noqa: S608 - names of fields
    f"{', '.join(_BY_NAME)}) VALUES ({', '.join('?' * (5 + len(COLUMNS)))})"
)
"""Takes the tuple of :func:`to_row`."""

_SELECT: Final = (
    "n.name, e.seq, e.id, e.started_ms, e.length_ms, e.node, m.name, m.version, m.sha256"
)
_SELECTED: Final = 9
SEQ: Final = 1
"""Place of ``seq`` in the rows of :func:`select`."""
STARTED_MS: Final = 3
"""Place of the time at which the event started."""
NODE: Final = 5
"""Place of the node's row."""


def missing_columns(connection: sqlite3.Connection) -> list[Column]:
    """Columns that the table of a journal does not have, because an older version made it."""
    there = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('events')")}
    return [column for column in COLUMNS if column.name not in there]


def add_column(column: Column) -> str:
    """SQL that adds a column to the table of events."""
    return f"ALTER TABLE events ADD COLUMN {column.name} {column.sql}"


def select(connection: sqlite3.Connection) -> str:
    """SQL of the rows that :func:`to_event` takes; to be followed by a condition on ``e``."""
    missing = {column.name for column in missing_columns(connection)}
    held = ", ".join("NULL" if name in missing else f"e.{name}" for name in _BY_NAME)
    return (
        f"SELECT {_SELECT}, {held} FROM events e "  # noqa: S608 - names of fields
        "JOIN nodes n ON n.id = e.node JOIN models m ON m.id = e.model "
    )


def pack(name: str, value: Any) -> Any:
    """The value of a field as its column holds it."""
    return _BY_NAME[name].pack(value)


def unpack(name: str, value: Any) -> Any:
    """The reverse of :func:`pack`."""
    return _BY_NAME[name].unpack(value)


def to_row(event: Event, *, node: int, seq: int, model: int) -> Row:
    """Turn an event into parameters of :data:`INSERT`.

    Args:
        event: Rounded as :func:`serd.events.event.make` does.
        node: Row of the node in ``nodes``.
        seq: The number that the event gets.
        model: Row of the model in ``models``.
    """
    started = parse_rfc3339(event.started_at)
    values = [column.read(event) for column in COLUMNS]
    return (
        key(node, seq),
        UUID(event.id).bytes,
        started,
        parse_rfc3339(event.ended_at) - started,
        model,
        *(
            None if value is None or value is UNSET else column.pack(value)
            for column, value in zip(COLUMNS, values, strict=True)
        ),
    )


def to_event(row: Row) -> Event:
    """Turn a row of :func:`select` into the event it was made from, equal to the last bit."""
    node, seq, identifier, started, length, _, model, version, sha256 = row[:_SELECTED]
    held = {
        column.name: column.unpack(value)
        for column, value in zip(COLUMNS, row[_SELECTED:], strict=True)
        if value is not None
    }
    for name, scores in _GREATEST:
        if scores in held:
            held[name] = max(held[scores].values())
    for name in _SINGLES:
        parts = {part: held.pop(f"{name}_{part}", UNSET) for part in Single.__struct_fields__}
        if UNSET not in parts.values():
            held[name] = Single(**parts)
    return Event(
        id=str(UUID(bytes=identifier)),
        node=node,
        seq=seq,
        started_at=rfc3339(started),
        ended_at=rfc3339(started + length),
        model=ModelRef(name=model, version=version, sha256=sha256),
        **held,
    )
