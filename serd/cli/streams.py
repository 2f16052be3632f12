"""The standard streams of the process: all of them there, and what a failed write means.

Only the command line uses this; importing serd as a library changes no stream.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from serd.errors import UnavailableError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(UnavailableError):
    """Standard output cannot be written: its disk is full, say."""


def prepare() -> None:
    """Make all standard streams exist, and failed writes to standard output `OutputError`.

    For the main thread, before any file is opened. Whatever is closed (``>&-``) becomes
    ``/dev/null``: the next file to be opened, the journal for example, would take its place and
    receive what is printed. ``sys.stdin`` stays None then, so that commands that need standard
    input can say so.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(null, True)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - never closed
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    else:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
            encoding=sys.stdout.encoding,
            line_buffering=sys.stdout.isatty(),
        )


class _Output(io.FileIO):
    """Where standard output is written."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some bytes; returns how many.

        Raises:
            OutputError: They cannot be written.
            BrokenPipeError: Nobody reads any more.
        """
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"standard output cannot be written: {error.strerror or error}"
            ) from error
