"""Reports the daemon's state to systemd: ready, alive, reloading, stopping.

The protocol is one datagram of ``KEY=VALUE`` lines to the UNIX socket that systemd names in
``$NOTIFY_SOCKET`` (sd_notify(3)); a leading ``@`` stands for the abstract namespace. Without that
variable nothing is sent, so the daemon behaves the same in a terminal.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """The connection to the service manager; does nothing where there is none.

    Args:
        environ: Where to look up ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``; the process's own
            environment if None.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        self._status = ""
        self.watchdog_s = _watchdog_seconds(environ)
        """Interval at which systemd expects a keep-alive; None if it expects none."""
        if address.startswith(("/", "@")):
            self._address = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def ready(self) -> None:
        """Every pipeline is running."""
        self._send("READY=1")

    def status(self, sentence: str) -> None:
        """Set the line that `systemctl status` shows; sent only when it changes."""
        if sentence != self._status:
            self._status = sentence
            self._send(f"STATUS={sentence}")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The daemon restarts with a new configuration; :meth:`ready` ends the reload."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={usec}")

    def stopping(self) -> None:
        """The daemon is stopping."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        # A full or missing socket must not stop the daemon.
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC in seconds, if it is meant for this process (sd_watchdog_enabled(3))."""
    usec = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6
