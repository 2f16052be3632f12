"""What keeps the journal going when its file turns out to be damaged.

The damaged file is set aside, not deleted, and a new one is started. :class:`JournalMark` is a
small file beside the journal with what must survive this: for each node a number that no ``seq``
has exceeded so far, and the switches. Numbers are reserved a thousand at a time, before the first
of them is used, so the file is written once in a thousand events and when the daemon stops. It is
replaced as a whole, never changed in place.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from serd.events.database import JournalDamagedError

log = logging.getLogger(__name__)

RESERVED: Final = 1000
"""How many numbers are reserved at a time."""


class _Content(msgspec.Struct, kw_only=True):
    seq: dict[str, int] = {}
    meta: dict[str, str] = {}


class JournalMark:
    """The file ``JOURNAL-mark``. Not thread-safe.

    Args:
        journal: The journal's path.
        now: Seconds since 1970.
    """

    def __init__(self, journal: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = journal.with_name(journal.name + "-mark")
        self._lowest = 0
        self._content = _Content()
        self.unsaved: dict[str, str] = {}
        """Switches that could not be written so far."""
        try:
            self._content = msgspec.json.decode(self.path.read_bytes(), type=_Content)
            self.exists = True
            """Whether there was one, which shows that the journal beside it is serd's."""
        except FileNotFoundError:
            self.exists = False
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.exists = True
            # If the journal is damaged too, the last number is unknown. No node has had as many
            # events as there were seconds since 1970.
            self._lowest = round(now())
            log.warning("%s cannot be read and is replaced: %s", self.path, error)

    def floor(self, node: str) -> int:
        """A number that no event of the node has exceeded."""
        return self._content.seq.get(node, self._lowest)

    def cover(self, heads: Mapping[str, int]) -> None:
        """Make sure that numbers up to these are reserved; they are on the disk when this returns.

        Raises:
            UnavailableError: It cannot be written.
        """
        if any(seq > self._content.seq.get(node, 0) for node, seq in heads.items()):
            seqs = {node: seq + RESERVED - 1 for node, seq in heads.items()}
            self._write(_Content(seq=self._content.seq | seqs, meta=self._content.meta))

    def settle(self, heads: Mapping[str, int]) -> None:
        """Return reserved numbers that were not used, at an orderly shutdown."""
        if any(self._content.seq.get(node) != seq for node, seq in heads.items()):
            self._write(_Content(seq=self._content.seq | dict(heads), meta=self._content.meta))

    def get_meta(self, key: str) -> str | None:
        """The last value of a switch, written or not."""
        return self.unsaved.get(key, self._content.meta.get(key))

    def set_meta(self, key: str, value: str) -> None:
        """Store a switch; it is on the disk when this returns.

        Raises:
            UnavailableError: It cannot be written now. It counts nevertheless, and :meth:`save`
                and whatever else is written try again.
        """
        if self.get_meta(key) != value:
            self.unsaved[key] = value
            self.save()

    def save(self) -> None:
        """Write the switches that could not be written before.

        Raises:
            UnavailableError: They still cannot.
        """
        if self.unsaved:
            self._write(self._content)

    def _write(self, content: _Content) -> None:
        content = _Content(seq=content.seq, meta=content.meta | self.unsaved)
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:  # unlike write(2), it writes all of it or fails
                file.write(msgspec.json.encode(content))
                file.flush()
                os.fsync(handle)
            fresh.replace(self.path)
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise UnavailableError(
                f"{self.path} cannot be written: {error.strerror or error}",
                remedy=f"make {self.path.parent} writable with room on the disk",
            ) from error
        self._content, self.exists = content, True
        self.unsaved.clear()


def quarantine(path: Path, error: JournalDamagedError) -> Path:
    """Rename a damaged journal and its log to ``JOURNAL.corrupt-TIME``.

    Args:
        path: The journal's file, which must not be open.
        error: What is wrong with it.

    Returns:
        Its new path.

    Raises:
        UnavailableError: It cannot be renamed.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    try:
        for suffix in ("-wal", "-shm"):
            log_file = path.with_name(path.name + suffix)
            if log_file.exists():
                log_file.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
    except OSError as refusal:
        raise UnavailableError(
            f"{error.message}, and cannot be put aside: {refusal.strerror or refusal}",
            remedy="move it away by hand",
        ) from refusal
    log.error(
        "%s; it was put aside as %s and a new one is started. Events in it that the broker had "
        "not acknowledged are lost to subscribers, and the numbering continues after a gap; "
        "corrections are recovered as far as they can be read", error.message, aside,
    )  # fmt: skip
    return aside
