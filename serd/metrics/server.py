"""Serves ``/metrics`` to Prometheus and ``/healthz`` to health checks.

A small HTTP server from the standard library on threads of its own: a few connections at a time,
each with a time limit. A request costs a few milliseconds; between requests nothing runs. A new
connection is always accepted: if all slots are taken, the connection that has been idle the longest
is closed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from serd.errors import ConfigError
from serd.metrics import samples
from serd.network import is_loopback
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.config import MetricsConfig
    from serd.daemon.daemon import Daemon
    from serd.histogram import Counts

log = logging.getLogger(__name__)

REQUESTS_MAX: Final = 16
"""Connections at one time."""

PER_ADDRESS: Final = 8
"""Of these, how many from one address that have not sent a request yet."""

EVICTION_S: Final = 0.5
"""How long closing a connection may take to free its slot."""

REQUEST_S: Final = 10.0
"""How long one connection may last, however slowly the client sends."""

POLL_S: Final = 0.5
"""How often the server checks for shutdown and for connections that have lasted too long."""


class DaemonCollector(Collector):
    """Reads the daemon's metrics at each scrape."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def collect(self) -> Iterator[Metric]:
        """All of :data:`serd.metrics.METRICS`."""
        for metric, values in samples(self._daemon):
            family: Metric
            name, about, labels = metric.name, metric.help, metric.all_labels
            if metric.kind == "histogram":
                family = histogram = HistogramMetricFamily(name, about, labels=labels)
                for place, counts in values:
                    histogram.add_metric(place, _buckets(counts), counts.total)
            elif metric.kind == "counter":
                family = counter = CounterMetricFamily(name, about, labels=labels)
                for place, value in values:
                    counter.add_metric(place, value)
            else:
                family = gauge = GaugeMetricFamily(name, about, labels=labels)
                for place, value in values:
                    gauge.add_metric(place, value)
            yield family


def _buckets(counts: Counts) -> list[tuple[str, float]]:
    bounds = (*map(str, counts.bounds), "+Inf")
    return list(zip(bounds, counts.cumulative, strict=True))


class MetricsServer:
    """The endpoint; a context manager.

    Args:
        daemon: Whose metrics are served.
        settings: Where to listen.

    Raises:
        ConfigError: The address cannot be used.
    """

    def __init__(self, daemon: Daemon, settings: MetricsConfig) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(DaemonCollector(daemon))
        self._http = _bind(settings)
        self._http.registry, self._http.daemon = registry, daemon
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(POLL_S,), name="serd-metrics", daemon=True
        )

    @property
    def url(self) -> str:
        """Address of the metrics."""
        return f"http://{self._http.shown}/metrics"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(POLL_S)


def probe(settings: MetricsConfig) -> None:
    """Check that the address can be used.

    Raises:
        ConfigError: It cannot.
    """
    _bind(settings).server_close()


def _bind(settings: MetricsConfig) -> _Server:
    where = f"metrics.host = {settings.host}, metrics.port = {settings.port}"
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return _Server(family, address)
    except OSError as error:
        raise ConfigError(
            f"{where}: cannot listen there: {(error.strerror or str(error)).lower()}",
            remedy="choose another port, see `ss -ltnp` for who has this one; 0 switches it off",
        ) from None


class _Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    registry: CollectorRegistry
    daemon: Daemon

    def __init__(self, family: int, address: Any) -> None:
        self.address_family = family
        self._places = threading.BoundedSemaphore(REQUESTS_MAX)
        self._open: dict[socket.socket, float] = {}
        self._asking: dict[socket.socket, str] = {}
        super().__init__(address, _Handler)
        host, port = self.server_address[:2]
        shown = host.decode() if isinstance(host, bytes | bytearray) else host
        self.loopback = is_loopback(shown)
        self.shown = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        address = str(client_address[0])
        own = [each for each, whose in list(self._asking.items()) if whose == address]
        if len(own) >= PER_ADDRESS:
            self._end(own[0])
        if not self._places.acquire(blocking=False):
            self._make_room()
            if not self._places.acquire(timeout=EVICTION_S):
                self.shutdown_request(request)
                return
        self._open[request] = time.monotonic()
        self._asking[request] = address
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._asking.pop(request, None)
            self._open.pop(request, None)
            self._places.release()

    def asked(self, request: Any) -> None:
        """A complete request has arrived on a connection."""
        self._asking.pop(request, None)

    def _make_room(self) -> None:
        """Close the oldest idle connection of the address that has the most of them."""
        asking = list(self._asking.items())
        if asking:
            counts = Counter(whose for _, whose in asking)
            self._end(max(asking, key=lambda entry: counts[entry[1]])[0])

    def _end(self, request: socket.socket) -> None:
        self._asking.pop(request, None)
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def service_actions(self) -> None:
        now = time.monotonic()
        for connection, since in list(self._open.items()):
            if now - since > REQUEST_S:
                self._end(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("a request for metrics failed", exc_info=True)  # noqa: LOG014 - it is one


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = f"serd/{VERSION}"
    sys_version = ""
    timeout = REQUEST_S

    def do_GET(self) -> None:
        self.server.asked(self.connection)
        if not self._host_is_allowed():
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"use this machine's address\n")
            return
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, kind, encode(self.server.registry))
            case "/healthz":
                health = self.server.daemon.health()
                status = HTTPStatus.OK if health.well else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, "application/json", msgspec.json.encode(health) + b"\n")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /healthz\n")

    do_HEAD = do_GET  # noqa: N815 - as the standard library calls it

    def _host_is_allowed(self) -> bool:
        """Whether the request's ``Host`` names this machine (against DNS rebinding).

        On a loopback address, web pages opened on this machine must not read the metrics. A page
        whose own host name was made to resolve to this address still sends that name.
        """
        if not self.server.loopback:
            return True
        host = self.headers.get("Host", "localhost")
        return is_loopback(
            host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.split(":")[0]
        )

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the base class
        log.debug("metrics: %s", format % args)
