"""``serd health``: output and exit code for each kind of response."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]

HEALTHY = {"status": "ok", "nodes": {"attic": {"state": "listening", "said": "listening"}}}
UNHEALTHY = {
    "status": "pipeline: no sign of life for 12 s",
    "nodes": {"attic": {"said": "listening"}},
}


@pytest.fixture
def serve() -> Iterator[Callable[[int, bytes], int]]:
    """Start HTTP servers with a fixed response; returns the port."""
    servers: list[http.server.HTTPServer] = []

    def start(status: int, body: bytes) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/healthz"
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_healthy(serd: Serd, serve: Callable[[int, bytes], int]) -> None:
    port = serve(200, json.dumps(HEALTHY).encode())
    assert serd("health", "--set", f"metrics.port={port}") == (0, "attic: listening\n", "")
    # A daemon that listens on all addresses is queried on loopback.
    options = ("--set", f"metrics.port={port}", "--set", "metrics.host=0.0.0.0")
    assert serd("health", *options).code == 0


def test_unhealthy(serd: Serd, serve: Callable[[int, bytes], int]) -> None:
    port = serve(503, json.dumps(UNHEALTHY).encode())
    code, _, err = serd("health", "--set", f"metrics.port={port}")
    assert (code, err) == (69, "serd: serd is unhealthy: pipeline: no sign of life for 12 s\n")


def test_no_daemon_answers(serd: Serd) -> None:
    code, _, err = serd("health", "--set", f"metrics.port={free_port()}")
    assert code == 69
    assert "no serd answers at 127.0.0.1" in err


@pytest.mark.parametrize("body", [b"hello", b"[]", b'{"status": "ok"}', b""])
def test_a_response_that_is_not_from_serd_is_an_error(
    serd: Serd, serve: Callable[[int, bytes], int], body: bytes
) -> None:
    code, _, err = serd("health", "--set", f"metrics.port={serve(200, body)}")
    assert code == 69
    assert "is not serd" in err


def test_the_error_names_the_setting_if_metrics_are_off(serd: Serd) -> None:
    code, _, err = serd("health")
    assert code == 69
    assert "metrics.port is 0" in err
    assert "SERD_METRICS__PORT" in err
