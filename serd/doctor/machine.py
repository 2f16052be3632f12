"""Checks of the machine: clock, service, running daemons, disk and journal."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serd.doctor.result import CheckResult, fail, failed, ok, warn
from serd.errors import SerdError
from serd.events.clock import parse_rfc3339
from serd.events.history import History
from serd.events.retention import EARLIEST_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serd.config import Config

UNITS: Final = (
    Path("/etc/systemd/system/serd.service"),
    Path("/usr/local/lib/systemd/system/serd.service"),
    Path("/usr/lib/systemd/system/serd.service"),
)

_TIMEOUT_S: Final = 5.0

SCARCE_BYTES: Final = 100_000_000
"""Free space below which to warn: other programs will soon fill it."""

PROBE_BYTES: Final = 65_536
"""Bytes written, synced and deleted again to see whether the disk is writable."""

FUTURE_MS: Final = 60_000
"""An event further in the future means that the clock was or is wrong."""


_SUDO: Final = (
    "if it is the service's, run this check with sudo; "
    "otherwise make it writable for the user, or set journal.path"
)


def check_clock(*, now: float | None = None) -> Iterator[CheckResult]:
    """Check that the wall clock is plausible and synchronised.

    Args:
        now: Seconds since 1970; default: the wall clock.
    """
    now = time.time() if now is None else now
    if now < EARLIEST_MS / 1000:
        date = time.strftime("%Y-%m-%d", time.gmtime(now))
        yield fail(
            "clock",
            f"this machine's date is {date}",
            "a Pi without a battery clock needs the network: `timedatectl set-ntp true`; until "
            "then events get wrong dates and certificates are refused",
        )
        return
    synchronised = _ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if synchronised == "no":
        yield warn(
            "clock",
            "not synchronised over the network: the time of events may drift",
            "`timedatectl set-ntp true`",
        )
    elif synchronised == "yes":
        yield ok("clock", "synchronised over the network")


def check_unit(units: Sequence[Path] = UNITS) -> Iterator[CheckResult]:
    """Check that the systemd service, if installed, can run and does."""
    unit = next((path for path in units if path.exists()), None)
    if unit is None:
        return
    program = _program(unit)
    if program is not None and not os.access(program, os.X_OK):
        yield fail(
            "service",
            f"{unit} starts {program}, which is missing or not executable",
            f"install serd there, or correct ExecStart in {unit}, then `systemctl daemon-reload`",
        )
        return
    state = _ask("systemctl", "is-active", "serd.service")
    if state == "failed":
        yield fail(
            "service",
            "the systemd service serd has failed",
            "`journalctl -u serd -e` says why; then `systemctl restart serd`",
        )
    elif state in {"inactive", "activating", "deactivating"}:
        yield warn(
            "service",
            f"the systemd service serd is installed, but {state}",
            "`systemctl enable --now serd`",
        )
    elif state == "active":
        yield ok("service", "the systemd service serd is active")


def daemons(processes: Path = Path("/proc")) -> list[int]:
    """Process ids of serd daemons on this machine, without this process."""
    found = []
    for folder in processes.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if int(folder.name) != os.getpid() and _is_daemon(words):
            found.append(int(folder.name))
    return sorted(found)


def _is_daemon(words: Sequence[str]) -> bool:
    """Whether a command line is `serd ... run` or `python -m serd ... run`."""
    for place, word in enumerate(words[:4]):
        named = Path(word).name == "serd" and (place <= 1 or words[place - 1] == "-m")
        if named and ("run" in words[place + 1 :] or "demo" in words[place + 1 :]):
            return True
    return False


def _program(unit: Path) -> str | None:
    try:
        text = unit.read_text(errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip() == "ExecStart":
            words = shlex.split(value.strip().lstrip("-@:+!"))
            return words[0] if words and words[0].startswith("/") else None
    return None


def _ask(*command: str) -> str | None:
    """A program's output; None if it is not installed, prints nothing or does not answer."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def journal_in_use(path: Path) -> bool:
    """Whether a daemon holds the journal."""
    try:
        handle = os.open(path.with_name(path.name + "-lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def check_journal(config: Config, *, now_ms: int | None = None) -> Iterator[CheckResult]:
    """Check that the journal is readable and its folder writable, with space left.

    Args:
        config: The configuration.
        now_ms: Current time, milliseconds since 1970; default: the wall clock.
    """
    path = Path(config.journal.path)
    now_ms = round(time.time() * 1000) if now_ms is None else now_ms
    yield from _folder(path)
    try:
        if not path.exists():
            return
    except OSError as error:
        yield fail("journal", f"{path} cannot be read: {error.strerror}", _SUDO)
        return
    try:
        with History(path) as history:
            newest = next(history.query(limit=1, newest_first=True), None)
    except SerdError as error:
        yield failed("journal", error, "move the file away; serd creates a new one")
        return
    if not os.access(path, os.W_OK):
        yield fail(
            "journal",
            f"{path} is not writable for this user",
            _SUDO,
        )
        return
    yield ok("journal", f"{path}: {'no events yet' if newest is None else newest.started_at}")
    if newest is not None and parse_rfc3339(newest.started_at) > now_ms + FUTURE_MS:
        yield warn(
            "clock",
            f"the newest event is from the future ({newest.started_at})",
            "the clock was or is wrong: `timedatectl` shows whether it is set over the network",
        )


def _folder(path: Path) -> Iterator[CheckResult]:
    folder = _nearest(path.parent)
    if not folder.is_dir():
        yield fail(
            "journal",
            f"{folder} is not a folder, so {path} cannot be created",
            "correct journal.path",
            configured=True,
        )
        return
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".serd-check-") as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        yield fail(
            "disk",
            f"{folder} is not writable: {error.strerror}",
            _SUDO
            if isinstance(error, PermissionError)
            else f"free some space (`df -h {folder}`), make it writable for the daemon's user, or "
            "set journal.path",
        )
        return
    free = shutil.disk_usage(folder).free
    space = f"{free / 1e9:.1f} GB free in {folder}"
    if free < SCARCE_BYTES:
        yield warn(
            "disk",
            f"only {free / 1e6:.0f} MB free in {folder}",
            f"free some space: `df -h {folder}`",
        )
    else:
        yield ok("disk", space)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder
