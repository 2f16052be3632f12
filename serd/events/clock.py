"""Timestamps, and the two clocks: the wall clock for dates, the monotonic clock for durations."""

from __future__ import annotations

import ctypes
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RFC3339_PATTERN: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
"""Format of every timestamp: RFC 3339, UTC, milliseconds, ``Z``."""

_RFC3339: Final = re.compile(RFC3339_PATTERN)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SYNCHRONISED_US: Final = 16_000_000
"""The kernel assumes at least this error for a clock that nothing synchronises."""
_CLOCKS_END_MS: Final = (
    253_370_764_800_000  # 9999-01-01: local time could need a fifth digit for the year
)


def rfc3339(ms: int) -> str:
    """Write milliseconds since 1970 (UTC) as ``2026-03-01T08:15:00.250Z``.

    Raises:
        OverflowError: If the year would not have four digits.
    """
    moment = _EPOCH + ms * _MILLISECOND
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> int:
    """Read a timestamp written by :func:`rfc3339` back into milliseconds since 1970.

    Raises:
        ValueError: If the text does not have exactly that format, or there is no such time.
    """
    if not _RFC3339.fullmatch(text):  # match() would accept a trailing newline
        raise ValueError(f"{text!r} is not a timestamp like 2026-03-01T08:15:00.250Z")
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2); what is not needed is padding."""

    _fields_ = (
        ("modes", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long),
        ("rest", ctypes.c_char * 200),
    )


_adjtimex: Final[Any] = getattr(ctypes.CDLL(None), "adjtimex", None)


def kernel_synchronised(wall_s: float) -> bool:
    """Whether the kernel reports a synchronised clock, as ``timedatectl`` shows it.

    Args:
        wall_s: The time as this process sees it, seconds since 1970. If the kernel's clock shows
            a different time, the answer is no.
    """
    if _adjtimex is None:
        return False
    timex = _Timex()
    if _adjtimex(ctypes.byref(timex)) < 0 or timex.maxerror >= _SYNCHRONISED_US:
        return False
    return bool(abs(timex.seconds - wall_s) < 5.0)


def check_timestamp(text: str) -> None:
    """Check a timestamp that was received: it must be valid in every time zone.

    Raises:
        ValueError: It is not.
    """
    if not 0 <= parse_rfc3339(text) < _CLOCKS_END_MS:
        raise ValueError(f"{text!r} is out of range")


class Clock:
    """The machine's two clocks; tests pass their own.

    Durations are always differences of :meth:`monotonic`. The wall clock, which NTP may set at any
    time, only serves to date things: :meth:`wall_ms_at` converts a monotonic time by the wall clock
    as it is now, so everything after a correction is dated correctly.

    Args:
        wall: Seconds since 1970, UTC.
        monotonic: Seconds of a clock that never jumps.
        synchronised: Whether a wall clock that shows this time (seconds) is synchronised.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        synchronised: Callable[[float], bool] = kernel_synchronised,
    ) -> None:
        self._wall = wall
        self._synchronised = synchronised
        self._monotonic = monotonic

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return self._monotonic()

    def now_ms(self) -> int:
        """The current time, milliseconds since 1970 (UTC)."""
        return round(self._wall() * 1000)

    def wall_ms_at(self, moment: float) -> int:
        """Convert a monotonic time to milliseconds since 1970 (UTC)."""
        return round((self._wall() - (self._monotonic() - moment)) * 1000)

    def synchronised(self) -> bool:
        """Whether the wall clock is synchronised over the network and so known to be right."""
        return self._synchronised(self._wall())

    def timestamp(self) -> str:
        """The current time as an RFC 3339 timestamp."""
        return rfc3339(self.now_ms())
