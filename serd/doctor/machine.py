"""The machine: its clock, its service, and daemons that already run."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serd.doctor.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNITS: Final = (
    Path("/etc/systemd/system/serd.service"),
    Path("/usr/local/lib/systemd/system/serd.service"),
    Path("/usr/lib/systemd/system/serd.service"),
)

EARLIEST: Final = 1_735_689_600
"""2025-01-01: no clock that is right says an earlier time. Seconds since 1970."""

_PATIENCE_S: Final = 5.0


def check_clock(*, now: float | None = None) -> Iterator[Finding]:
    """Whether the wall clock can be right, and is set over the network.

    Args:
        now: Seconds since 1970; default: by the wall clock.
    """
    now = time.time() if now is None else now
    if now < EARLIEST:
        date = time.strftime("%Y-%m-%d", time.gmtime(now))
        yield fail(
            "clock",
            f"this machine believes that it is {date}",
            "a Pi without a battery clock needs the network: `timedatectl set-ntp true`; events "
            "would be dated wrongly, and certificates refused",
        )
        return
    synchronised = _ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if synchronised == "no":
        yield warn(
            "clock",
            "not set over the network: the time of events may drift",
            "`timedatectl set-ntp true`",
        )
    elif synchronised == "yes":
        yield ok("clock", "set over the network")


def check_unit(units: Sequence[Path] = UNITS) -> Iterator[Finding]:
    """Whether the systemd service, if it is installed, can run and does."""
    unit = next((path for path in units if path.exists()), None)
    if unit is None:
        return
    program = _program(unit)
    if program is not None and not os.access(program, os.X_OK):
        yield fail(
            "service",
            f"{unit} starts {program}, which is not there or may not be executed",
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
    """Process ids of the daemons of serd on this machine, this process not among them."""
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
    """What a program says in one word; None if it is not there or does not answer."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
