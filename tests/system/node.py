"""A real serd process, run by a test with its own configuration and journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TIMEOUT_S = 60.0
"""Time limit for anything a process does; generous, since only a failing test waits that long."""


def serd_command(*arguments: str) -> list[str]:
    """The command line that runs this environment's serd."""
    return [sys.executable, "-m", "serd", *arguments]


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables with HOME in a test folder and without this machine's serd settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SERD_")}
    kept.pop("NOTIFY_SOCKET", None)
    return {**kept, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), **(more or {})}


def run_serd(
    *arguments: str, home: Path, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run a serd command to completion."""
    done = subprocess.run(
        serd_command(*arguments),
        input=stdin,
        capture_output=True,
        cwd=home,
        env=environment(home, env),
        timeout=TIMEOUT_S,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    """Parse a text with one JSON object per line."""
    return [json.loads(line) for line in text.splitlines()]


class Node:
    """``serd run`` in the background; a context manager that always ends it.

    Args:
        home: Folder for its journal; also its working directory.
        port: Port of the broker on loopback.
        arguments: Additional command-line arguments.
        env: Additional environment variables.
        wrapper: Runs instead of ``python -m serd`` (a script that calls serd's main).
        node: Name of the node.
        stdin: What the process reads as standard input (a file descriptor).
    """

    def __init__(
        self,
        home: Path,
        port: int,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        node: str = "test-room",
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._stdin = stdin
        self.home = home
        self.name = node
        settings = (
            f"node={node}",
            "mqtt.host=127.0.0.1",
            f"mqtt.port={port}",
            f"journal.path={home / 'journal.db'}",
        )
        options = [part for setting in settings for part in ("--set", setting)]
        command = [*wrapper] if wrapper else serd_command()
        self.command = [*command, *options, "run", *arguments]
        self._env = environment(home, env)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()
        self.log: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self.command,
            cwd=self.home,
            env=self._env,
            stdin=self._stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="serd-log")
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._reader is not None:
            self._reader.join(TIMEOUT_S)
        assert self._process is not None
        if self._process.stderr is not None:
            self._process.stderr.close()

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it without a chance to clean up, as in a power cut."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def wait(self) -> int:
        """Wait until it ends; returns the exit code."""
        assert self._process is not None
        try:
            return self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"serd does not end; its log: {self.log}") from None

    def stop(self) -> int:
        """Send SIGTERM, as systemd does; returns the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait_log(self, text: str, *, count: int = 1) -> None:
        """Wait until that many lines of its log contain the text."""

        def seen() -> bool:
            return sum(text in line for line in self.log) >= count

        with self._changed:
            self._changed.wait_for(lambda: seen() or not self._reading, TIMEOUT_S)
            if not seen():
                raise AssertionError(f"{text!r} is not in the log of serd: {self.log}")

    @property
    def _reading(self) -> bool:
        return self._reader is not None and self._reader.is_alive()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self.log.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._reader = None
            self._changed.notify_all()
