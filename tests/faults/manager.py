"""A stand-in for systemd: what a service says of itself, as it says it."""

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
            # Under a service manager a pipe that ends is a fault; here it ends the test.
            "SERD_AUDIO__ON_END": "stop",
        }
        """For the service's environment."""
        self.messages: list[tuple[float, str]] = []
        self._news = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="manager")
        self._thread.start()

    def _run(self) -> None:
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(4096).decode()
                with self._news:
                    self.messages.append((time.monotonic(), text))
                    self._news.notify_all()

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self._socket.close()

    @property
    def status(self) -> str:
        """What `systemctl status` would show."""
        with self._news:
            told = [text for _, text in self.messages if text.startswith("STATUS=")]
        return told[-1].removeprefix("STATUS=") if told else ""

    def fed(self, since: float = 0.0) -> int:
        """How often the watchdog was fed since a moment (monotonic)."""
        with self._news:
            return sum(text == "WATCHDOG=1" for at, text in self.messages if at >= since)

    def wait(self, condition: Callable[[], bool], timeout: float = TIMEOUT_S) -> None:
        """Wait until something is so; looked at after every message, and now and then."""
        deadline = time.monotonic() + timeout
        with self._news:
            while not condition():
                if time.monotonic() > deadline:
                    raise AssertionError(f"did not come; the last messages: {self.messages[-20:]}")
                self._news.wait(0.2)

    def wait_for(self, text: str) -> None:
        """Wait until this very message has come."""
        self.wait(lambda: any(said == text for _, said in self.messages))

    def wait_status(self, part: str) -> None:
        """Wait until the status contains this."""
        self.wait(lambda: part in self.status)

    def wait_fed(self, times: int = 3) -> None:
        """Wait until the watchdog was fed that often from now on."""
        since = time.monotonic()
        self.wait(lambda: self.fed(since) >= times)


@contextlib.contextmanager
def service_manager(folder: Path) -> Iterator[Manager]:
    """A service manager for the time of a ``with`` block."""
    manager = Manager(folder / "notify")
    try:
        yield manager
    finally:
        manager.close()
