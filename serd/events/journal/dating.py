"""How old events are, on a machine whose clock may be wrong.

A Pi has no battery for its clock: it may begin in 1970, or when it was last switched off, and is
set once the network comes; a clock may also be set wrong for a while. Age deletes history, so it
counts only by a clock that can be believed, and events that were dated by a clock which was set
since are judged by the clock as it is now.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec

from serd.events.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serd.events.clock import Clock
    from serd.events.journal.retention import NodeRun

log = logging.getLogger(__name__)

EARLIEST_MS: Final = 1_767_225_600_000
"""2026-01-01: this program is not older, so a clock that shows less is wrong."""

JUMP_MS: Final = 300_000
"""The wall clock was set if it moved by more than this against the monotonic one."""

LONG_MS: Final = 183 * 86_400_000
"""A clock that nothing vouches for is not believed when it is so far ahead of the last time that is
known: rather than that the machine was off for so long, the clock is wrong."""

SETTLED_MS: Final = 7 * 86_400_000
"""A clock that is suspected of running ahead is believed after it has shown so for so long."""

_SEGMENTS: Final = 100


class Segment(msgspec.Struct, array_like=True):
    """Events in a row that were dated by a clock which was set since."""

    first: int
    last: int
    shift_ms: int
    """What their dates lack to be those of the clock as it is now."""

    @property
    def bounds(self) -> tuple[int, int, int]:
        """First, last, shift."""
        return self.first, self.last, self.shift_ms


class Notes(msgspec.Struct, kw_only=True):
    """What is remembered of the clock, also over restarts."""

    believed_ms: int | None = None
    """The latest time that was believed."""
    suspected_ms: int | None = None
    """What the clock showed when it was first suspected; None if it is not."""
    segments: dict[str, list[Segment]] = {}
    """By node."""


class Dating:
    """Follows the wall clock of one process. The caller sees to it that one thread uses it.

    Args:
        clock: Both clocks.
        kept: What :attr:`kept` was in an earlier process.
        heads: The newest ``seq`` of each node.
        newest_ms: Dates of the newest events, if nothing was kept.
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
            self.notes = msgspec.json.decode(kept or "{}", type=Notes)
        except msgspec.DecodeError:
            self.notes = Notes()
        if self.notes.believed_ms is None:
            past = [ms for ms in newest_ms if EARLIEST_MS <= ms <= clock.now_ms() + JUMP_MS]
            self.notes.believed_ms = max(past, default=None)
        self._begun = dict(heads)
        self._ours: dict[str, list[Segment]] = {}
        self._offset_ms = self._now_offset()
        self._expected_offset: int | None = None
        self._may_age: bool | None = None
        self.changed = False
        """Whether :attr:`kept` has changed by more than the time since it was last saved."""

    @property
    def kept(self) -> str:
        """To be kept for the next process."""
        return msgspec.json.encode(self.notes).decode()

    def _now_offset(self) -> int:
        return self._clock.now_ms() - round(self._clock.monotonic() * 1000)

    def look(self, runs: Mapping[str, NodeRun]) -> bool:
        """Look at the clock; about once a minute.

        Args:
            runs: What each node has in the journal.

        Returns:
            Whether age may count now.
        """
        offset = self._now_offset()
        jump, self._offset_ms = offset - self._offset_ms, offset
        jumped = abs(jump) > JUMP_MS
        if jumped:
            log.warning("the clock was set by %+.0f s", jump / 1000)
            self._shift(runs, jump)
        now = self._clock.now_ms()
        if jumped and self.notes.believed_ms is None and now - jump >= EARLIEST_MS:
            # Set before the first look: what it showed at the start is all there is to go by.
            self.notes.believed_ms = now - jump
        if now < EARLIEST_MS:
            self._expected_offset = None
            believed = False
        elif self._clock.synchronised() or self.notes.believed_ms is None:
            believed = True
            self.notes.believed_ms = self._expected_offset = None
        elif self._expected_offset is None:  # for how long the machine was off is not known
            believed = now <= self.notes.believed_ms + LONG_MS or self._settled(now, anew=jumped)
        else:
            ahead = offset - self._expected_offset
            believed = ahead <= JUMP_MS or self._settled(now, anew=jumped)
        if believed:
            self._believe(now, offset)
        elif self._may_age is not False or jumped:
            log.warning("the clock shows %s, and nothing tells that it is right: for now nothing "
                        "is forgotten for its age", rfc3339(now))  # fmt: skip
        self._may_age = believed
        return believed

    def _believe(self, now: int, offset: int) -> None:
        self.changed |= self.notes.suspected_ms is not None
        self.notes.suspected_ms = None
        # A clock that nothing vouches for may run behind: what was known stays known.
        self.notes.believed_ms = max(now, self.notes.believed_ms or now)
        self._expected_offset = max(offset, self._expected_offset or offset)

    def _settled(self, now: int, *, anew: bool) -> bool:
        """Whether a suspected clock has shown the same time for long enough to be believed."""
        since = self.notes.suspected_ms
        if since is None or anew or now < since:
            since = self.notes.suspected_ms = now
            self.changed = True
        return now - since >= SETTLED_MS

    def _shift(self, runs: Mapping[str, NodeRun], jump: int) -> None:
        """Note that this process's events so far were dated by a clock that is now set."""
        for node, run in runs.items():
            segments = self._ours.setdefault(node, [])
            begun = self._begun.get(node, 0)
            if run.last > begun:
                segments.append(Segment(begun + 1, run.last, 0))
                self._begun[node] = run.last
            for segment in segments:
                segment.shift_ms += jump
            others = [s for s in self.notes.segments.get(node, []) if s not in segments]
            kept = [s for s in segments if abs(s.shift_ms) > JUMP_MS]
            self.notes.segments[node] = [s for s in others if s.last >= run.first] + kept
            del self.notes.segments[node][:-_SEGMENTS]
        self.changed = True

    def segments(self, node: str) -> list[Segment]:
        """Events of a node whose dates are off, in any order."""
        return self.notes.segments.get(node, [])
