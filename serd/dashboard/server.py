"""Runs the application: one socket, one event loop, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

from serd.dashboard.connections import Connection
from serd.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from serd.dashboard.settings import Settings
    from serd.dashboard.watch import Watch

_CONNECTIONS_MAX: Final = 512
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


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
