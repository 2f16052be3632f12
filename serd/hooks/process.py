"""One run of a program: standard input, output, a time limit, and nothing left behind.

The program runs in a session of its own, so that Ctrl-C on the terminal of serd is not for it, and
so that whatever it starts can be ended with it: when the program has ended or is out of time, all
of its process group is killed. (A process that leaves the group with ``setsid`` is on its own.)
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

import msgspec

from serd.program import ending, environment, signal_group

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEPT_OUTPUT: Final = 2000
"""Bytes of output that are kept for the log; the rest is read and thrown away."""

GRACE_S: Final = 1.0
"""What a program gets between the polite signal and the other one."""

_LOOK_S: Final = 0.05
"""How often a running program is looked at: select cannot wait for a child and a pipe at once."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    trouble: str | None = None
    """What went wrong, as the end of a sentence; None if the program left with 0."""
    output: str = ""
    """The beginning of what it wrote to standard output and standard error."""
    abandoned: bool = False
    """Whether it was ended because serd ends."""


def run(
    command: Sequence[str],
    payload: bytes,
    *,
    timeout_s: float,
    give_up: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run a program to its end, or to the end of its time. Never raises for what it does.

    Args:
        command: The program and its arguments; no shell is involved.
        payload: What it may read on standard input, at most what a pipe holds (64 KiB). It need
            not.
        timeout_s: Seconds after which it is ended.
        give_up: Asked now and then: True ends it early.
    """
    try:
        process = subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Outcome(trouble=f"cannot be started: {reason}")
    with process:
        try:
            return _watch(process, payload, time.monotonic() + timeout_s, timeout_s, give_up)
        finally:
            _end(process)


def _watch(
    process: subprocess.Popen[bytes],
    payload: bytes,
    deadline: float,
    timeout_s: float,
    give_up: Callable[[], bool],
) -> Outcome:
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101
    os.set_blocking(process.stdin.fileno(), False)
    # A program that does not read, or has gone already, has done nothing wrong.
    with contextlib.suppress(OSError):
        process.stdin.write(payload)
    with contextlib.suppress(OSError):
        process.stdin.close()
    output = _Output(process.stdout.fileno())
    trouble = None
    abandoned = False
    while not _has_ended(process):
        if time.monotonic() >= deadline:
            trouble = f"was ended: it took longer than {timeout_s:g} s"
            break
        if give_up():
            abandoned, trouble = True, "was ended: serd ends"
            break
        output.wait(_LOOK_S)
    if trouble is not None:
        _terminate(process, output)
    output.wait(0)
    # Not reaped yet, so its number cannot be another's: what it left behind ends now.
    signal_group(process.pid, signal.SIGKILL)
    code = process.wait()
    if trouble is None and code:
        trouble = ending(code)
    return Outcome(trouble=trouble, output=output.text(), abandoned=abandoned)


class _Output:
    """Keeps the beginning of what comes out of a pipe, and empties it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._kept = bytearray()
        self._open = True
        os.set_blocking(handle, False)

    def wait(self, seconds: float) -> None:
        """Read what is there, or comes within the time."""
        if not self._open:
            time.sleep(seconds)
            return
        if not select.select([self._handle], [], [], seconds)[0]:
            return
        try:
            data = os.read(self._handle, 65_536)
        except BlockingIOError:
            return
        self._open = bool(data)
        self._kept += data[: KEPT_OUTPUT - len(self._kept)]

    def text(self) -> str:
        """What was kept, in one line and printable: it goes to the log."""
        words = " ".join(self._kept.decode(errors="replace").split())
        return "".join(sign if sign.isprintable() else "?" for sign in words)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the program has ended, without reaping it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _terminate(process: subprocess.Popen[bytes], output: _Output) -> None:
    """Ask all of the group to end, and wait a moment for the program itself."""
    signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while not _has_ended(process) and time.monotonic() < deadline:
        output.wait(_LOOK_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened: no process stays."""
    if process.returncode is None:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
