"""Which rows of the journal go when it is too old or too full."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from serd.events.journal.rows import key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of pruning did."""

    removed: int
    """Events deleted."""
    dropped: int
    """How many of these the broker had not acknowledged: they are lost to subscribers."""
    more: bool
    """Whether the bound on one round was reached, so that there may be more to delete."""


class NodeRun:
    """The rows of one node: a run of ``seq`` without gaps, for rows go only from its old end."""

    __slots__ = ("acked", "first", "last", "row")

    def __init__(self, *, row: int, first: int, last: int, acked: int) -> None:
        self.row = row
        """Row of the node in ``nodes``."""
        self.first = first
        """The oldest number that is still there; ``last + 1`` if none is."""
        self.last = last
        """The newest number; the next event gets the one after it."""
        self.acked = acked
        """The broker has acknowledged every event up to this number."""

    def key(self, seq: int) -> int:
        """The key of one of its rows."""
        return key(self.row, seq)

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.last - self.first + 1

    @property
    def waiting(self) -> int:
        """Number of rows that the broker has not acknowledged."""
        return self.last - max(self.acked, self.first - 1)


@contextmanager
def unchanged_on_error(runs: Collection[NodeRun]) -> Iterator[None]:
    """Give runs their rows back if what deleted them is rolled back."""
    before = [(run, run.first) for run in runs]
    try:
        yield
    except BaseException:
        for run, first in before:
            run.first = first
        raise


def prune(
    connection: sqlite3.Connection,
    runs: Collection[NodeRun],
    *,
    cutoff_ms: int,
    max_events: int,
    limit: int,
) -> Pruned:
    """Delete what is too old, then what is too much; inside a transaction of the caller.

    The runs are shortened at once; the caller rolls back or keeps both together.

    Args:
        connection: The journal.
        runs: All its nodes.
        cutoff_ms: Events that began before this moment (milliseconds since 1970) are too old.
        max_events: More rows than this are too many.
        limit: Most rows deleted.
    """
    left, dropped = limit, 0
    for run in runs:
        count = _too_old(connection, run, cutoff_ms, left)
        left -= count
        dropped += _delete(connection, run, count)
    excess = sum(run.count for run in runs) - max_events
    for last_resort in (False, True):
        if excess <= 0 or left <= 0:
            break
        for run in sorted(runs, key=lambda run: _oldest_ms(connection, run)):
            # The newest row stays, whatever its age: the next seq is counted from it.
            end = run.last - 1 if last_resort else min(run.acked, run.last - 1)
            count = max(0, min(excess, left, end - run.first + 1))
            left -= count
            excess -= count
            dropped += _delete(connection, run, count)
    return Pruned(removed=limit - left, dropped=dropped, more=left == 0)


def _too_old(connection: sqlite3.Connection, run: NodeRun, cutoff_ms: int, limit: int) -> int:
    found = connection.execute(
        "SELECT started_ms FROM events WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
        (run.key(run.first), run.key(run.last), limit),
    )
    count = 0
    for (started_ms,) in found:
        if started_ms >= cutoff_ms:
            break
        count += 1
    found.close()
    return count


def _oldest_ms(connection: sqlite3.Connection, run: NodeRun) -> int:
    found = connection.execute(
        "SELECT started_ms FROM events WHERE key = ?", (run.key(run.first),)
    ).fetchone()
    return 0 if found is None else int(found[0])


def _delete(connection: sqlite3.Connection, run: NodeRun, count: int) -> int:
    """Delete a node's oldest rows; return how many of them were not acknowledged."""
    if count == 0:
        return 0
    end = run.first + count
    connection.execute(
        "DELETE FROM events WHERE key >= ? AND key < ?", (run.key(run.first), run.key(end))
    )
    dropped = max(0, end - 1 - max(run.acked, run.first - 1))
    run.first = end
    return dropped
