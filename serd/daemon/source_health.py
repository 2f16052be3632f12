"""Tracks what is wrong with a source: missing, open but dead, losing sound. Logs each change once.

The pipeline calls this; nothing here touches the source.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from serd.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.audio.source import SourceStats
    from serd.errors import UnavailableError

log = logging.getLogger(__name__)

FLAT_S: Final = 30.0
"""A device that has delivered one constant value for this long is considered dead."""

LONGEST_REVIVAL_S: Final = 600.0
"""Longest interval between attempts to revive a dead stream by reopening it."""

OVERFLOW_WARNING_S: Final = 60.0
"""Minimum interval between warnings about lost sound; each gives the totals."""


class SourceHealth:
    """The health of one source. Not thread-safe.

    Args:
        revive: Delays between attempts to revive a dead stream by reopening it.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        *,
        revive: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._revive = revive or Backoff(first_s=FLAT_S, longest_s=LONGEST_REVIVAL_S, clock=clock)
        self._clock = clock
        self._revive_at = 0.0
        self._overflows = (0, 0)
        self._warned_at = -math.inf
        self.trouble: str | None = None
        """What is wrong, in words; None if nothing is."""
        self.flat = False
        """Whether the stream is open but dead."""

    def failed(self, error: UnavailableError) -> None:
        """The source could not be opened, or ended by itself."""
        self.flat = False
        sentence = str(error)
        if sentence != self.trouble:
            self.trouble = sentence
            log.warning("%s; trying again until it works", sentence)

    def opened(self, name: str, rate: int) -> None:
        """The source was opened. A dead stream is not alive merely because it was reopened."""
        if self.flat:
            return
        if self.trouble is not None:
            log.info("the source is there again: %s", name)
            self.trouble = None
        log.info("listening to %s at %d Hz", name, rate)

    def closed(self) -> None:
        """The source was closed on request."""
        self.flat, self.trouble = False, None

    def look(self, stats: SourceStats, name: str) -> bool:
        """Check the counters; call it about once a second.

        Args:
            stats: The source's present counters.
            name: The source's name, for messages.

        Returns:
            True if the source is dead and should be reopened now.
        """
        now = self._clock()
        self._warn_of_overflow(stats, now)
        if stats.flat_s < FLAT_S:
            if self.flat and stats.flat_s == 0.0:
                self.flat, self.trouble = False, None
                self._revive.connected()
                log.info("the microphone hears something again")
            return False
        if not self.flat:
            self.flat = True
            self._revive_at = now
            self.trouble = f"the microphone {name!r} is open, but delivers nothing but one value"
            log.warning("%s; is it switched off, or its plug loose? serd goes on listening, and "
                        "opens it anew now and then", self.trouble)  # fmt: skip
        if now < self._revive_at:
            return False
        self._revive_at = now + self._revive.next()
        return True

    def _warn_of_overflow(self, stats: SourceStats, now: float) -> None:
        overflows = (stats.overflow_samples, stats.device_overflows)
        if overflows == self._overflows or now - self._warned_at < OVERFLOW_WARNING_S:
            return
        self._overflows, self._warned_at = overflows, now
        log.warning("sound was lost: since the start %d samples because serd was too slow, and "
                    "%d times in the driver", *overflows)  # fmt: skip
