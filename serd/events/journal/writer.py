"""The writing connection of the journal: its transactions, and each statement that changes it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from serd.events.event import Event, ModelRef
from serd.events.journal import rows
from serd.events.journal.file import WRITER_BUSY_S, explain, open_for_writing
from serd.events.journal.retention import NodeRun

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_SEQS: Final = "SELECT seq FROM events WHERE key > ? AND key < ? ORDER BY key"


class JournalWriter:
    """One connection, used by one thread at a time; the caller holds a lock.

    Args:
        path: The journal's file, which exists.

    Raises:
        UnavailableError: If it cannot be written.
        ConfigError: If it is not a journal, or one of a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = open_for_writing(path)
        self.connection.execute(f"PRAGMA busy_timeout={round(WRITER_BUSY_S * 1000)}")
        self.commits = 0
        """Transactions so far."""

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[None]:
        """All that is written inside it, or on any error nothing.

        Args:
            synced: Wait until it is on the disk. If not, it survives the end of the process, but
                a power cut only after the next synced transaction.

        Raises:
            UnavailableError: If SQLite could not write.
            ConfigError: If the file is damaged.
        """
        try:
            if not synced:
                self.connection.execute("PRAGMA synchronous=NORMAL")
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
            self.commits += 1
        except BaseException as error:
            with suppress(sqlite3.Error):
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise explain(error, self.path) from error
            raise
        finally:
            if not synced:
                with suppress(sqlite3.ProgrammingError):  # the journal was closed
                    self.connection.execute("PRAGMA synchronous=FULL")

    def load_runs(self) -> dict[str, NodeRun]:
        """What each node has in the journal, by name.

        Raises:
            UnavailableError: If it cannot be read.
            ConfigError: If the file is damaged.
        """
        runs: dict[str, NodeRun] = {}
        for row, name, acked in self._fetch("SELECT id, name, acked FROM nodes"):
            bounds = (rows.key(row, 0), rows.key(row + 1, 0))
            first = self._fetch(f"{_SEQS} ASC LIMIT 1", bounds)
            last = self._fetch(f"{_SEQS} DESC LIMIT 1", bounds)
            newest = max(last[0][0] if last else 0, acked)
            oldest = first[0][0] if first else newest + 1
            runs[name] = NodeRun(row=row, first=oldest, last=newest, acked=acked)
        return runs

    def load_models(self) -> dict[ModelRef, int]:
        """The row of each model that has made predictions; errors as of :meth:`load_runs`."""
        return {
            ModelRef(name=name, version=version, sha256=sha256): row
            for row, name, version, sha256 in self._fetch(
                "SELECT id, name, version, sha256 FROM models"
            )
        }

    def insert_node(self, name: str, *, floor: int = 0) -> NodeRun:
        """Add a node that has no event here; numbers up to ``floor`` are not to be used."""
        row = self.connection.execute(
            "INSERT INTO nodes (name, acked) VALUES (?, ?)", (name, floor)
        ).lastrowid
        return NodeRun(row=row or 0, first=floor + 1, last=floor, acked=floor)

    def insert_model(self, model: ModelRef) -> int:
        """Add a model; return its row."""
        cursor = self.connection.execute(
            "INSERT INTO models (name, version, sha256) VALUES (?, ?, ?)",
            (model.name, model.version, model.sha256),
        )
        return cursor.lastrowid or 0

    def insert_event(self, event: Event, *, run: NodeRun, seq: int, model: int) -> None:
        """Add an event under the given number."""
        self.connection.execute(rows.INSERT, rows.to_row(event, node=run.row, seq=seq, model=model))

    def latency_of(self, run: NodeRun, seq: int) -> float | None:
        """The latency that an event was stamped with, in ms.

        Raises:
            UnavailableError: If it cannot be read.
        """
        found = self._fetch("SELECT latency FROM events WHERE key = ?", (run.key(seq),))
        return None if not found or found[0][0] is None else found[0][0] / 10

    def date_of(self, run: NodeRun, seq: int) -> int | None:
        """When an event began, ms since 1970; None if it is not there; errors as above."""
        found = self._fetch("SELECT started_ms FROM events WHERE key = ?", (run.key(seq),))
        return int(found[0][0]) if found else None

    def stamp(self, run: NodeRun, seq: int, latency_ms: float) -> None:
        """Write an event's latency."""
        self.connection.execute(
            "UPDATE events SET latency = ? WHERE key = ?",
            (rows.latency_units(latency_ms), run.key(seq)),
        )

    def set_acked(self, runs: Collection[NodeRun]) -> None:
        """Write how far the broker has acknowledged each node's events."""
        self.connection.executemany(
            "UPDATE nodes SET acked = ?1 WHERE id = ?2 AND acked < ?1",
            [(run.acked, run.row) for run in runs],
        )

    def set_meta(self, key: str, value: str) -> None:
        """Write a value of the ``meta`` table."""
        self.connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value)
        )

    def _fetch(self, sql: str, values: tuple[int, ...] = ()) -> list[rows.Row]:
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path, reading=True) from error
