"""A stand-in for systemd that records a service's notifications."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from tests.broker import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WATCHDOG_S = 60.0
"""As in systemd/serd.service."""


class Manager:
    """Receives sd_notify messages; made by :func:`service_manager`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.1)
        self.env = {
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
            # Under a service manager the end of a pipe is an error; here it ends the test.
            "SERD_AUDIO__ON_END": "stop",
        }
        """For the service's environment."""
        self.messages: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="manager")
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(4096).decode()
                with self._changed:
                    self.messages.append((time.monotonic(), text))
                    self._changed.notify_all()

    def close(self) -> None:
        self._stopping = True
        self._thread.join()
        self._socket.close()

    @property
    def status(self) -> str:
        """What `systemctl status` would show."""
        with self._changed:
            statuses = [text for _, text in self.messages if text.startswith("STATUS=")]
        return statuses[-1].removeprefix("STATUS=") if statuses else ""

    def fed(self, since: float = 0.0) -> int:
        """How often the watchdog was fed since a monotonic time."""
        with self._changed:
            return sum(text == "WATCHDOG=1" for at, text in self.messages if at >= since)

    def wait(self, condition: Callable[[], bool], timeout: float = TIMEOUT_S) -> None:
        """Wait for a condition, which is checked after every message and every 0.2 s."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition():
                if time.monotonic() > deadline:
                    raise AssertionError(f"timed out; the last messages: {self.messages[-20:]}")
                self._changed.wait(0.2)

    def wait_for(self, text: str) -> None:
        """Wait for exactly this message."""
        self.wait(lambda: any(received == text for _, received in self.messages))

    def wait_status(self, part: str) -> None:
        """Wait until the status contains this."""
        self.wait(lambda: part in self.status)

    def wait_fed(self, times: int = 3) -> None:
        """Wait until the watchdog was fed that often from now on."""
        since = time.monotonic()
        self.wait(lambda: self.fed(since) >= times)


@contextlib.contextmanager
def service_manager(folder: Path) -> Iterator[Manager]:
    """A service manager for the duration of a ``with`` block."""
    manager = Manager(folder / "notify")
    try:
        yield manager
    finally:
        manager.close()
