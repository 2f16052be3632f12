"""A real, headless Home Assistant on loopback, and a client for its REST and WebSocket APIs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from websockets.sync.client import connect

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Json: TypeAlias = Any
_T = TypeVar("_T")

START_S: Final = 180.0
"""Time limit for a start, which takes about ten seconds on an idle machine."""

WAIT_S: Final = 60.0
"""Time limit for a condition; generous, since only a failing test waits that long."""

# Connections to loopback bypass any proxy of this machine.
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_CONFIGURATION: Final = """
homeassistant:
  name: Test home
  latitude: 52.0
  longitude: 5.0
  elevation: 0
  unit_system: metric
  currency: EUR
  country: NL
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: {port}
logger:
  default: warning
  logs:
    homeassistant.components.mqtt: info
    homeassistant.components.automation: info
automation: !include automations.yaml
"""


_PROBLEM: Final = re.compile(
    r"^[\d-]+ [\d:.]+ (WARNING|ERROR|CRITICAL) .*([Mm][Qq][Tt][Tt]|automation|serd)"
)
_BROKER_AWAY: Final = re.compile(
    r"\[paho\.mqtt\.client\]"
    r"|(Disconnected from|Failed to connect to|Error returned from) MQTT server"
)


class HomeAssistant:
    """One instance with its own configuration folder and the MQTT integration set up.

    Args:
        venv: The environment that :mod:`tests.homeassistant.environment` built.
        folder: Its configuration folder.
        broker_port: Port of the broker on loopback for its MQTT integration.
        automations: Text of automations.yaml, a YAML list.
        configuration: Additional lines for configuration.yaml.
    """

    def __init__(
        self,
        venv: Path,
        folder: Path,
        *,
        broker_port: int,
        automations: str = "[]",
        configuration: str = "",
    ) -> None:
        self._venv = venv
        self._folder = folder
        self._port = free_port()
        self._token: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.starts: list[float] = []
        """Seconds that each start took."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "configuration.yaml").write_text(
            _CONFIGURATION.format(port=self._port) + configuration
        )
        (folder / "automations.yaml").write_text(automations)
        self._store("core.config_entries", 1, 5, {"entries": [_mqtt_entry(broker_port)]})

    def start(self) -> None:
        """Start it and wait until it runs; the first start also creates its owner."""
        assert self._process is None
        started = time.monotonic()
        # Without the proxy and the virtual environment of the tests.
        keep = {"PATH", "LANG", "HOME", "TMPDIR"}
        environment = {name: value for name, value in os.environ.items() if name in keep}
        program = [str(self._venv / "bin" / "hass"), "--skip-pip", "--config", str(self._folder)]
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.wait("Home Assistant to respond", self._is_responding, timeout=START_S)
        if self._token is None:
            self._token = self._make_owner()
        self.wait(
            "Home Assistant to run",
            lambda: self.get("/api/config")["state"] == "RUNNING",
            timeout=START_S,
        )
        self.starts.append(time.monotonic() - started)

    def stop(self) -> None:
        """Shut it down cleanly, so that it saves its state."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    @property
    def problems(self) -> list[str]:
        """Warnings and errors about MQTT and automations since its first start.

        Messages about a lost connection to the broker do not count.
        """
        lines = (self._folder / "output.txt").read_text(errors="replace").splitlines()
        return [line for line in lines if _PROBLEM.search(line) and not _BROKER_AWAY.search(line)]

    def get(self, path: str) -> Json:
        """Send a GET request to the REST API.

        Raises:
            urllib.error.HTTPError: The response is an error.
        """
        return self._request(path, None)

    def post(self, path: str, data: Mapping[str, Json]) -> Json:
        """Post JSON to the REST API.

        Raises:
            urllib.error.HTTPError: The response is an error.
        """
        return self._request(path, json.dumps(data).encode())

    def act(self, action: str, **data: Json) -> None:
        """Perform an action such as ``switch.turn_on``."""
        domain, _, name = action.partition(".")
        self.post(f"/api/services/{domain}/{name}", data)

    def state(self, entity: str) -> Json:
        """State, attributes and times of an entity; None if there is no such entity."""
        try:
            return self.get(f"/api/states/{entity}")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise

    def value(self, entity: str) -> str | None:
        """The bare state of an entity; None if there is no such entity."""
        found = self.state(entity)
        return None if found is None else found["state"]

    def attribute(self, entity: str, name: str) -> Json:
        """One attribute of an entity; None if either is missing."""
        found = self.state(entity)
        return None if found is None else found["attributes"].get(name)

    def wait_value(self, entity: str, value: str) -> None:
        """Wait until an entity has this state."""
        self.wait(f"{entity} to be {value!r}", lambda: self.value(entity) == value)

    def wait_attribute(self, entity: str, name: str, value: Json) -> None:
        """Wait until an attribute of an entity has this value."""
        self.wait(
            f"{name} of {entity} to be {value!r}", lambda: self.attribute(entity, name) == value
        )

    def wait_available(self, entity: str) -> None:
        """Wait until an entity exists and is available."""
        self.wait(
            f"{entity} to be available", lambda: self.value(entity) not in {None, "unavailable"}
        )

    def render(self, template: str) -> str:
        """Render a template."""
        request = self._make_request("/api/template", json.dumps({"template": template}).encode())
        with _OPENER.open(request, timeout=WAIT_S) as response:
            text: str = response.read().decode()
        return text

    def command(self, kind: str, **data: Json) -> Json:
        """Run a WebSocket command and return its result, e.g. ``config/entity_registry/list``."""
        address = f"ws://127.0.0.1:{self._port}/api/websocket"
        with connect(address, max_size=None, open_timeout=WAIT_S, proxy=None) as socket:
            assert json.loads(socket.recv(WAIT_S))["type"] == "auth_required"
            socket.send(json.dumps({"type": "auth", "access_token": self._token}))
            assert json.loads(socket.recv(WAIT_S))["type"] == "auth_ok"
            socket.send(json.dumps({"id": 1, "type": kind, **data}))
            response = json.loads(socket.recv(WAIT_S))
        assert response["success"], response
        return response["result"]

    def wait(self, what: str, condition: Callable[[], _T], *, timeout: float = WAIT_S) -> _T:
        """Wait until the condition is true and return its result; fails after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        while True:
            assert self._process is not None
            if result := condition():
                return result
            status = self._process.poll()
            if status is not None or time.monotonic() > deadline:
                ended = "" if status is None else f"; Home Assistant ended with status {status}"
                output = (self._folder / "output.txt").read_text(errors="replace")[-8000:]
                raise AssertionError(f"timed out waiting for {what}{ended}\n{output}")
            time.sleep(0.1)

    def _is_responding(self) -> bool:
        try:
            self._request("/api/onboarding", None)
        except OSError:  # refused, reset, or 404 while components are still being set up
            return False
        return True

    def _make_owner(self) -> str:
        """Complete onboarding as the web page does, and log in."""
        client = f"http://127.0.0.1:{self._port}/"
        owner = {"client_id": client, "name": "Owner", "username": "owner", "language": "en"}
        code = self.post("/api/onboarding/users", {**owner, "password": "for the test only"})
        form = {"grant_type": "authorization_code", "client_id": client, "code": code["auth_code"]}
        request = urllib.request.Request(
            f"{client}auth/token", urllib.parse.urlencode(form).encode()
        )
        with _OPENER.open(request, timeout=WAIT_S) as response:
            token: str = json.load(response)["access_token"]
        return token

    def _make_request(self, path: str, data: bytes | None) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, headers)

    def _request(self, path: str, data: bytes | None) -> Json:
        with _OPENER.open(self._make_request(path, data), timeout=WAIT_S) as response:
            return json.load(response)

    def _store(self, key: str, version: int, minor: int, data: Json) -> None:
        path = self._folder / ".storage" / key
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            json.dumps({"version": version, "minor_version": minor, "key": key, "data": data})
        )


@contextlib.contextmanager
def home_assistant(
    venv: Path,
    folder: Path,
    *,
    broker_port: int,
    automations: str = "[]",
    configuration: str = "",
) -> Iterator[HomeAssistant]:
    """Run Home Assistant inside a ``with`` block; arguments as for the class."""
    home = HomeAssistant(
        venv,
        folder,
        broker_port=broker_port,
        automations=automations,
        configuration=configuration,
    )
    try:
        home.start()
        yield home
    finally:
        home.stop()


def _mqtt_entry(broker_port: int) -> Json:
    """The MQTT integration as if it had been added on the web page."""
    at = "2025-01-01T00:00:00+00:00"
    return {
        "created_at": at,
        "data": {"broker": "127.0.0.1", "port": broker_port},
        "disabled_by": None,
        "discovery_keys": {},
        "domain": "mqtt",
        "entry_id": "01JGFJJZ00SERDTESTSMQTT000",
        "minor_version": 1,
        "modified_at": at,
        "options": {},
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "subentries": [],
        "title": "MQTT",
        "unique_id": None,
        "version": 1,
    }
