"""Past events, read from the journal alongside the daemon that writes it; and events as CSV."""

from __future__ import annotations

import csv
import heapq
import io
import sqlite3
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import UNSET

from serd.events.database import explain, open_for_reading
from serd.events.event import Event
from serd.events.rows import SELECT, Row, emotion_code, key, to_event
from serd.model.emotions import EMOTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CHUNK: Final = 500


class History:
    """A journal opened for reading only; any process may, also while the daemon runs.

    Args:
        path: The journal's file.

    Raises:
        UnavailableError: If there is none, or it cannot be read.
        ConfigError: If it is not a journal that this version knows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_for_reading(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def nodes(self) -> list[str]:
        """Names of the nodes that have had events, sorted."""
        return [name for _, name in self._node_rows()]

    def meta(self, key: str) -> str | None:
        """A value that the daemon keeps beside the events, such as its mute switch."""
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
        """Past events, those of one node in the order of ``seq``, several nodes merged by time.

        Reads in chunks and holds no transaction in between, so a reader that dawdles (a pager)
        does not keep the daemon's log from being folded into the file.

        Args:
            since_ms: Only what began at or after it, milliseconds since 1970.
            until_ms: Only what began before it.
            node: Only this node.
            emotion: Only this emotion (or ``uncertain``).
            min_confidence: Only events at least this confident, 0..1.
            limit: At most this many.
            newest_first: From the latest back.

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
        sql = f"{SELECT} WHERE {' AND '.join(terms)} ORDER BY e.key {order} LIMIT :chunk"
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
        for row in heapq.merge(*streams, key=lambda row: row[3], reverse=newest_first):
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
            values[bound] = key(rows[-1][15], rows[-1][1])

    def _node_rows(self) -> list[Row]:
        return self._fetch("SELECT id, name FROM nodes ORDER BY name", {})

    def _fetch(self, sql: str, values: dict[str, object]) -> list[Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._path, reading=True) from error


_NESTED: Final = frozenset({"schema", "scores", "model", "utterance", "model_scores"})
_OPTIONAL: Final = ("gathered", "prior", "adapted", "model_emotion", "model_confidence")
"""Fields that not every event has."""


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """The head, and then a line for each event; each ends with a line feed."""
    row = io.StringIO()
    writer = csv.writer(row, lineterminator="\n")
    for cells in _rows(events):
        writer.writerow(cells)
        yield row.getvalue()
        row.seek(0)
        row.truncate()


def _rows(events: Iterable[Event]) -> Iterator[list[Any]]:
    fields = [name for name in Event.__struct_fields__ if name not in _NESTED]
    simple = [name for name in fields if name not in _OPTIONAL]
    models = ("name", "version", "sha256")
    head = [*simple, *EMOTIONS, *(f"model_{name}" for name in models)]
    # New columns come last, so that what reads the table by place goes on working.
    yield [*head, *_OPTIONAL, "utterance_emotion", "utterance_confidence"]
    for event in events:
        cells = [getattr(event, name) for name in simple]
        scores = [event.scores[name] for name in EMOTIONS]
        optional = [getattr(event, name) for name in _OPTIONAL]
        single = event.utterance
        optional += [UNSET, UNSET] if single is UNSET else [single.emotion, single.confidence]
        extra = [None if value is UNSET else value for value in optional]
        yield [*cells, *scores, *(getattr(event.model, name) for name in models), *extra]
