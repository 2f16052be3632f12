"""``python -m serd.addon``: run the daemon and the dashboard in the add-on's container."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from serd.addon.microphone import APPLICATION, MicrophoneWatch
from serd.addon.supervisor import ADDRESS, Supervisor, configuration
from serd.errors import InputError, SerdError, UnavailableError
from serd.interruption import SignalEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

HEALTH_PORT: Final = 7374
"""Port on loopback where the daemon answers the container's health check."""

_STOP_S: Final = 8.0
_RETRY_S: Final = 15.0
_DASHBOARD_PAUSE_S: Final = 5.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("/data"), show_default=True)
@click.option("--supervisor", default=ADDRESS, show_default=True, help="The Supervisor's address.")
@click.option(
    "--ingress", default="172.30.32.2", show_default=True, help="Address of the ingress proxy."
)
@click.option("--host", default="0.0.0.0", show_default=True, help="The dashboard's address.")  # noqa: S104
@click.option("--port", default=8099, show_default=True, help="The dashboard's port.")
def main(data: Path, supervisor: str, ingress: str, host: str, port: int) -> None:
    """Run serd as a Home Assistant add-on: options, broker and microphone from the Supervisor."""
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S",
                        level=logging.INFO)  # fmt: skip
    logging.addLevelName(logging.INFO, "info")
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.ERROR, "error")
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    launcher = Launcher(data, Supervisor(token, supervisor), ingress=ingress, port=port, host=host)
    try:
        sys.exit(launcher.run())
    except SerdError as error:
        log.error("%s", error)  # noqa: TRY400 - no bug
        sys.exit(error.exit_code)


class Launcher:
    """Runs the daemon and the dashboard until the daemon ends or a signal arrives.

    Args:
        data: The add-on's folder, which contains options.json and the journal.
        supervisor: Knows the broker and the microphone.
        ingress: Address of Home Assistant's ingress proxy.
        port: The dashboard's port.
        host: The dashboard's address.
    """

    def __init__(
        self, data: Path, supervisor: Supervisor, *, ingress: str, port: int, host: str
    ) -> None:
        self._data = data
        self._supervisor = supervisor
        self._dashboard_options = ("--host", host, "--port", str(port), "--ingress", ingress)
        self._config = data / "serd.json"
        self._microphone_changed = threading.Event()
        self._stopping = SignalEvent()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._dashboard: subprocess.Popen[bytes] | None = None
        self._dashboard_started = 0.0

    def run(self) -> int:
        """Run, and return the daemon's exit code.

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
            watch = MicrophoneWatch(microphone, self._microphone_changed.set)
            watch.start()
            log.info("the microphone is %s, as chosen on the add-on's page", watch.name)
        try:
            return self._supervise(watch)
        finally:
            if watch is not None:
                watch.stop()
            _stop(self._daemon, self._dashboard)

    def _prepare(self) -> tuple[dict[str, Any], str | None] | None:
        """The configuration and the microphone; None if a signal arrives while waiting for them."""
        last_warning = ""
        while True:
            settings = configuration(_read_options(self._data / "options.json"))
            try:
                mqtt = settings.setdefault("mqtt", {})
                if "host" not in mqtt:
                    mqtt.update(self._broker() | mqtt)
                microphone = self._supervisor.microphone()
                break
            except UnavailableError as error:
                if str(error) != last_warning:
                    log.warning("%s; trying again every %.0f s", error, _RETRY_S)
                    last_warning = str(error)
            if self._stopping.wait(_RETRY_S):
                return None
        settings["audio"] = {"source": "mic"} | settings.get("audio", {})
        settings["journal"] = {"path": str(self._data / "journal.db")} | settings.get("journal", {})
        settings["metrics"] = {"port": HEALTH_PORT}
        log.info("the broker is %s:%s", mqtt["host"], mqtt.get("port", 1883))
        return settings, microphone

    def _broker(self) -> dict[str, Any]:
        broker = self._supervisor.broker()
        if broker is None:
            raise UnavailableError(
                "there is no MQTT broker: Home Assistant knows none",
                remedy="install the add-on Mosquitto broker, or set mqtt_host in the options",
            )
        return broker

    def _supervise(self, watch: MicrophoneWatch | None) -> int:
        """Keep both running; the daemon is restarted when the microphone's name changes."""
        while not self._stopping.wait(0.2):
            if self._daemon is None:
                self._daemon = self._start_daemon(None if watch is None else watch.name)
            if self._microphone_changed.is_set():
                self._microphone_changed.clear()
                _stop(self._daemon)
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
        """Start the dashboard, and restart it after a pause if it ends: serd can do without it."""
        dashboard = self._dashboard
        if dashboard is not None and dashboard.poll() is None:
            return
        now = time.monotonic()
        if dashboard is not None and now - self._dashboard_started < _DASHBOARD_PAUSE_S:
            return
        if dashboard is not None:
            log.error("the dashboard has ended with exit code %d and is restarted",
                      dashboard.returncode)  # fmt: skip
        self._dashboard_started = now
        self._dashboard = self._start("dashboard", *self._dashboard_options, env=os.environ)

    def _start(self, *arguments: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "serd", "--config", str(self._config), *arguments]
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, cwd=self._data)


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the add-on's options cannot be read: {error}") from None
    if not isinstance(options, dict):
        raise InputError(f"{path}: the add-on's options are not a JSON object")
    return options


def _write(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the configuration (JSON is YAML), readable by this user only: it contains a login."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - its mode
        json.dump(settings, file, indent=2)
        file.write("\n")


def _stop(*processes: subprocess.Popen[bytes] | None) -> None:
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


if __name__ == "__main__":
    main()
