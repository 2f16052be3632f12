"""Connections to the dashboard: nobody keeps one for nothing, and nobody has them all.

A connection is idle while no request of it has come whole, or none is being answered. The server
(uvicorn) ends one that has been answered and asks nothing more, but would wait for ever for the
rest of a request; that is limited here, and so is how many such connections there are. The newest
is always let in: whoever holds many idle ones loses the oldest of them.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from serd.dashboard.sessions import group_of

if TYPE_CHECKING:
    import asyncio

REQUEST_S: Final = 10.0
"""Seconds that a request may take to come whole, however slowly somebody writes."""

IDLE_MAX: Final = 128
"""Idle connections at a time."""

IDLE_PER_ADDRESS: Final = 32
"""Of these, how many from one address (IPv6: from one /64)."""


class Connection(H11Protocol):
    """One connection, with limits; uvicorn makes it."""

    _idle: Final[dict[Connection, float]] = {}
    """Connections by when they began to wait for a request, the oldest first."""

    _timer: asyncio.TimerHandle | None = None

    @property
    def _waits(self) -> bool:
        """Whether there is no whole request that is being answered."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body

    def connection_made(self, transport: Any) -> None:
        """Take a new one, and end the oldest idle one of whoever has too many."""
        super().connection_made(transport)
        self._begin_to_wait()
        address = self.address
        own = [each for each in self._idle if each.address == address]
        # A proxy speaks for many; what it holds open is its own affair, up to the bound of all.
        if len(own) > IDLE_PER_ADDRESS and not self.config.proxy_headers:
            own[0].end()
        elif len(self._idle) > IDLE_MAX:
            (most, _), *_ = Counter(each.address for each in self._idle).most_common(1)
            next(each for each in self._idle if each.address == most).end()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something has come; perhaps a whole request."""
        super().data_received(data)
        if not self._waits:
            self._wait_no_more()

    def on_response_complete(self) -> None:
        """A request was answered; the next may come."""
        self._begin_to_wait()
        super().on_response_complete()
        if not self._waits:
            self._wait_no_more()

    def end(self) -> None:
        """End it, whatever it is waiting for."""
        self._wait_no_more()
        self.transport.abort()

    @property
    def address(self) -> str:
        """Whose it is."""
        return group_of(self.client[0]) if self.client else "?"

    def _begin_to_wait(self) -> None:
        self._wait_no_more()
        self._idle[self] = time.monotonic()
        self._timer = self.loop.call_later(REQUEST_S, self._too_slow)

    def _wait_no_more(self) -> None:
        self._idle.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._waits:
            self.end()
        else:
            self._wait_no_more()
