"""A real dashboard, and clients that open connections and leave them idle."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from serd.dashboard.server import IDLE_MAX, IDLE_PER_ADDRESS, REQUEST_S
from tests.broker import TIMEOUT_S, Mosquitto, mosquitto, wait_until
from tests.dashboard.fakes import TOKEN
from tests.dashboard.running import Dashboard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def dashboard(tmp_path: Path, broker: Mosquitto) -> Iterator[Dashboard]:
    with Dashboard(
        tmp_path, broker.port, "--behind-proxy", env={"SERD_DASHBOARD_TOKEN": TOKEN}
    ) as dashboard:
        yield dashboard


@pytest.fixture
def direct(tmp_path: Path, broker: Mosquitto) -> Iterator[Dashboard]:
    """A dashboard without a proxy in front: the limit per address applies."""
    with Dashboard(tmp_path, broker.port, env={"SERD_DASHBOARD_TOKEN": TOKEN}) as dashboard:
        yield dashboard


@contextlib.contextmanager
def idle(url: str, count: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that send these bytes, and then nothing."""
    at = urlsplit(url)
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = socket.create_connection((at.hostname, at.port or 80), timeout=TIMEOUT_S)
            stack.enter_context(connection)
            connection.sendall(sent)
            connections.append(connection)
        yield connections


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed the connection, perhaps after a response."""
    connection.settimeout(0.01)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


REQUESTS = {
    "silent": b"",
    "half a header": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-",
    "a body that never arrives": (
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken="
    ),
}


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "behind a proxy"])
def test_idle_connections_do_not_block_others(
    proxied: bool, sent: bytes, request: pytest.FixtureRequest
) -> None:
    dashboard: Dashboard = request.getfixturevalue("dashboard" if proxied else "direct")
    with (
        httpx.Client(base_url=dashboard.url, timeout=TIMEOUT_S) as known,
        idle(dashboard.url, 600, sent) as connections,
    ):
        for _ in range(3):
            assert httpx.get(f"{dashboard.url}healthz", timeout=TIMEOUT_S).status_code == 200
            response = httpx.get(f"{dashboard.url}api/nodes", headers=BEARER, timeout=TIMEOUT_S)
            assert response.status_code == 200
            assert known.get("healthz").status_code == 200
        most = IDLE_MAX if proxied else IDLE_PER_ADDRESS
        wait_until(lambda: sum(not ended(each) for each in connections[:-most]) == 0)
        # The remaining ones are closed as well, after their timeout.
        wait_until(lambda: all(map(ended, connections)), timeout=REQUEST_S + TIMEOUT_S)


def test_a_long_stream_is_not_closed_as_idle(direct: Dashboard) -> None:
    at = f"{direct.url}api/stream"
    with httpx.stream("GET", at, headers=BEARER, timeout=TIMEOUT_S) as stream:
        assert stream.status_code == 200, stream.status_code
        chunks = stream.iter_raw()
        assert b"hello" in next(chunks)
        with idle(direct.url, 100):
            started = time.monotonic()
            while time.monotonic() - started < REQUEST_S + 2:
                next(chunks)  # pings arrive at least


def test_a_connection_may_send_many_requests(direct: Dashboard) -> None:
    with httpx.Client(base_url=direct.url, headers=BEARER, timeout=TIMEOUT_S) as client:
        for _ in range(20):
            assert client.get("api/nodes").status_code == 200
