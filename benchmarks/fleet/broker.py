"""A private mosquitto on loopback with the limits of examples/fleet/home.conf, without logins."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from benchmarks.fleet.processes import peak_mb, processor_s

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "fleet" / "home.conf"
_KEPT: Final = re.compile(r"max_|autosave_interval|persistent_client")
_START_S: Final = 20.0


class Broker:
    """Context manager that runs a mosquitto.

    Args:
        folder: Folder for its configuration, log and database.

    Raises:
        FileNotFoundError: mosquitto is not installed.
        RuntimeError: It does not start.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which(
            "mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"
        )
        if program is None:
            raise FileNotFoundError("mosquitto is not installed (Debian: apt install mosquitto)")
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        limits = [line for line in EXAMPLE.read_text().splitlines() if _KEPT.match(line)]
        path = self._folder / "mosquitto.conf"
        path.write_text("\n".join([
            "user root", f"listener {self.port} 127.0.0.1", "allow_anonymous true",
            "persistence true", f"persistence_location {self._folder}/",
            "log_type error", "log_type warning", *limits, "",
        ]))  # fmt: skip
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", path], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"mosquitto does not start: {self.log()}") from None
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def processor_s(self) -> float:
        """CPU time so far, in seconds."""
        assert self._process is not None
        return processor_s(self._process.pid)

    @property
    def peak_mb(self) -> float:
        """Peak memory so far, in megabytes."""
        assert self._process is not None
        return peak_mb(self._process.pid)

    def log(self) -> str:
        """Its errors and warnings."""
        return (self._folder / "log").read_text(errors="replace").strip()


def version() -> str:
    """The version of mosquitto."""
    path = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"
    program = shutil.which("mosquitto", path=path) or "mosquitto"
    text = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"mosquitto version (\S+)", text)
    return found[1] if found else ""
