"""A daemon as a process of its own, and what it costs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

WAV_HEADER: Final = 44
"""Bytes before the samples in a WAV file as the module wave writes it."""

SETTLED_S: Final = 3.0
"""Seconds after READY from which on a daemon does what it will do for ever."""

LOOK_S: Final = 1.0
"""Seconds between two looks at the processor time."""

UNWANTED: Final = ("SERD_", "PYTHONDONTWRITEBYTECODE")
"""Beginnings of environment variables that would make it another daemon than the one installed: its
settings, and a Python that compiles all of serd at each start."""

TIMEOUT_S: Final = 600.0
"""Longest that anything here is waited for."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a process has used from its start to its end."""

    marks: dict[str, float] = {}
    """What the process told the service manager, and the second after its start at which it first
    said so; ``READY=1`` is readiness (sd_notify(3))."""
    wall_s: float
    """Seconds from start to end."""
    cpu_s: float
    """Processor time, user and system."""
    peak_rss_mb: float
    """Greatest resident memory, private and shared, in 10^6 bytes."""
    steady_percent: float | None = None
    """Processor time in the seconds between `SETTLED_S` after READY and the end, or the last look
    before it, per cent of one core; None if it ended before."""
    written_mb: float
    """What the kernel counts as written to disks, in 10^6 bytes."""


def run_daemon(
    source: Path, *, port: int, home: Path, pace: Literal["real", "fast", "piped"]
) -> Cost:
    """Run ``serd run`` on a recording to its end, with a journal of its own.

    Args:
        source: The recording: a 16-bit mono WAV file at 16 kHz with the plainest header.
        port: Of the broker on 127.0.0.1.
        home: Folder for the journal, and for the socket on which READY comes.
        pace: ``real`` or ``fast``; or ``piped``: its samples on standard input, as fast as they
            are taken. All of them wait already, so serd takes them by the second, as it does
            whenever it is behind.

    Returns:
        What it cost.

    Raises:
        UnavailableError: If it failed or did not end.
    """
    settings = (
        f"audio.source={'-' if pace == 'piped' else source}",
        f"audio.pace={'real' if pace == 'real' else 'fast'}",
        "node=bench",
        "mqtt.host=127.0.0.1",
        f"mqtt.port={port}",
        "mqtt.discovery=false",
        f"journal.path={home / 'journal.db'}",
        "log.level=warning",
    )
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "serd", "run", *options]
    if pace != "piped":
        return run(command, home=home)
    with source.open("rb", buffering=0) as samples:
        samples.seek(WAV_HEADER)
        return run(command, home=home, stdin=samples.fileno())


def run(command: Sequence[str], *, home: Path, stdin: int = subprocess.DEVNULL) -> Cost:
    """Run a command to its end and measure it; its READY is heard as systemd would hear it.

    Args:
        command: The program and its arguments.
        home: Folder for the socket on which READY comes.
        stdin: File descriptor of its standard input.

    Returns:
        What it cost.

    Raises:
        UnavailableError: If it failed or did not end.
    """
    address = home / "notify.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(address))
        ear.settimeout(0.02)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(UNWANTED)}
        begun = time.monotonic()
        child = subprocess.Popen(
            command,
            env={**kept, "NOTIFY_SOCKET": str(address)},
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        marks: dict[str, float] = {}
        peak = 0
        looks: list[tuple[float, float]] = []
        while True:
            # Not ru_maxrss: that begins with what its parent had when it forked.
            peak = max(peak, _peak_bytes(child.pid))
            # wait4 and not poll(): the processor time of this one child, and of no other.
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            try:
                for line in ear.recv(4096).decode(errors="replace").splitlines():
                    marks.setdefault(line, time.monotonic() - begun)
            except TimeoutError:
                pass
            elapsed = time.monotonic() - begun
            settled = marks.get("READY=1", TIMEOUT_S) + SETTLED_S
            if elapsed >= max(settled, looks[-1][0] + LOOK_S if looks else 0.0):
                used = _processor_s(child.pid)
                looks += [(elapsed, used)] if used is not None else []
            if elapsed > TIMEOUT_S:
                child.send_signal(signal.SIGKILL)
        wall_s = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.stderr is not None  # noqa: S101 - it is a pipe
    with child.stderr as stream:
        last = stream.read().decode(errors="replace").strip().splitlines()[-3:]
    if child.returncode:
        raise UnavailableError(
            f"{' '.join(command[:4])} failed with {child.returncode}: {' | '.join(last)}"
        )
    return Cost(
        marks=marks,
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        steady_percent=_slope(looks),
        peak_rss_mb=peak / 1e6,
        written_mb=usage.ru_oublock * 512 / 1e6,
    )


def _peak_bytes(pid: int) -> int:
    """Greatest resident memory of a process so far (VmHWM, proc(5)); 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _processor_s(pid: int) -> float | None:
    """Processor time of all threads that a process now has; None if it has ended.

    From their schedstat, in nanoseconds, where the kernel keeps it; else from its ticks (proc(5)).
    """
    try:
        if Path("/proc/self/schedstat").exists():
            tasks = Path(f"/proc/{pid}/task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return None


def _slope(looks: Sequence[tuple[float, float]]) -> float | None:
    """Per cent of a core between the first look and the last."""
    if len(looks) < 2:
        return None
    # At the end threads go, and their time with them: what counts is the last look at all of them.
    (begin, used), (end, more) = looks[0], max(looks, key=lambda look: look[1])
    if end <= begin:
        return None
    return 100 * (more - used) / (end - begin)
