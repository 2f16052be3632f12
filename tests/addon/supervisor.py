"""The environment of an add-on on Home Assistant OS: the Supervisor's API and its ingress.

The API is a small stand-in that follows the public description
(developers.home-assistant.io/docs/api/supervisor/endpoints): the same paths, token, statuses
and envelope. Ingress is an nginx that sends what the Supervisor sends, from its own address.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.broker import wait_until
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "a-token-of-the-supervisor"
INGRESS = "127.0.0.9"
"""The address of ingress; 172.30.32.2 on Home Assistant OS."""

PATH = "/api/hassio_ingress/kLmn0pQr"


class Supervisor:
    """The stand-in for the API; a context manager."""

    def __init__(self) -> None:
        self.mqtt: dict[str, Any] | None = None
        """What ``/services/mqtt`` returns; None if no add-on offers the service."""
        self.audio_input: str | None = None
        """The microphone chosen on the add-on's page."""
        self.requests: list[tuple[str, int]] = []
        """Every request, and the status of its response."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, response = outer.respond(self.path, self.headers.get("Authorization", ""))
                outer.requests.append((self.path, status))
                body = json.dumps(response).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def respond(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        """Status and envelope of the response to a request."""
        if authorization != f"Bearer {TOKEN}":
            return 401, {"result": "error", "message": "401: Unauthorized"}
        if path == "/services/mqtt":
            if self.mqtt is None:
                return 400, {"result": "error", "message": "Service not enabled"}
            return 200, {"result": "ok", "data": {"addon": "core_mosquitto", **self.mqtt}}
        if path == "/addons/self/info":
            data = {
                "name": "serd", "slug": "local_serd", "state": "started", "ip_address": "127.0.0.1",
                "ingress": True, "ingress_entry": PATH, "audio": True, "watchdog": True,
                "audio_input": self.audio_input, "audio_output": None,
            }  # fmt: skip
            return 200, {"result": "ok", "data": data}
        return 403, {"result": "error", "message": "403: Forbidden"}


_NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location = /hassio/ingress/local_serd {{
      default_type text/html;
      return 200 '<!doctype html><title>Home Assistant</title>
        <style>html,body,iframe{{margin:0;border:0;width:100%;height:99vh}}</style>
        <iframe src="{path}/"></iframe>';
    }}
    location {path}/ {{
      proxy_pass http://127.0.0.1:{dashboard}/;
      proxy_bind {ingress};
      proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Ingress-Path {path};
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Remote-User-Name anna;
    }}
  }}
}}
"""


@contextlib.contextmanager
def ingress(folder: Path, dashboard: int) -> Iterator[str]:
    """Run nginx as ingress; yields the address of Home Assistant."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    folder.mkdir()
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _NGINX.format(folder=folder, port=port, dashboard=dashboard, ingress=INGRESS, path=PATH)
    )
    command = [
        program,
        "-p",
        str(folder),
        "-e",
        str(folder / "error.log"),
        "-c",
        str(configuration),
    ]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: (folder / "pid").exists() or process.poll() is not None)
            assert process.poll() is None, (folder / "error.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
