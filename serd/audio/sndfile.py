"""libsndfile, the decoder: one file, or one part of a file, and what it says."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Final

from serd.audio.layout import Part, View

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_ENDLESS: Final = 1 << 60
"""What libsndfile says where a header does not tell how many frames there are, or more."""

_MPG123: Final = re.compile(rb"mpg123|^(Warning|Note|Error|error|main|id3): ?", re.IGNORECASE)


class Sound:
    """A file, or a part of one, that libsndfile decodes.

    Args:
        path: The file.
        view: The part of it that is to be decoded; None: the decoder gets the file as it is.
        part: What is known of it.

    Raises:
        OSError: It cannot be read.
        Exception: :func:`decoder_error`, ``TypeError`` or ``ValueError``: libsndfile does not know
            what it is.
    """

    def __init__(self, path: Path, view: Part | None, part: Part | None) -> None:
        import soundfile  # noqa: PLC0415 - loads libsndfile, which a daemon on a microphone never needs

        self.view, self.part = view, part
        self._copy = -1
        self._view = None if view is None else View(path, view)
        try:
            if self._view is not None and view is not None and view.mpeg:
                self._file: Any = soundfile.SoundFile(self._named())
            else:
                self._file = soundfile.SoundFile(path if self._view is None else self._view)
        except BaseException:
            self._close_view()
            raise
        # soundfile seeks after every read, to where it is already. That makes an MP3 decoder start
        # afresh each time, and the samples would depend on the size of the blocks.
        self._file.seekable = lambda: False
        self.rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self._mpeg = self._file.format.startswith("MP")
        self.floating = self._file.subtype in {"FLOAT", "DOUBLE"}
        frames = int(self._file.frames)
        self.frames: int | None = frames if frames < _ENDLESS else None
        """As libsndfile sees it."""
        self.promised = None if part is None else part.frames
        if self._file.format == "FLAC" or (self._mpeg and self.promised):
            self.promised = self.frames

    def read(self, frames: int) -> NDArray[np.float32]:
        """Give the next frames, at most ``frames``, float32[n, channels]; none at the end."""
        with hushed() if self._mpeg else contextlib.nullcontext():
            block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        return block

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._close_view()

    def _named(self) -> str:
        """A copy of the part, in memory, under a name."""
        assert self._view is not None  # noqa: S101 - as the caller made sure
        self._copy = os.memfd_create("part")
        while piece := self._view.read(1 << 20):
            os.write(self._copy, piece)
        return f"/proc/self/fd/{self._copy}"

    def _close_view(self) -> None:
        if self._view is not None:
            self._view.close()
        if self._copy >= 0:
            os.close(self._copy)
            self._copy = -1


_stderr = threading.Lock()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep what libmpg123 says from standard error, to which it writes by itself.

    What others write meanwhile comes out afterwards.
    """
    with _stderr:
        try:
            kept, caught = os.dup(2), os.memfd_create("stderr")
        except OSError:  # there is no standard error
            yield
            return
        try:
            os.dup2(caught, 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                said = os.pread(caught, os.fstat(caught).st_size, 0)
                for line in said.splitlines(keepends=True):
                    if _MPG123.search(line):
                        log.debug("libmpg123: %s", line.decode("utf-8", "replace").strip())
                    else:
                        os.write(2, line)
        finally:
            os.close(kept)
            os.close(caught)


def decoder_error() -> type[Exception]:
    """What libsndfile raises; it is loaded for that."""
    import soundfile  # noqa: PLC0415 - as above

    error: type[Exception] = soundfile.SoundFileError
    return error


def reason(error: Exception) -> str:
    """What libsndfile says, as the end of a sentence."""
    text = getattr(error, "error_string", None) or str(error)
    text = " ".join(text.split()).rstrip(".").removeprefix("Error : ")
    # The file exists (that was looked at before): this is what the MP3 reader says of any rubbish.
    if text.startswith("File does not exist"):
        text = "format not recognised"
    return text[:1].lower() + text[1:]
