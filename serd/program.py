"""Other programs that serd starts: what they are given, how they are listened to and ended.

A program never runs through a shell. It runs in a session of its own, so that Ctrl-C on the
terminal of serd is not for it, and so that whatever it starts can be ended with it. (A process that
leaves its group with ``setsid`` is on its own.)
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PASSED_ON: Final = (
    "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR",
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",  # without these nothing reaches a desktop
)  # fmt: skip
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

GRACE_S: Final = 0.5
"""Between the polite signal and the other one."""

KEPT_ERRORS: Final = 4000
"""Bytes of what a program says on standard error that are kept, the newest."""

PIECE: Final = 65_536
"""Bytes that are read at once: what a pipe holds."""

_LOOK_S: Final = 0.01


def environment(
    env: Mapping[str, str] | None = None, *, more: Sequence[str] = ()
) -> dict[str, str]:
    """The environment of a program: a few plain variables, and no setting or secret of serd's.

    Args:
        env: Where to take them from; this process's environment if None.
        more: Beginnings of further variables' names that are passed on.
    """
    env = os.environ if env is None else env
    kept = {name: env[name] for name in PASSED_ON if name in env}
    kept |= {name: value for name, value in env.items() if name.startswith(tuple(more))}
    return {"PATH": env.get("PATH") or PATH, **kept}


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a program and to all that it has started."""
    # ProcessLookupError: all have gone. PermissionError: one has become another user (sudo).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def ending(code: int) -> str:
    """How a program ended, as the end of a sentence, from its return code."""
    if code >= 0:
        return f"left with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class Child:
    """A running program whose standard output is read, as it comes, by one thread.

    Its standard error is kept, the newest of it, and never fills up.

    Args:
        command: The program and its arguments.
        env: Its environment.
        stdin: A file descriptor for its standard input; nothing to read if None.
        pass_fds: File descriptors that it inherits beside the three.

    Raises:
        OSError: It cannot be started.
        ValueError: An argument holds a null character.
    """

    def __init__(
        self,
        command: Sequence[str | bytes],
        *,
        env: Mapping[str, str],
        stdin: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            [*command],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            pass_fds=pass_fds,
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        assert self._process.stderr is not None  # noqa: S101
        self._out = self._process.stdout.fileno()
        self._errors = self._process.stderr.fileno()
        os.set_blocking(self._errors, False)
        self._wake, self._waker = os.pipe()
        self._poll = select.poll()
        for fd in (self._out, self._errors, self._wake):
            self._poll.register(fd, select.POLLIN)
        self._said = bytearray()
        self._ending = self._ended = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process number, which is also its group's."""
        return self._process.pid

    @property
    def said(self) -> str:
        """The newest of what it wrote to standard error."""
        return self._said.decode(errors="replace")

    def read(self, timeout: float) -> bytes | None:
        """Wait at most so many seconds for the next bytes of its standard output.

        Returns:
            Some bytes; none at all (``b""``) at the end of the output, or when :meth:`end` was
            called; None if nothing came.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready = {fd for fd, _ in self._poll.poll(left * 1000.0)}
            if self._ending:
                return b""
            if self._errors in ready:
                self._hear_errors()
            if self._out in ready:
                return os.read(self._out, PIECE)
            if not left:
                return None

    def _hear_errors(self) -> None:
        try:
            data = os.read(self._errors, PIECE)
        except BlockingIOError:
            return
        if not data:
            self._poll.unregister(self._errors)
        self._said += data
        del self._said[:-KEPT_ERRORS]

    def wait(self, timeout: float) -> int | None:
        """Its return code once it has ended; None if it has not ended in so many seconds."""
        deadline = time.monotonic() + timeout
        while (code := self._code()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        with contextlib.suppress(KeyError):  # what it said last
            self._hear_errors()
        return code

    def _code(self) -> int | None:
        """Its return code if it has ended, without reaping it: its number stays its own."""
        if self._process.returncode is not None:
            return self._process.returncode
        try:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self._process.poll()
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def interrupt(self) -> None:
        """Let a :meth:`read` that waits in another thread return, now and from now on."""
        with self._lock:
            self._ending = True
            if not self._ended:  # else the descriptor may be another's by now
                os.write(self._waker, b"x")

    def end(self) -> None:
        """End it and all that it has started: politely, then not. Not while another reads."""
        self.interrupt()
        with self._lock:
            if self._ended:
                return
            self._ended = True
        signal_group(self.pid, signal.SIGTERM)
        self.wait(GRACE_S)
        # Not reaped yet, so its number cannot be another's: what it left behind ends now.
        signal_group(self.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        for fd in (self._wake, self._waker):
            os.close(fd)
