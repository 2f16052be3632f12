"""Identifiers of events: UUIDs of version 7, which sort by the time of their making.

Layout (RFC 9562, section 5.7), most significant bit first::

    48 bits  unix_ts_ms   milliseconds since 1970
     4 bits  ver          0111
    12 bits  rand_a       here a counter, see below
     2 bits  var          10
    62 bits  rand_b       random

``rand_a`` is the "fixed bit-length dedicated counter" of section 6.2: each millisecond begins it
at a random number below 2048, each further identifier of the same millisecond raises it by one, so
identifiers of one process are strictly increasing. A counter that runs over, or a wall clock that
was set back, borrows from the future: the timestamp goes on from the last one used.
"""

from __future__ import annotations

import threading
import time
from random import SystemRandom
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNTER_LIMIT: Final = 1 << 12
_COUNTER_SEED_BITS: Final = 11
_TIMESTAMP_MASK: Final = (1 << 48) - 1
_SYSTEM: Final = SystemRandom()  # what the module secrets uses; that loads OpenSSL as well


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Uuid7Factory:
    """Makes strictly increasing UUIDv7; may be shared by threads.

    Args:
        unix_ms: Milliseconds since 1970.
        random_bits: Gives that many random bits as a non-negative integer.
    """

    def __init__(
        self,
        unix_ms: Callable[[], int] = _unix_ms,
        random_bits: Callable[[int], int] = _SYSTEM.getrandbits,
    ) -> None:
        self._unix_ms = unix_ms
        self._random_bits = random_bits
        self._lock = threading.Lock()
        self._last_ms = -1
        self._counter = 0

    def __call__(self) -> UUID:
        """Make the next identifier."""
        with self._lock:
            now = self._unix_ms()
            if now > self._last_ms:
                self._last_ms = now
                self._counter = self._random_bits(_COUNTER_SEED_BITS)
            else:
                self._counter += 1
                if self._counter == _COUNTER_LIMIT:
                    self._last_ms += 1
                    self._counter = self._random_bits(_COUNTER_SEED_BITS)
            stamp, counter = self._last_ms, self._counter
        value = (stamp & _TIMESTAMP_MASK) << 80
        value |= 0x7 << 76 | counter << 64
        value |= 0b10 << 62 | self._random_bits(62)
        return UUID(int=value)


uuid7: Final = Uuid7Factory()
"""The factory of this process: ``uuid7()`` makes an identifier."""
