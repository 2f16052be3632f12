"""How long to wait: before the next attempt to connect, and before the next answer to others."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Exponential back-off with jitter, so that a house full of nodes does not knock in step.

    The n-th wait in a row is drawn evenly from [w/2, w], w = ``first_s * 2**n`` and at most
    ``longest_s`` ("equal jitter"). A connection that lasted ``stable_s`` begins the row anew; one
    that was lost sooner does not, so that a broker that throws everybody out at once (a second
    client with the same id, a crash loop) is not hammered.

    Args:
        first_s: Longest first wait, in seconds.
        longest_s: No wait is longer, in seconds.
        stable_s: A connection must last this long to count as a success, in seconds.
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
        """A connection now stands."""
        self._connected_at = self._clock()

    @property
    def short_lived(self) -> bool:
        """Whether there was a connection since the last wait and it was lost soon."""
        since = self._connected_at
        return since is not None and self._clock() - since < self._stable_s

    def next(self) -> float:
        """Seconds to wait now, after a failed attempt or a lost connection."""
        if self._connected_at is not None and not self.short_lived:
            self._attempts = 0
        self._connected_at = None
        # The exponent is bounded: 2**1024 does not fit a float, and retries go on for ever.
        widest = min(self._longest_s, self._first_s * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return widest * self._rng.uniform(0.5, 1.0)


ANSWER_S: Final = 5.0
"""What others can ask for with a message they get at most so often."""


class Answer:
    """Something that anybody can ask for at any time, ten thousand times a second.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._given_at = -math.inf
        self.wanted = False
        """Whether somebody has asked."""

    def due(self) -> bool:
        """Whether to give it now; it counts as given then."""
        now = self._clock()
        if not self.wanted or now - self._given_at < ANSWER_S:
            return False
        self.wanted, self._given_at = False, now
        return True
