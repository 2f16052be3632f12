"""Past events, read from the journal alongside the daemon that writes it; and events as CSV."""

from __future__ import annotations

import csv
import heapq
import io
import sqlite3
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import UNSET

from serd.events.database import explain, open_for_reading
from serd.events.event import Event, ModelRef, Single
from serd.events.payload import Definition, Field, fields
from serd.events.rows import NODE, SEQ, STARTED_MS, Row, emotion_code, key, select, to_event
from serd.model.emotions import EMOTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CHUNK: Final = 500


class History:
    """A journal opened read-only, which any process may do, also while the daemon runs.

    Args:
        path: The journal's file.

    Raises:
        UnavailableError: If there is no journal, or it cannot be read.
        ConfigError: If it is not a journal that this version knows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_for_reading(path)
        self._select = select(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def nodes(self) -> list[str]:
        """Names of the nodes that have events, sorted."""
        return [name for _, name in self._node_rows()]

    def meta(self, key: str) -> str | None:
        """A value that the daemon stores with the events, such as its mute switch."""
        rows = self._fetch("SELECT value FROM meta WHERE key = :key", {"key": key})
        return str(rows[0][0]) if rows else None

    def query(
        self,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        node: str | None = None,
        emotion: str | None = None,
        min_confidence: float = 0.0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Event]:
        """Past events: those of one node in the order of ``seq``, several nodes merged by time.

        Reads in chunks without a transaction in between, so that a slow reader (a pager) does not
        prevent checkpoints of the daemon's write-ahead log.

        Args:
            since_ms: Only events that began at or after this time, milliseconds since 1970.
            until_ms: Only events that began before this time.
            node: Only this node.
            emotion: Only this emotion (or ``uncertain``).
            min_confidence: Only events with at least this confidence, 0..1.
            limit: At most this many events.
            newest_first: In reverse order.

        Raises:
            ValueError: If there is no such emotion.
            UnavailableError: If the journal can no longer be read.
        """
        terms = ["e.key > :above", "e.key < :below"]
        values: dict[str, object] = {"chunk": _CHUNK}
        if since_ms is not None:
            terms.append("e.started_ms >= :since")
            values["since"] = since_ms
        if until_ms is not None:
            terms.append("e.started_ms < :until")
            values["until"] = until_ms
        if emotion is not None:
            try:
                values["emotion"] = emotion_code(emotion)
            except KeyError:
                raise ValueError(f"there is no emotion {emotion!r}") from None
            terms.append("e.emotion = :emotion")
        order = "DESC" if newest_first else "ASC"
        sql = f"{self._select} WHERE {' AND '.join(terms)} ORDER BY e.key {order} LIMIT :chunk"
        streams = [
            self._stream(sql, {**values, "above": key(row, 0), "below": key(row + 1, 0)}, order)
            for row, name in self._node_rows()
            if node in (None, name)
        ]
        return self._merged(streams, min_confidence, limit, newest_first=newest_first)

    def _merged(
        self,
        streams: list[Iterator[Row]],
        min_confidence: float,
        limit: int | None,
        *,
        newest_first: bool,
    ) -> Iterator[Event]:
        left = limit
        for row in heapq.merge(*streams, key=lambda row: row[STARTED_MS], reverse=newest_first):
            if left == 0:
                return
            event = to_event(row)
            if event.confidence >= min_confidence:
                yield event
                left = None if left is None else left - 1

    def _stream(self, sql: str, values: dict[str, object], order: str) -> Iterator[Row]:
        bound = "below" if order == "DESC" else "above"
        while True:
            rows = self._fetch(sql, values)
            yield from rows
            if len(rows) < _CHUNK:
                return
            values[bound] = key(rows[-1][NODE], rows[-1][SEQ])

    def _node_rows(self) -> list[Row]:
        return self._fetch("SELECT id, name FROM nodes ORDER BY name", {})

    def _fetch(self, sql: str, values: dict[str, object]) -> list[Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._path, reading=True) from error


_ORDER: Final = (
    "gathered", "prior", "adapted", "model_emotion", "model_confidence", "utterance",
)  # fmt: skip
"""The order in which the optional columns have always stood; new ones follow, so that whatever
reads the table by position keeps working."""


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a formula."""


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """The header line, then one line per event, each with its line feed."""
    row = io.StringIO()
    writer = csv.writer(row, lineterminator="\n")
    for cells in _rows(events):
        writer.writerow(cells)
        yield row.getvalue()
        row.seek(0)
        row.truncate()


def _rows(events: Iterable[Event]) -> Iterator[list[Any]]:
    paths = _csv_columns()
    yield [path[-1] if path[0] == "scores" else "_".join(path) for path in paths]
    for event in events:
        yield [_cell(event, path) for path in paths]


def _csv_columns() -> list[tuple[str, ...]]:
    """Where in an event each column is: the path of its names."""
    required = [field for field in fields(Event) if not field.optional and field.name != "schema"]
    plain = [(field.name,) for field in required if field.name not in {"scores", "model"}]
    scores = [("scores", name) for name in EMOTIONS]
    model = [("model", name) for name in ModelRef.__struct_fields__]
    optional = {field.name: field for field in fields(Event) if field.optional}
    rest: list[tuple[str, ...]] = []
    for name in [*_ORDER, *(name for name in optional if name not in _ORDER)]:
        field = optional[name]
        nested = fields(Single) if Single in field.types else [field]
        rest += [
            (name,) if one is field else (name, one.name) for one in nested if not _is_scores(one)
        ]
    return [*plain, *scores, *model, *rest]


def _is_scores(field: Field) -> bool:
    definition = field.get(Definition)
    return definition is not None and definition.name == "scores"


def _cell(event: Event, path: tuple[str, ...]) -> Any:
    value: Any = event
    for name in path:
        value = value[name] if isinstance(value, dict) else getattr(value, name, None)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"  # a spreadsheet would run it; others can write such a model name
    return None if value is UNSET else value
