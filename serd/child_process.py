"""Child processes: their environment, reading their output, ending them.

Children never run through a shell. Each runs in a session of its own, so that Ctrl-C in serd's
terminal does not reach it, and so that whatever it starts can be ended with it. (A process that
leaves its group with ``setsid`` escapes.)
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
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",  # needed to reach a desktop session
)  # fmt: skip
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

GRACE_S: Final = 0.5
"""Time between SIGTERM and SIGKILL."""

KEPT_ERRORS: Final = 4000
"""Bytes of standard error that are kept: the newest."""

PIECE: Final = 65_536
"""Bytes read at once: the capacity of a pipe."""

_LOOK_S: Final = 0.01


def environment(
    env: Mapping[str, str] | None = None, *, more: Sequence[str] = ()
) -> dict[str, str]:
    """The environment for a child: a few plain variables, none of serd's settings or secrets.

    Args:
        env: Where to take them from; this process's environment if None.
        more: Prefixes of further variables to pass on.
    """
    env = os.environ if env is None else env
    kept = {name: env[name] for name in PASSED_ON if name in env}
    kept |= {name: value for name, value in env.items() if name.startswith(tuple(more))}
    return {"PATH": env.get("PATH") or PATH, **kept}


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a child and everything it has started."""
    # ProcessLookupError: all are gone. PermissionError: one has changed user (sudo).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def ending(code: int) -> str:
    """How a process ended, as the end of a sentence, from its return code."""
    if code >= 0:
        return f"left with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class Child:
    """A running child whose standard output is read by one thread as it arrives.

    The newest part of its standard error is kept, and its pipe never fills up.

    Args:
        command: Program and arguments.
        env: Its environment.
        stdin: File descriptor for its standard input; None: empty.
        pass_fds: Further file descriptors that it inherits.

    Raises:
        OSError: It cannot be started.
        ValueError: An argument contains a null character.
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
        """Its process id, which is also its group id."""
        return self._process.pid

    @property
    def said(self) -> str:
        """The newest part of what it wrote to standard error."""
        return self._said.decode(errors="replace")

    def read(self, timeout: float) -> bytes | None:
        """Wait for the next bytes of its standard output.

        Args:
            timeout: Seconds.

        Returns:
            Some bytes; ``b""`` at the end of the output or after :meth:`end`; None on time-out.
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
        """Wait for it to end; returns its return code, or None after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (code := self._code()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        with contextlib.suppress(KeyError):  # its last words on standard error
            self._hear_errors()
        return code

    def _code(self) -> int | None:
        """Its return code if it has ended, without reaping it, so that its id is not reused."""
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
        """Make :meth:`read` return, in another thread too, now and from now on."""
        with self._lock:
            self._ending = True
            if not self._ended:  # otherwise the descriptor may be reused by now
                os.write(self._waker, b"x")

    def end(self) -> None:
        """End it and everything it has started: SIGTERM, then SIGKILL. Not during a read."""
        self.interrupt()
        with self._lock:
            if self._ended:
                return
            self._ended = True
        signal_group(self.pid, signal.SIGTERM)
        self.wait(GRACE_S)
        # Not reaped yet, so its id cannot have been reused.
        signal_group(self.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        for fd in (self._wake, self._waker):
            os.close(fd)
