"""A histogram as Prometheus shows it, without its library."""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a histogram."""

    bounds: tuple[float, ...]
    """Upper bounds of the buckets, ascending; a last, unbounded bucket follows."""
    cumulative: tuple[int, ...]
    """Number of values up to each bound; the last is the number of all values."""
    total: float
    """The sum of all values."""


class Histogram:
    """A thread-safe histogram; an observation costs about a microsecond.

    Args:
        bounds: Upper bounds of the buckets, ascending and inclusive.
    """

    __slots__ = ("_bounds", "_counts", "_lock", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count a value."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._total += value

    def counts(self) -> Counts:
        """A snapshot."""
        with self._lock:
            counts, total = tuple(self._counts), self._total
        return Counts(bounds=self._bounds, cumulative=tuple(accumulate(counts)), total=total)
