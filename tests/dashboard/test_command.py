"""``serd dashboard`` as a process: errors, start and end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from msgspec.structs import replace

from serd.events.event import encode, uuid7
from tests.broker import TIMEOUT_S, Mosquitto, Recorder, make_certificates, mosquitto
from tests.dashboard.fakes import TOKEN
from tests.dashboard.making import made_event, now_ms, publish_node
from tests.dashboard.running import Dashboard
from tests.system.node import run_serd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker


def test_a_token_is_required_beyond_loopback(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        done = run_serd("dashboard", "--host", host, home=tmp_path)
        assert done.returncode == 2
        first, remedy = done.stderr.splitlines()
        assert first == f"serd: --host {host} can be reached by others, so a token is needed"
        assert "--token-file" in remedy


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_serd("dashboard", "--port", str(port), home=tmp_path)
    assert done.returncode == 69
    assert f"serd: cannot listen on 127.0.0.1, port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_named_journal_must_exist(tmp_path: Path) -> None:
    done = run_serd("dashboard", "--journal", str(tmp_path / "none.db"), home=tmp_path)
    assert done.returncode == 69
    assert "there is no journal at" in done.stderr


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, sys\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'uvicorn' else find(name, *rest)\n"
        "from serd.cli.main import main\n"
        "sys.exit(main(['dashboard']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 69
    assert done.stderr.splitlines() == [
        "serd: serd dashboard needs uvicorn, which is not installed",
        "      pip install 'serd-emotion[dashboard]'",
    ]


def test_it_waits_for_the_broker_and_reports_it(tmp_path: Path) -> None:
    with mosquitto(tmp_path, started=False) as broker, Dashboard(tmp_path, broker.port) as dash:
        dash.wait_log("connection refused")
        info = httpx.get(f"{dash.url}api/info").json()
        assert info["connected"] is False
        assert "connection refused" in info["reason"]
        broker.start()
        dash.wait_log("connected to the broker")
        assert httpx.get(f"{dash.url}healthz").json() == {"status": "ok", "broker": True}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_promptly_with_browsers_connected(
    tmp_path: Path, broker: Mosquitto, how: signal.Signals
) -> None:
    with Dashboard(tmp_path, broker.port) as dash, httpx.Client() as client:
        dash.wait_log("connected to the broker")
        streams = [client.stream("GET", f"{dash.url}api/stream") for _ in range(5)]
        for stream in streams:
            assert next(stream.__enter__().iter_bytes()).startswith(b"retry:")
        started = time.monotonic()
        assert dash.stop(how) == 0
        took = time.monotonic() - started
        for stream in streams:
            stream.__exit__(None, None, None)
    print(f"ended in {took:.2f} s")
    assert took < TIMEOUT_S
    assert not any("Traceback" in line or "ERROR" in line for line in dash.log), dash.log


def test_published_events_arrive_in_the_stream(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder
) -> None:
    publish_node(speaker, "attic", None)
    with Dashboard(tmp_path, broker.port) as dash, httpx.Client() as client:
        dash.wait_log("connected to the broker")
        event = made_event("attic", 1, now_ms() - 2000)
        with client.stream("GET", f"{dash.url}api/stream") as stream:
            chunks = stream.iter_text()
            text = next(chunks)
            publish_node(speaker, "attic", event)
            while event.id not in text:
                text += next(chunks)
        found = client.get(f"{dash.url}api/events").json()
        assert [one["id"] for one in found["events"]] == [event.id]


def test_a_browser_that_does_not_read_does_not_block_others(
    tmp_path: Path, broker: Mosquitto, speaker: Recorder
) -> None:
    with Dashboard(tmp_path, broker.port) as dash, httpx.Client() as client:
        dash.wait_log("connected to the broker")
        host, port = dash.url.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port))) as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert stalled.recv(16).startswith(b"HTTP/1.1 200")
            stop = threading.Event()

            def flood() -> None:
                event = made_event("attic", 1, now_ms())
                while not stop.is_set():
                    for _ in range(500):
                        payload = encode(replace(event, id=str(uuid7())))
                        speaker._client.publish("serd/attic/emotion", payload, qos=0)
                    stop.wait(0.1)

            flooding = threading.Thread(target=flood)
            flooding.start()
            try:
                deadline = time.monotonic() + 4 * TIMEOUT_S
                while not (info := client.get(f"{dash.url}api/info").json())["dropped"]:
                    assert time.monotonic() < deadline, info
            finally:
                stop.set()
                flooding.join()
            assert client.get(f"{dash.url}api/nodes/attic").json()["event"] is not None
        assert dash.stop() == 0


def test_built_in_tls(tmp_path: Path, broker: Mosquitto) -> None:
    certificates = make_certificates(tmp_path / "tls")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    arguments = (
        "--host", "0.0.0.0", "--token-file", str(token),
        "--tls-cert", str(certificates.server), "--tls-key", str(certificates.server_key),
    )  # fmt: skip
    with Dashboard(tmp_path, broker.port, *arguments) as dash:
        url = dash.url.replace("0.0.0.0", "127.0.0.1")
        assert url.startswith("https://")
        import ssl

        trust = ssl.create_default_context(cafile=certificates.ca)
        with httpx.Client(verify=trust, base_url=url) as client:
            assert client.get("api/nodes").status_code == 401
            headers = {"authorization": f"Bearer {TOKEN}"}
            assert client.get("api/nodes", headers=headers).status_code == 200
    bad = run_serd("dashboard", "--tls-cert", str(token), "--tls-key", str(token), home=tmp_path)
    assert bad.returncode == 2
    assert "--tls-cert and --tls-key cannot be used" in bad.stderr


def test_the_daemon_does_not_import_the_dashboard(tmp_path: Path) -> None:
    code = (
        "import sys, serd.daemon.process;"
        "print([m for m in sys.modules if 'dashboard' in m or 'starlette' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
