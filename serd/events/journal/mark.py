"""A small file beside the journal with what must outlive a damaged one.

It holds, for each node, a number that no ``seq`` so far has exceeded, and the switches. Numbers are
reserved a thousand at a time, before the first of them is used, so the file is written once in a
thousand events and when the daemon ends. It is replaced as a whole, never changed in place.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

RESERVED: Final = 1000
"""Numbers that are reserved at a time."""


class _Content(msgspec.Struct, kw_only=True):
    seq: dict[str, int] = {}
    meta: dict[str, str] = {}


class JournalMark:
    """The file ``JOURNAL-mark``. The caller sees to it that one thread at a time uses it.

    Args:
        journal: The journal's path.
        now: Seconds since 1970.
    """

    def __init__(self, journal: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = journal.with_name(journal.name + "-mark")
        self._lowest = 0
        self._content = _Content()
        try:
            self._content = msgspec.json.decode(self.path.read_bytes(), type=_Content)
            self.exists = True
            """Whether there has been one, so that the journal beside it is serd's."""
        except FileNotFoundError:
            self.exists = False
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.exists = True
            # If the journal is damaged too, nothing tells how far the numbers had come. No node has
            # had as many events as there were seconds since 1970.
            self._lowest = round(now())
            log.warning("%s cannot be read and is begun anew: %s", self.path, error)

    def floor(self, node: str) -> int:
        """A number that no event of the node has exceeded."""
        return self._content.seq.get(node, self._lowest)

    def cover(self, heads: Mapping[str, int]) -> None:
        """See to it that numbers up to these are reserved; on the disk when this returns.

        Raises:
            UnavailableError: It cannot be written.
        """
        if any(seq > self._content.seq.get(node, 0) for node, seq in heads.items()):
            seqs = {node: seq + RESERVED - 1 for node, seq in heads.items()}
            self._write(_Content(seq=self._content.seq | seqs, meta=self._content.meta))

    def settle(self, heads: Mapping[str, int]) -> None:
        """Give back what is reserved and not used, at an orderly end."""
        if any(self._content.seq.get(node) != seq for node, seq in heads.items()):
            self._write(_Content(seq=self._content.seq | dict(heads), meta=self._content.meta))

    def get_meta(self, key: str) -> str | None:
        """A switch as it was last set."""
        return self._content.meta.get(key)

    def set_meta(self, key: str, value: str) -> None:
        """Keep a switch; on the disk when this returns.

        Raises:
            UnavailableError: It cannot be written.
        """
        if self.get_meta(key) != value:
            self._write(_Content(seq=self._content.seq, meta=self._content.meta | {key: value}))

    def _write(self, content: _Content) -> None:
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, msgspec.json.encode(content))
                os.fsync(handle)
            finally:
                os.close(handle)
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
