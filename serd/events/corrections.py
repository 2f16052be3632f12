"""People's corrections of emotions, stored in the journal's database until they are deleted.

A correction holds what learning needs of the utterance, the model's own scores, and no audio. It
has a table of its own, which pruning old events does not touch.

Any process that may write the journal may change corrections, also while the daemon runs: every
operation is one transaction on a connection of its own, and each change increments a number
(:data:`REVISION_KEY` among the journal's switches) by which the daemon notices it. A process that
is killed in the middle leaves the old state or the new one.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import msgspec

from serd.errors import SerdError
from serd.events import rows
from serd.events.clock import parse_rfc3339, rfc3339
from serd.events.database import explain, open_for_reading, open_for_writing
from serd.events.event import Event, ModelRef
from serd.model.adaptation import MOST
from serd.model.emotions import EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

REVISION_KEY: Final = "corrections"
"""Key of the number of changes."""

NOT: Final = "not"
"""Stands for "not that" in text."""

_SELECT: Final = (
    "SELECT id, node, seq, heard_ms, told, emotion, scores, corrected_ms, model_name, "
    "model_version, model_sha256 FROM corrections"
)
_UPSERT: Final = (
    "INSERT INTO corrections (id, node, seq, heard_ms, told, emotion, scores, corrected_ms, "
    "model_name, model_version, model_sha256) VALUES (?,?,?,?,?,?,?,?,?,?,?) "
    "ON CONFLICT (id) DO UPDATE SET emotion = excluded.emotion, "
    "corrected_ms = excluded.corrected_ms WHERE emotion IS NOT excluded.emotion"
)
_FINISHED: Final = "PRAGMA wal_checkpoint(PASSIVE)"
_ERASED: Final = "PRAGMA wal_checkpoint(TRUNCATE)"
"""Empties the write-ahead log, which still has the pages as they were before."""
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What someone said about one utterance."""

    id: str
    """The event's id, a UUID."""
    node: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """Node that heard it."""
    seq: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    """The event's number there."""
    heard_at: str
    """When the speech began, RFC 3339 UTC with milliseconds."""
    told: str
    """What serd had said: an emotion or ``uncertain``."""
    emotion: str | None
    """What it really was; None: not ``told``."""
    scores: dict[str, _Share]
    """The model's own scores for this utterance, before corrections; 4 decimals."""
    corrected_at: str
    """When someone last said so."""
    model: ModelRef
    """The model that gave these scores."""

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        UUID(self.id)
        parse_rfc3339(self.heard_at)
        parse_rfc3339(self.corrected_at)
        if self.emotion is not None and self.emotion not in EMOTIONS:
            msg = f"{self.emotion!r} is not an emotion"
            raise ValueError(msg)
        if self.told not in EMOTIONS and (self.told != UNCERTAIN or self.emotion is None):
            msg = f"nothing can be learned from {self.told!r}"
            raise ValueError(msg)
        if self.scores.keys() != set(EMOTIONS):
            msg = "`scores` does not have exactly the eight emotions"
            raise ValueError(msg)

    @property
    def words(self) -> str:
        """The correction in words: ``sad``, or ``not angry``."""
        return f"not {self.told}" if self.emotion is None else self.emotion


class CorrectionStore:
    """The corrections in a journal's file.

    Args:
        path: The journal's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Correction]:
        """All corrections, in the order of their utterances.

        Raises:
            UnavailableError: If there is no journal, or it cannot be read.
            ConfigError: If it is not a journal that this version knows.
        """
        with self._reading() as connection:
            found = connection.execute(f"{_SELECT} ORDER BY heard_ms, id").fetchall()
        return [_from_row(row) for row in found]

    def of(self, identifier: str) -> Correction | None:
        """The correction of one utterance, if there is one; raises as :meth:`all`."""
        with self._reading() as connection:
            found = connection.execute(
                f"{_SELECT} WHERE id = ?", (UUID(identifier).bytes,)
            ).fetchone()
        return None if found is None else _from_row(found)

    def event(self, node: str, identifier: str) -> Event | None:
        """A past event of a node, if the journal still has it; raises as :meth:`all`."""
        return self._event(node, "AND e.id = ?", UUID(identifier).bytes)

    def latest(self, node: str) -> Event | None:
        """The latest event of a node, if there is one; raises as :meth:`all`."""
        return self._event(node, "")

    def _event(self, node: str, condition: str, *values: bytes) -> Event | None:
        with self._reading() as connection:
            row = connection.execute("SELECT id FROM nodes WHERE name = ?", (node,)).fetchone()
            if row is None:
                return None
            found = connection.execute(
                f"{rows.select(connection)} WHERE e.key > ? AND e.key < ? {condition} "
                "ORDER BY e.key DESC LIMIT 1",
                (rows.key(row[0], 0), rows.key(row[0] + 1, 0), *values),
            ).fetchone()
        return None if found is None else rows.to_event(found)

    def put(self, corrections: Iterable[Correction]) -> int:
        """Store corrections; a new one for the same utterance replaces the previous one.

        Only the newest `MOST` are kept; deleting older ones is logged.

        Returns:
            How many were new or different.

        Raises:
            UnavailableError: If the journal cannot be written.
            ConfigError: If it is not a journal that this version knows.
        """
        added = [_to_row(one) for one in corrections]
        with self._writing() as connection:
            before = connection.total_changes
            connection.executemany(_UPSERT, added)
            changed = connection.total_changes - before
            (count,) = connection.execute("SELECT count(*) FROM corrections").fetchone()
            if count > MOST:
                connection.execute(
                    "DELETE FROM corrections WHERE id IN "
                    "(SELECT id FROM corrections ORDER BY heard_ms, id LIMIT ?)",
                    (count - MOST,),
                )
                log.warning("%d old corrections were deleted: there are more than %d",
                            count - MOST, MOST)  # fmt: skip
        return changed

    def forget(
        self, *, identifiers: Iterable[str] | None = None, since_ms: int | None = None
    ) -> int:
        """Delete corrections so that they cannot be recovered from the file.

        Args:
            identifiers: Ids of events whose corrections are deleted.
            since_ms: Corrections made at or after this time (milliseconds since 1970) are deleted.
                With neither argument: all.

        Returns:
            How many were deleted.

        Raises:
            UnavailableError: If the journal cannot be written.
            ConfigError: If it is not a journal that this version knows.
        """
        with self._writing() as connection:
            before = connection.total_changes
            if identifiers is not None:
                connection.executemany(
                    "DELETE FROM corrections WHERE id = ?",
                    [(UUID(identifier).bytes,) for identifier in identifiers],
                )
            else:
                connection.execute(
                    "DELETE FROM corrections WHERE corrected_ms >= ?",
                    (-(1 << 62) if since_ms is None else since_ms,),
                )
            deleted = connection.total_changes - before
        if deleted:
            self._erase()
        return deleted

    def _erase(self) -> None:
        """Remove from the write-ahead log what has been deleted."""
        connection = open_for_writing(self._path)
        try:
            (busy, _, _) = connection.execute(_ERASED).fetchone()
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        finally:
            connection.close()
        if busy:
            log.warning("another program is reading %s: what was forgotten stays in its log "
                        "until serd is stopped", self._path)  # fmt: skip

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = open_for_reading(self._path)
        try:
            yield connection
        except sqlite3.Error as error:
            raise explain(error, self._path, reading=True) from error
        finally:
            connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = open_for_writing(self._path)
        try:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute(
                "INSERT INTO meta (key, value) VALUES (?1, '1') ON CONFLICT (key) "
                "DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)",
                (REVISION_KEY,),
            )
            connection.execute("COMMIT")
            connection.execute(_FINISHED)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        finally:
            connection.close()  # rolls back what is not committed


def salvage(damaged: Path, path: Path) -> None:
    """Copy the corrections that can still be read from a damaged journal to its successor.

    Args:
        damaged: The damaged file.
        path: The new file, which has its tables.
    """
    found: list[Correction] = []
    logs = [damaged.with_name(damaged.name + suffix) for suffix in ("-wal", "-shm")]
    made = [log_file for log_file in logs if not log_file.exists()]
    try:
        connection = open_for_reading(damaged)
        try:
            for row in connection.execute(_SELECT):
                found.append(_from_row(row))  # noqa: PERF401 - what came before the damage counts
        finally:
            connection.close()
    except (sqlite3.Error, ValueError, SerdError) as error:
        log.info("corrections in the damaged journal cannot be read: %s", error)
    finally:
        for log_file in made:  # by reading
            log_file.unlink(missing_ok=True)
    if found:
        CorrectionStore(path).put(found)
        log.warning("%d corrections were recovered from the damaged journal", len(found))


def _to_row(one: Correction) -> rows.Row:
    return (
        UUID(one.id).bytes,
        one.node,
        one.seq,
        parse_rfc3339(one.heard_at),
        rows.emotion_code(one.told),
        None if one.emotion is None else rows.emotion_code(one.emotion),
        rows.pack_scores(one.scores),
        parse_rfc3339(one.corrected_at),
        one.model.name,
        one.model.version,
        one.model.sha256,
    )


def _from_row(row: rows.Row) -> Correction:
    (identifier, node, seq, heard_ms, told, emotion, scores, corrected_ms) = row[:8]
    (name, version, sha256) = row[8:]
    return Correction(
        id=str(UUID(bytes=identifier)),
        node=node,
        seq=seq,
        heard_at=rfc3339(heard_ms),
        told=rows.emotion_label(told),
        emotion=None if emotion is None else rows.emotion_label(emotion),
        scores=rows.unpack_scores(scores),
        corrected_at=rfc3339(corrected_ms),
        model=ModelRef(name=name, version=version, sha256=sha256),
    )
