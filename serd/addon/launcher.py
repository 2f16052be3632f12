"""Starts the daemon and the dashboard in the add-on's container, and ends with the daemon."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from serd.addon.microphone import APPLICATION, MicrophoneWatch
from serd.addon.options import configuration
from serd.errors import InputError, SerdError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from serd.addon.supervisor import Supervisor

log = logging.getLogger(__name__)

HEALTH_PORT: Final = 7374
"""Where the daemon answers the container's health check, on loopback."""

_STOP_S: Final = 8.0
_RETRY_S: Final = 15.0
_DASHBOARD_PAUSE_S: Final = 5.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Launcher:
    """Runs both until the daemon ends or a signal comes.

    Args:
        data: The add-on's folder: options.json is read there, the journal kept.
        supervisor: Knows the broker and the microphone.
        ingress: Address of Home Assistant's ingress proxy.
        port: Where it finds the dashboard.
    """

    def __init__(
        self, data: Path, supervisor: Supervisor, *, ingress: str, port: int, host: str
    ) -> None:
        self._data = data
        self._supervisor = supervisor
        self._page = ("--host", host, "--port", str(port), "--ingress", ingress)
        self._config = data / "serd.json"
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._dashboard: subprocess.Popen[bytes] | None = None
        self._dashboard_at = 0.0

    def run(self) -> int:
        """Run; the exit code of the daemon.

        Raises:
            SerdError: The options cannot be read.
        """
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self._stopping.set())
        prepared = self._prepare()
        if prepared is None:
            return 0
        settings, microphone = prepared
        _write(self._config, settings)
        watch = None
        if microphone is not None:
            watch = MicrophoneWatch(microphone, lambda _: self._changed.set())
            watch.start()
            log.info("the microphone is %s, as chosen on the add-on's page", watch.name)
        try:
            return self._watch(watch)
        finally:
            if watch is not None:
                watch.stop()
            _end(self._daemon, self._dashboard)

    def _prepare(self) -> tuple[dict[str, Any], str | None] | None:
        """The configuration and the microphone; None if a signal came while waiting for them."""
        said = ""
        while True:
            settings = configuration(_options(self._data / "options.json"))
            try:
                mqtt = settings.setdefault("mqtt", {})
                if "host" not in mqtt:
                    mqtt.update(self._broker() | mqtt)
                microphone = self._supervisor.microphone()
                break
            except UnavailableError as error:
                if str(error) != said:
                    log.warning("%s; tried again every %.0f s", error, _RETRY_S)
                    said = str(error)
            if self._stopping.wait(_RETRY_S):
                return None
        settings["audio"] = {"source": "mic"} | settings.get("audio", {})
        settings["journal"] = {"path": str(self._data / "journal.db")} | settings.get("journal", {})
        settings["metrics"] = {"port": HEALTH_PORT}
        log.info("the broker is %s:%s", mqtt["host"], mqtt.get("port", 1883))
        return settings, microphone

    def _broker(self) -> dict[str, Any]:
        found = self._supervisor.broker()
        if found is None:
            raise UnavailableError(
                "there is no MQTT broker: Home Assistant knows none",
                remedy="install the add-on Mosquitto broker, or set mqtt_host in the options",
            )
        return found

    def _watch(self, watch: MicrophoneWatch | None) -> int:
        while not self._stopping.wait(0.2):
            if self._daemon is None:
                self._daemon = self._start_daemon(None if watch is None else watch.name)
            if self._changed.is_set():
                self._changed.clear()
                _end(self._daemon)
                self._daemon = None
                continue
            if (code := self._daemon.poll()) is not None:
                log.error("serd has ended with exit code %d", code)
                return code if code > 0 else 128 - code
            self._keep_dashboard()
        return 0

    def _start_daemon(self, microphone: str | None) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PULSE_PROP": f"application.id={APPLICATION} application.name=serd"}
        if microphone is not None:
            env["PULSE_SOURCE"] = microphone
        return self._start("run", env=env)

    def _keep_dashboard(self) -> None:
        """Start the dashboard, again after a pause if it has ended: serd does without it."""
        running = self._dashboard
        if running is not None and running.poll() is None:
            return
        now = time.monotonic()
        if running is not None and now - self._dashboard_at < _DASHBOARD_PAUSE_S:
            return
        if running is not None:
            log.error("the dashboard has ended with exit code %d and is started again",
                      running.returncode)  # fmt: skip
        self._dashboard_at = now
        self._dashboard = self._start("dashboard", *self._page, env=os.environ)

    def _start(self, *arguments: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "serd", "--config", str(self._config), *arguments]
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, cwd=self._data)


def _options(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the add-on's options cannot be read: {error}") from None
    if not isinstance(options, dict):
        raise InputError(f"{path}: the add-on's options are no object")
    return options


def _write(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the configuration (JSON is YAML), for this user alone: it holds the broker's login."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - its mode
        json.dump(settings, file, indent=2)
        file.write("\n")


def _end(*processes: subprocess.Popen[bytes] | None) -> None:
    running = [process for process in processes if process is not None and process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + _STOP_S
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main_error(error: SerdError) -> int:
    """Say what went wrong; the exit code."""
    log.error("%s", error)
    return error.exit_code
