"""Times of the day at which serd does not listen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.config.schema import QuietHours

MINUTES_A_DAY = 24 * 60


class QuietTimes:
    """Says whether it is quiet now, by the machine's local time.

    The clock on the wall decides, as it stands at each question: when it is set, or when summer
    time begins or ends, the next answer is right. A time that ends as it begins lasts all day.

    Args:
        hours: As the configuration has them.
        localtime: For tests: the local time now.
    """

    def __init__(
        self,
        hours: Sequence[QuietHours],
        *,
        localtime: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self._spans = [(_minutes(span.from_), _minutes(span.to)) for span in hours]
        self._localtime = localtime

    def now(self) -> bool:
        """Whether the microphone has to be closed at this moment."""
        if not self._spans:
            return False
        local = self._localtime()
        minute = local.tm_hour * 60 + local.tm_min
        return any(
            (minute - begin) % MINUTES_A_DAY < ((end - begin) % MINUTES_A_DAY or MINUTES_A_DAY)
            for begin, end in self._spans
        )


def _minutes(clock: str) -> int:
    """Minutes since midnight of a time like 22:30."""
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)
