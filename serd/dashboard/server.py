"""Runs the application on one socket and one event loop, with limits on idle connections.

A connection is idle while it has not sent a whole request, or has no response pending. The server
(uvicorn) ends connections that stay idle after a response, but would wait for ever for the rest of
a request; both that time and the number of idle connections are limited here. A new connection is
always accepted: it replaces the oldest idle one of whoever has the most.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from serd.dashboard.guard import network_of
from serd.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from serd.dashboard.broker import Monitor
    from serd.dashboard.settings import Settings

_CONNECTIONS_MAX: Final = 512
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

REQUEST_S: Final = 10.0
"""Seconds within which a whole request has to arrive."""

IDLE_MAX: Final = 128
"""Idle connections at a time."""

IDLE_PER_ADDRESS: Final = 32
"""Idle connections from one address (IPv6: one /64)."""


class _Server(uvicorn.Server):
    """Leaves signals to :func:`serve`, which has more to stop than the server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(settings: Settings) -> socket.socket:
    """Open the socket to listen on.

    Raises:
        UnavailableError: The address is not ours, or the port is taken.
    """
    host, port = settings.host.strip("[]"), settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            remedy="choose another --host or --port",
        ) from None


def url(settings: Settings, listening: socket.socket) -> str:
    """The URL for browsers."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if settings.cert is not None else "http"
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


def serve(
    app: Starlette,
    monitor: Monitor,
    settings: Settings,
    listening: socket.socket,
    *,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGINT or SIGTERM; then stop at once, even with browsers connected.

    Args:
        app: From :func:`serd.dashboard.app.make_app`.
        monitor: Started and stopped with the server.
        settings: How the page is served.
        listening: From :func:`bind`; closed at the end.
        on_ready: Called once signals are handled and the server is about to accept connections.

    Raises:
        UsageError: Certificate or key cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.behind_proxy,
        forwarded_allow_ips=["127.0.0.1", "::1"],
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_graceful_shutdown=1,
        ssl_certfile=settings.cert,
        ssl_keyfile=settings.key,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"--tls-cert and --tls-key cannot be used: {error.strerror or error}"
        ) from None
    with listening:
        asyncio.run(_serve(_Server(config), monitor, listening, on_ready))


async def _serve(
    server: _Server, monitor: Monitor, listening: socket.socket, on_ready: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        monitor.hub.close()  # ends the streams, which the server would otherwise wait for

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    monitor.start(loop)
    try:
        on_ready()
        await server.serve(sockets=[listening])
    finally:
        monitor.stop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


class Connection(H11Protocol):
    """One connection with limits; created by uvicorn."""

    _idle: Final[dict[Connection, float]] = {}
    """Idle connections by the time they became idle, the oldest first."""

    _timer: asyncio.TimerHandle | None = None

    @property
    def _is_idle(self) -> bool:
        """Whether no whole request is being answered."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, and end the oldest idle one of a client with too many."""
        super().connection_made(transport)
        self._enter_idle()
        address = self.address
        own = [each for each in self._idle if each.address == address]
        # A proxy speaks for many clients, so only the overall limit applies to it.
        if len(own) > IDLE_PER_ADDRESS and not self.config.proxy_headers:
            own[0].end()
        elif len(self._idle) > IDLE_MAX:
            (most, _), *_ = Counter(each.address for each in self._idle).most_common(1)
            next(each for each in self._idle if each.address == most).end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave_idle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; the request may now be complete."""
        super().data_received(data)
        if not self._is_idle:
            self._leave_idle()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._enter_idle()
        super().on_response_complete()
        if not self._is_idle:
            self._leave_idle()

    def end(self) -> None:
        """End the connection at once."""
        self._leave_idle()
        self.transport.abort()

    @property
    def address(self) -> str:
        """The client's address; for IPv6, its network."""
        return network_of(self.client[0]) if self.client else "?"

    def _enter_idle(self) -> None:
        self._leave_idle()
        self._idle[self] = time.monotonic()
        self._timer = self.loop.call_later(REQUEST_S, self._time_out)

    def _leave_idle(self) -> None:
        self._idle.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        if self._is_idle:
            self.end()
        else:
            self._leave_idle()
