"""A real dashboard, and strangers who take connections and give nothing for them."""

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
def alone(tmp_path: Path, broker: Mosquitto) -> Iterator[Dashboard]:
    """Without a proxy before it: each address has a share of its own."""
    with Dashboard(tmp_path, broker.port, env={"SERD_DASHBOARD_TOKEN": TOKEN}) as dashboard:
        yield dashboard


@contextlib.contextmanager
def idle(url: str, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that have said this much, and then nothing."""
    at = urlsplit(url)
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = socket.create_connection((at.hostname, at.port or 80), timeout=TIMEOUT_S)
            stack.enter_context(connection)
            connection.sendall(said)
            connections.append(connection)
        yield connections


def ended(connection: socket.socket) -> bool:
    """Whether the other end has closed it, perhaps after saying why."""
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
    "a body that never comes": (
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken="
    ),
}


@pytest.mark.parametrize("said", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "behind a proxy"])
def test_idle_connections_lock_nobody_out(
    proxied: bool, said: bytes, request: pytest.FixtureRequest
) -> None:
    dashboard: Dashboard = request.getfixturevalue("dashboard" if proxied else "alone")
    with (
        httpx.Client(base_url=dashboard.url, timeout=TIMEOUT_S) as known,
        idle(dashboard.url, 600, said) as connections,
    ):
        for _ in range(3):
            assert httpx.get(f"{dashboard.url}healthz", timeout=TIMEOUT_S).status_code == 200
            answer = httpx.get(f"{dashboard.url}api/nodes", headers=BEARER, timeout=TIMEOUT_S)
            assert answer.status_code == 200
            assert known.get("healthz").status_code == 200
        most = IDLE_MAX if proxied else IDLE_PER_ADDRESS
        wait_until(lambda: sum(not ended(each) for each in connections[:-most]) == 0)
        # Those that are left go as well, in their time.
        wait_until(lambda: all(map(ended, connections)), timeout=REQUEST_S + TIMEOUT_S)


def test_a_stream_is_not_idle_however_long_it_lasts(alone: Dashboard) -> None:
    at = f"{alone.url}api/stream"
    with httpx.stream("GET", at, headers=BEARER, timeout=TIMEOUT_S) as stream:
        assert stream.status_code == 200, stream.status_code
        chunks = stream.iter_raw()
        assert b"hello" in next(chunks)
        with idle(alone.url, 100):
            begun = time.monotonic()
            while time.monotonic() - begun < REQUEST_S + 2:
                next(chunks)  # a ping at least every so often


def test_a_connection_may_ask_again_and_again(alone: Dashboard) -> None:
    with httpx.Client(base_url=alone.url, headers=BEARER, timeout=TIMEOUT_S) as client:
        for _ in range(20):
            assert client.get("api/nodes").status_code == 200
