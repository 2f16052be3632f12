"""Which of the journal's rows are deleted when it is too old or too full.

Age deletes history, so it counts only by a clock that can be trusted. A Pi has no battery for its
clock: it may start in 1970, or at the time it was last switched off, until the network sets it; a
clock may also be wrong for a while. :class:`ClockTrust` judges the clock and remembers which events
were dated by one that has since been corrected.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from serd.events.clock import rfc3339
from serd.events.rows import key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping

    from serd.events.clock import Clock

log = logging.getLogger(__name__)

EARLIEST_MS: Final = 1_767_225_600_000
"""2026-01-01: serd is not older, so a clock that shows an earlier time is wrong."""

JUMP_MS: Final = 300_000
"""The wall clock was set if it moved by more than this relative to the monotonic clock."""

LONG_MS: Final = 183 * 86_400_000
"""A clock that is not synchronised is not trusted if it is this far ahead of the last known time:
more likely it is wrong than that the machine was off for so long."""

SETTLED_MS: Final = 7 * 86_400_000
"""A clock suspected of running ahead is trusted once it has run on for this long."""

_SEGMENTS: Final = 100


class Misdated(msgspec.Struct, array_like=True):
    """Consecutive events that were dated by a clock which has since been set."""

    first: int
    last: int
    shift_ms: int
    """To be added to their dates to get those of the clock as it is now."""

    @property
    def bounds(self) -> tuple[int, int, int]:
        """First, last, shift."""
        return self.first, self.last, self.shift_ms


class ClockHistory(msgspec.Struct, kw_only=True, rename={"trusted_ms": "believed_ms"}):
    """What is known about the clock; survives restarts."""

    trusted_ms: int | None = None
    """The latest time that was trusted."""
    suspected_ms: int | None = None
    """What the clock showed when it was first suspected; None if it is trusted."""
    segments: dict[str, list[Misdated]] = {}
    """By node."""


class ClockTrust:
    """Watches the wall clock of one process. Not thread-safe.

    Args:
        clock: Both clocks.
        kept: :attr:`kept` of an earlier process.
        heads: The newest ``seq`` of each node.
        newest_ms: Dates of the newest events, used if nothing was kept.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        kept: str | None,
        heads: Mapping[str, int],
        newest_ms: list[int],
    ) -> None:
        self._clock = clock
        try:
            self.notes = msgspec.json.decode(kept or "{}", type=ClockHistory)
        except msgspec.DecodeError:
            self.notes = ClockHistory()
        if self.notes.trusted_ms is None:
            past = [ms for ms in newest_ms if EARLIEST_MS <= ms <= clock.now_ms() + JUMP_MS]
            self.notes.trusted_ms = max(past, default=None)
        self._begun = dict(heads)
        self._ours: dict[str, list[Misdated]] = {}
        self._offset_ms = self._now_offset()
        self._expected_offset: int | None = None
        self._trusted: bool | None = None
        self.changed = False
        """Whether :attr:`kept` has changed since it was last saved, apart from the time."""

    @property
    def kept(self) -> str:
        """To be stored for the next process."""
        return msgspec.json.encode(self.notes).decode()

    def _now_offset(self) -> int:
        return self._clock.now_ms() - round(self._clock.monotonic() * 1000)

    def check(self, runs: Mapping[str, NodeRun]) -> bool:
        """Check the clock; called about once a minute.

        Args:
            runs: What each node has in the journal.

        Returns:
            Whether the clock can be trusted, so that age may count.
        """
        offset = self._now_offset()
        jump, self._offset_ms = offset - self._offset_ms, offset
        jumped = abs(jump) > JUMP_MS
        if jumped:
            log.warning("the clock was set by %+.0f s", jump / 1000)
            self._shift(runs, jump)
        now = self._clock.now_ms()
        if jumped and self.notes.trusted_ms is None and now - jump >= EARLIEST_MS:
            # Set before the first check: what it showed at the start is all that is known.
            self.notes.trusted_ms = now - jump
        if now < EARLIEST_MS:
            self._expected_offset = None
            trusted = False
        elif self._clock.synchronised() or self.notes.trusted_ms is None:
            trusted = True
            self.notes.trusted_ms = self._expected_offset = None
        elif self._expected_offset is None:  # how long the machine was off is unknown
            trusted = now <= self.notes.trusted_ms + LONG_MS or self._settled(now, restart=jumped)
        else:
            ahead = offset - self._expected_offset
            trusted = ahead <= JUMP_MS or self._settled(now, restart=jumped)
        if trusted:
            self._trust(now, offset)
        elif self._trusted is not False or jumped:
            log.warning("the clock shows %s and is not known to be right: for now no event is "
                        "deleted for its age", rfc3339(now))  # fmt: skip
        self._trusted = trusted
        return trusted

    def _trust(self, now: int, offset: int) -> None:
        self.changed |= self.notes.suspected_ms is not None
        self.notes.suspected_ms = None
        # A clock that is not synchronised may run behind: a later time that was trusted stays.
        self.notes.trusted_ms = max(now, self.notes.trusted_ms or now)
        self._expected_offset = max(offset, self._expected_offset or offset)

    def _settled(self, now: int, *, restart: bool) -> bool:
        """Whether a suspected clock has run on for long enough to be trusted."""
        since = self.notes.suspected_ms
        if since is None or restart or now < since:
            since = self.notes.suspected_ms = now
            self.changed = True
        return now - since >= SETTLED_MS

    def _shift(self, runs: Mapping[str, NodeRun], jump: int) -> None:
        """Remember that this process's events so far were dated by the clock before it was set."""
        for node, run in runs.items():
            segments = self._ours.setdefault(node, [])
            begun = self._begun.get(node, 0)
            if run.last > begun:
                segments.append(Misdated(begun + 1, run.last, 0))
                self._begun[node] = run.last
            for segment in segments:
                segment.shift_ms += jump
            others = [s for s in self.notes.segments.get(node, []) if s not in segments]
            kept = [s for s in segments if abs(s.shift_ms) > JUMP_MS]
            self.notes.segments[node] = [s for s in others if s.last >= run.first] + kept
            del self.notes.segments[node][:-_SEGMENTS]
        self.changed = True

    def segments(self, node: str) -> list[Misdated]:
        """Events of a node whose dates are wrong, in any order."""
        return self.notes.segments.get(node, [])


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one round of pruning."""

    removed: int
    """Events deleted."""
    dropped: int
    """How many of these the broker had not acknowledged: subscribers never get them."""
    more: bool
    """Whether the limit of one round was reached, so that there may be more to delete."""


class NodeRun:
    """The rows of one node: a gapless run of ``seq``, because only the oldest are deleted."""

    __slots__ = ("acked", "first", "last", "outdated", "row")

    def __init__(self, *, row: int, first: int, last: int, acked: int) -> None:
        self.row = row
        """Row of the node in ``nodes``."""
        self.first = first
        """The oldest number still there; ``last + 1`` if there is none."""
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
def restored_on_error(runs: Collection[NodeRun]) -> Iterator[None]:
    """Restore the runs if the deletion is rolled back."""
    before = [(run, run.first) for run in runs]
    try:
        yield
    except BaseException:
        for run, first in before:
            run.first = first
        raise


class Age(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are too old."""

    cutoff_ms: int
    """Those that began before this time, milliseconds since 1970."""
    now_ms: int
    """The current time; an event dated later says nothing about its age."""
    segments: dict[str, list[Misdated]] = {}
    """By node: events whose dates are wrong by a known difference."""
    thorough: bool = True
    """Whether to check every event, not only the oldest ones."""


def prune(
    connection: sqlite3.Connection,
    runs: Mapping[str, NodeRun],
    *,
    age: Age | None,
    max_events: int,
    limit: int,
) -> Pruned:
    """Delete events that are too old, then those that exceed the limit; inside a transaction.

    Only events that the broker has acknowledged are deleted for their age; others only if there
    are too many. The runs are shortened immediately; the caller commits or rolls back both.

    Args:
        connection: The journal.
        runs: All its nodes, by name.
        age: Which events are too old; None if age does not count now.
        max_events: Rows that may remain.
        limit: Rows deleted at most.
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
            # The newest row always stays: the next seq follows from it.
            end = run.last - 1 if last_resort else min(run.acked, run.last - 1)
            count = max(0, min(excess, left, end - run.first + 1))
            left -= count
            excess -= count
            dropped += _delete(connection, run, count)
    return Pruned(removed=limit - left, dropped=dropped, more=left == 0)


def _too_old(
    connection: sqlite3.Connection, run: NodeRun, age: Age, segments: list[Misdated], limit: int
) -> int:
    """How many of the oldest rows are too old.

    They were written in order, so whatever precedes a row that is too old is too old as well, even
    if it is dated in the future or in 1970.
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
    connection: sqlite3.Connection, run: NodeRun, end: int, age: Age, segments: list[Misdated]
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
            f"SELECT max(key) FROM events WHERE {condition}",  # noqa: S608 - made of constants only
            values,
        ).fetchone()
        last = max(last, 0 if key is None else key - run.key(0))
    return last


def _shift(segments: list[Misdated], seq: int) -> int:
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
