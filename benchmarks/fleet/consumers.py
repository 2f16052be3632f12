"""Runs several processes of examples/fleet/to_postgres.py that share a broker's events."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

from benchmarks.fleet.processes import processor_s

CONSUMER: Final = Path(__file__).parents[2] / "examples" / "fleet" / "to_postgres.py"
_WAIT_S: Final = 30.0


class Consumers:
    """Context manager that runs several consumers; each can be killed and restarted.

    Args:
        folder: Folder for their logs.
        port: Port of the broker on loopback.
        dsn: DSN of the database.
        count: Number of consumers.
        arguments: Further command-line arguments for each.
    """

    def __init__(
        self, folder: Path, port: int, dsn: str, *, count: int = 3, arguments: tuple[str, ...] = ()
    ) -> None:
        self._folder = folder
        self._command = [
            sys.executable, str(CONSUMER), "--port", str(port), "--dsn", dsn, "--log-every", "10",
            *arguments,
        ]  # fmt: skip
        self.names = [f"events-{number + 1}" for number in range(count)]
        self.spent_s = 0.0
        """CPU time of killed consumers, in seconds."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for name in self.names:
                self.start(name)
            for name in self.names:
                self.wait(name, "connected to the broker")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def start(self, name: str) -> None:
        """Start a consumer; its name is its client id."""
        with self.log_path(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self._command, "--client-id", name], stdin=subprocess.DEVNULL, stderr=log
            )
        self._started.append(self.processes[name])

    def kill(self, name: str) -> None:
        """Send SIGKILL, as the kernel does when memory runs out."""
        process = self.processes[name]
        self.spent_s += processor_s(process.pid)
        process.kill()
        process.wait()

    def end(self, name: str) -> int:
        """Send SIGTERM; returns the exit code."""
        self.processes[name].terminate()
        return self.processes[name].wait(_WAIT_S)

    def log_path(self, name: str) -> Path:
        """Path of a consumer's log."""
        return self._folder / f"{name}.log"

    def log(self, name: str) -> str:
        """Content of a consumer's log."""
        return self.log_path(name).read_text(errors="replace")

    def wait(self, name: str, text: str, *, times: int = 1) -> None:
        """Wait until a consumer has logged the text that many times.

        Raises:
            RuntimeError: It does not, or the process has ended.
        """
        deadline = time.monotonic() + _WAIT_S
        while self.log(name).count(text) < times:
            if time.monotonic() > deadline or self.processes[name].poll() is not None:
                raise RuntimeError(f"{name} never said {text!r}:\n{self.log(name)[-2000:]}")
            time.sleep(0.02)

    def figure(self, name: str, what: str) -> float:
        """The latest ``what=...`` in a consumer's log; 0 if there is none."""
        found = re.findall(rf"\b{what}=([\d.]+)", self.log(name))
        return float(found[-1]) if found else 0.0
