"""Which rows of the journal go when it is too old or too full."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from serd.events.journal.dating import EARLIEST_MS, Segment
from serd.events.journal.rows import key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping


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

    __slots__ = ("acked", "first", "last", "outdated", "row")

    def __init__(self, *, row: int, first: int, last: int, acked: int) -> None:
        self.row = row
        """Row of the node in ``nodes``."""
        self.first = first
        """The oldest number that is still there; ``last + 1`` if none is."""
        self.last = last
        """The newest number; the next event gets the one after it."""
        self.acked = acked
        """The broker has acknowledged every event up to this number."""
        self.outdated = 0
        """Every event up to this number is known to be too old."""

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


class Age(msgspec.Struct, frozen=True, kw_only=True):
    """What is too old."""

    cutoff_ms: int
    """Events that began before this moment (milliseconds since 1970) are."""
    now_ms: int
    """The present; what is dated later tells nothing of its age."""
    segments: dict[str, list[Segment]] = {}
    """By node: events whose dates are off by a known difference."""
    thorough: bool = True
    """Whether to look at every event, and not only at the oldest that are left."""


def prune(
    connection: sqlite3.Connection,
    runs: Mapping[str, NodeRun],
    *,
    age: Age | None,
    max_events: int,
    limit: int,
) -> Pruned:
    """Delete what is too old, then what is too much; inside a transaction of the caller.

    Too old can only be what the broker has acknowledged: what waits for it goes when there is too
    much. The runs are shortened at once; the caller rolls back or keeps both together.

    Args:
        connection: The journal.
        runs: All its nodes, by name.
        age: What is too old; None if age does not count now.
        max_events: More rows than this are too many.
        limit: Most rows deleted.
    """
    left, dropped = limit, 0
    for name, run in runs.items():
        if age is None:
            break
        count = min(left, _too_old(connection, run, age, age.segments.get(name, []), left))
        left -= count
        dropped += _delete(connection, run, count)
    excess = sum(run.count for run in runs.values()) - max_events
    for last_resort in (False, True):
        if excess <= 0 or left <= 0:
            break
        for run in sorted(runs.values(), key=lambda run: _oldest_ms(connection, run)):
            # The newest row stays, whatever its age: the next seq is counted from it.
            end = run.last - 1 if last_resort else min(run.acked, run.last - 1)
            count = max(0, min(excess, left, end - run.first + 1))
            left -= count
            excess -= count
            dropped += _delete(connection, run, count)
    return Pruned(removed=limit - left, dropped=dropped, more=left == 0)


def _too_old(
    connection: sqlite3.Connection, run: NodeRun, age: Age, segments: list[Segment], limit: int
) -> int:
    """How many of the oldest rows are too old.

    They were written in order, so a row is no younger than any after it: whatever lies before one
    that is too old is too old as well, also if it is dated in the future or in 1970.
    """
    end = min(run.acked, run.last - 1)
    if end < run.first:
        return 0
    if age.thorough:
        run.outdated = _last_outdated(connection, run, end, age, segments)
    if run.outdated >= run.first:
        return min(run.outdated, end) - run.first + 1
    found = connection.execute(
        "SELECT seq, started_ms FROM events WHERE key >= ? AND key <= ? ORDER BY key LIMIT ?",
        (run.key(run.first), run.key(end), limit),
    )
    count = 0
    for seq, dated_ms in found:
        started_ms = dated_ms + _shift(segments, seq)
        if age.cutoff_ms <= started_ms <= age.now_ms:
            break
        if EARLIEST_MS <= started_ms <= age.now_ms:
            count = seq - run.first + 1
    found.close()
    return count


def _last_outdated(
    connection: sqlite3.Connection, run: NodeRun, end: int, age: Age, segments: list[Segment]
) -> int:
    """The last row up to ``end`` that is too old by its own date; 0 if none is."""
    last = 0
    dated = "started_ms + ? >= ? AND started_ms + ? < ?"
    for part in [*segments, None]:
        first, until, shift = (run.first, end, 0) if part is None else part.bounds
        condition = f"key >= ? AND key <= ? AND {dated}"
        values = [run.key(max(first, run.first)), run.key(min(until, end)),
                  shift, EARLIEST_MS, shift, age.cutoff_ms]  # fmt: skip
        for other in segments if part is None else ():
            condition += " AND NOT key BETWEEN ? AND ?"
            values += [run.key(other.first), run.key(other.last)]
        (key,) = connection.execute(
            f"SELECT max(key) FROM events WHERE {condition}",  # noqa: S608 - no value of anybody's
            values,
        ).fetchone()
        last = max(last, 0 if key is None else key - run.key(0))
    return last


def _shift(segments: list[Segment], seq: int) -> int:
    return next((s.shift_ms for s in segments if s.first <= seq <= s.last), 0)


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
