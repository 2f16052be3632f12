"""The journal: can it be read and written, and is there room?"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serd.doctor.finding import Finding, fail, failed, ok, warn
from serd.errors import SerdError
from serd.events.clock import parse_rfc3339
from serd.events.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.config import Config

SCARCE_BYTES: Final = 100_000_000
"""Free space below which a warning is due: other programs will fill that soon."""

PROBE_BYTES: Final = 65_536
"""Written, synced and deleted again to see whether the disk takes anything."""

FUTURE_MS: Final = 60_000
"""An event from so far in the future was dated by a wrong clock, or the clock is wrong now."""


_SUDO: Final = (
    "if it is the service's: run this check with sudo; "
    "else make it writable for the user, or set journal.path"
)


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


def check_journal(config: Config, *, now_ms: int | None = None) -> Iterator[Finding]:
    """Read the journal, try its folder, look at the space.

    Args:
        config: The configuration.
        now_ms: The present, milliseconds since 1970; default: by the wall clock.
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
        yield failed("journal", error, "move the file away; serd begins a new one")
        return
    if not os.access(path, os.W_OK):
        yield fail(
            "journal",
            f"{path} may not be written by this user",
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


def _folder(path: Path) -> Iterator[Finding]:
    folder = _nearest(path.parent)
    if not folder.is_dir():
        yield fail(
            "journal",
            f"{folder} is no folder, so {path} cannot be in it",
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
            f"{folder} takes no data: {error.strerror}",
            _SUDO
            if isinstance(error, PermissionError)
            else f"make room (`df -h {folder}`), make it writable for the user of the daemon, or "
            "set journal.path",
        )
        return
    free = shutil.disk_usage(folder).free
    said = f"{free / 1e9:.1f} GB free in {folder}"
    if free < SCARCE_BYTES:
        yield warn(
            "disk", f"only {free / 1e6:.0f} MB free in {folder}", f"make room: `df -h {folder}`"
        )
    else:
        yield ok("disk", said)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder
