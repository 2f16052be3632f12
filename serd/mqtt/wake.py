"""Interrupts a thread that waits for the network."""

from __future__ import annotations

import select
import socket


class Wake:
    """Interrupts a :meth:`Link.step` or a wait, from any thread or a signal handler."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """For ``poll``."""
        return self._read.fileno()

    def set(self) -> None:
        """Interrupt. Never blocks; an interruption that nobody has noticed yet does for more."""
        if self._rung:
            return
        self._rung = True
        try:
            self._write.send(b"\0")
        except (BlockingIOError, OSError):  # full, so it is set already; or closed
            return

    def clear(self) -> None:
        """Forget the interruptions so far."""
        try:
            while len(self._read.recv(64)) == 64:
                pass
        except (BlockingIOError, OSError):
            pass
        # Last: whoever found it set until now came before what the caller looks at next. The other
        # way round, the byte of one who came in between would be drained and no other ever sent.
        self._rung = False

    def wait(self, timeout: float) -> None:
        """Sleep until interrupted or ``timeout`` seconds have passed."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        poll.poll(max(0.0, timeout) * 1000)
        self.clear()

    def close(self) -> None:
        """Give the descriptors back."""
        self._read.close()
        self._write.close()

    def __del__(self) -> None:
        """An owner that never got to its end leaves no descriptors behind."""
        self.close()
