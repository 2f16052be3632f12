"""Runs the application: one socket, one event loop, until a signal."""

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

from serd.dashboard.guard import group_of
from serd.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from serd.dashboard.broker import Watch
    from serd.dashboard.settings import Settings

_CONNECTIONS_MAX: Final = 512
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

REQUEST_S: Final = 10.0
"""Seconds that a request may take to come whole, however slowly somebody writes."""

IDLE_MAX: Final = 128
"""Idle connections at a time."""

IDLE_PER_ADDRESS: Final = 32
"""Of these, how many from one address (IPv6: from one /64)."""


class _Server(uvicorn.Server):
    """Leaves the signals to :func:`serve`, which has more to end than this."""

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
    """Where browsers find it."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if settings.cert is not None else "http"
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


def serve(
    app: Starlette,
    watch: Watch,
    settings: Settings,
    listening: socket.socket,
    *,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGINT or SIGTERM; then end at once, also with browsers connected.

    Args:
        app: From :func:`serd.dashboard.app.make_app`.
        watch: Is started and stopped with it.
        settings: How the page is served.
        listening: From :func:`bind`; is closed at the end.
        on_ready: Called when signals are caught and the server is about to accept.

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
        asyncio.run(_serve(_Server(config), watch, listening, on_ready))


async def _serve(
    server: _Server, watch: Watch, listening: socket.socket, on_ready: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        watch.hub.close()  # the streams end, and with them what the server would wait for

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    watch.start(loop)
    try:
        on_ready()
        await server.serve(sockets=[listening])
    finally:
        watch.stop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


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
