"""Wall-clock time for people, monotonic time for durations, and the one place where they meet."""

from __future__ import annotations

import ctypes
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RFC3339_PATTERN: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
"""How every timestamp of serd looks: RFC 3339, UTC, milliseconds, ``Z``."""

_RFC3339: Final = re.compile(RFC3339_PATTERN)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SYNCHRONISED_US: Final = 16_000_000
"""A larger error than this is what the kernel assumes of a clock that nothing sets."""
_CLOCKS_END_MS: Final = 253_370_764_800_000  # 9999-01-01: local time would be of a fifth digit


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
        ValueError: If the text is not exactly of that form, or no such moment exists.
    """
    if not _RFC3339.fullmatch(text):  # match() would let a line end follow
        raise ValueError(f"{text!r} is not a timestamp like 2026-03-01T08:15:00.250Z")
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2), as far as it is read here."""

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
    """Whether the kernel says that its clock is set over the network, as ``timedatectl`` asks it.

    Args:
        wall_s: What this process takes for the time, seconds since 1970; the kernel does not vouch
            for it if its own clock shows another.
    """
    if _adjtimex is None:
        return False
    timex = _Timex()
    if _adjtimex(ctypes.byref(timex)) < 0 or timex.maxerror >= _SYNCHRONISED_US:
        return False
    return bool(abs(timex.seconds - wall_s) < 5.0)


def check_moment(text: str) -> None:
    """See whether a timestamp of somebody else's is a moment that a clock of any zone can show.

    Raises:
        ValueError: It is not.
    """
    if not 0 <= parse_rfc3339(text) < _CLOCKS_END_MS:
        raise ValueError(f"{text!r} is a moment that no clock shows")


class Clock:
    """The two clocks of the machine, injectable for tests.

    Durations are always differences of ``monotonic``. The wall clock, which NTP may set at any
    time, is read only to say when something was; :meth:`wall_ms_at` dates a monotonic moment by
    the wall clock as it is now, so that a corrected clock corrects what comes after it.

    Args:
        wall: Seconds since 1970, UTC.
        monotonic: Seconds of a clock that never jumps.
        synchronised: Whether something vouches for a wall clock that shows this (seconds).
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
        """Seconds of the clock that durations are taken from."""
        return self._monotonic()

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC, by the wall clock."""
        return round(self._wall() * 1000)

    def wall_ms_at(self, moment: float) -> int:
        """Date a moment of the monotonic clock, in milliseconds since 1970."""
        return round((self._wall() - (self._monotonic() - moment)) * 1000)

    def synchronised(self) -> bool:
        """Whether the wall clock is known to be right, because it is set over the network."""
        return self._synchronised(self._wall())

    def timestamp(self) -> str:
        """The present moment as an RFC 3339 text."""
        return rfc3339(self.now_ms())
