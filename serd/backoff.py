"""How long to wait before the next attempt to connect, and how often to answer requests."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Exponential back-off with jitter, so that many nodes do not reconnect at the same moment.

    The n-th delay in a row is drawn uniformly from [w/2, w], w = ``first_s * 2**n`` and at most
    ``longest_s`` ("equal jitter"). A connection that lasted ``stable_s`` resets the row; a shorter
    one does not, so that a broker that drops every connection at once (another client with the
    same id, a crash loop) is not flooded with attempts.

    Args:
        first_s: Upper bound of the first delay, in seconds.
        longest_s: Upper bound of every delay, in seconds.
        stable_s: How long a connection must last to count as a success, in seconds.
        rng: Source of the jitter.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        *,
        first_s: float = 1.0,
        longest_s: float = 60.0,
        stable_s: float = 30.0,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._stable_s = stable_s
        self._rng = rng if rng is not None else random.Random()  # noqa: S311 (no secret)
        self._clock = clock
        self._attempts = 0
        self._connected_at: float | None = None

    def connected(self) -> None:
        """Note that the connection is up."""
        self._connected_at = self._clock()

    @property
    def short_lived(self) -> bool:
        """Whether there was a connection since the last delay and it was short."""
        since = self._connected_at
        return since is not None and self._clock() - since < self._stable_s

    def next(self) -> float:
        """The delay in seconds after a failed attempt or a lost connection."""
        if self._connected_at is not None and not self.short_lived:
            self._attempts = 0
        self._connected_at = None
        # Bounded, because retries go on for ever and 2**1024 does not fit a float.
        widest = min(self._longest_s, self._first_s * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return widest * self._rng.uniform(0.5, 1.0)


THROTTLE_S: Final = 5.0
"""Shortest interval between two answers of a :class:`Throttle`."""


class Throttle:
    """Limits how often something is done that others may ask for at any rate.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done_at = -math.inf
        self.wanted = False
        """Whether it was asked for."""

    def due(self) -> bool:
        """Whether to do it now; it then counts as done."""
        now = self._clock()
        if not self.wanted or now - self._done_at < THROTTLE_S:
            return False
        self.wanted, self._done_at = False, now
        return True
