"""Who has shown the token, and who has tried too often."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION_S: Final = 7 * 86_400
"""Seconds after which somebody has to log in again."""

SESSIONS_MAX: Final = 256
"""Sessions at a time; the oldest ends when there is one more."""

ATTEMPTS: Final = 5
"""Wrong tokens at once from one address; then one for every :data:`REFILL_S` seconds."""

REFILL_S: Final = 12.0

_ADDRESSES_MAX: Final = 1024


class Sessions:
    """The token and the sessions of those who knew it. In memory: a restart ends them all.

    Args:
        token: What a visitor must know.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = _digest(token)
        self._clock = clock
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def right(self, token: str) -> bool:
        """Whether this is the token; takes as long for a nearly right one as for a wrong one."""
        return hmac.compare_digest(_digest(token), self._token)

    def begin(self) -> str:
        """Begin a session; its id is for the cookie and is kept here only as a digest."""
        session = secrets.token_urlsafe(32)
        self._ends[_digest(session)] = self._clock() + SESSION_S
        while len(self._ends) > SESSIONS_MAX:
            self._ends.popitem(last=False)
        return session

    def valid(self, session: str) -> bool:
        """Whether there is such a session."""
        digest = _digest(session)
        end = self._ends.get(digest)
        if end is None:
            return False
        if self._clock() >= end:
            del self._ends[digest]
            return False
        return True

    def end(self, session: str) -> None:
        """End a session, if there is such a one."""
        self._ends.pop(_digest(session), None)


class Throttle:
    """Counts wrong tokens by address (IPv6: by /64), as a bucket of attempts that refills.

    While the bucket is empty the right token is refused as well, or guessing would go on unseen.

    Args:
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.failures = 0
        """Wrong tokens so far."""

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 if now."""
        left, _ = self._bucket(group_of(address))
        return 0.0 if left >= 1 else (1 - left) * REFILL_S

    def failed(self, address: str) -> None:
        """This address has sent a wrong token."""
        group = group_of(address)
        left, now = self._bucket(group)
        self.failures += 1
        self._buckets[group] = (max(0.0, left - 1), now)
        self._buckets.move_to_end(group)
        if len(self._buckets) > _ADDRESSES_MAX:
            self._buckets.popitem(last=False)

    def _bucket(self, group: str) -> tuple[float, float]:
        now = self._clock()
        left, moment = self._buckets.get(group, (float(ATTEMPTS), now))
        return min(float(ATTEMPTS), left + (now - moment) / REFILL_S), now


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def group_of(address: str) -> str:
    """Whose address it is: itself, or for IPv6 the network that one household has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
