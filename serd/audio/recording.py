"""Recordings: any file that libsndfile or ffmpeg decodes, read to its end.

:class:`Sound` is one part of a file that libsndfile decodes; :class:`AudioFile` is a whole file,
which may consist of several concatenated recordings.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from serd import stderr
from serd.audio.container import NEEDED, Part, View, parts, recognise
from serd.audio.ffmpeg import REMEDY as FFMPEG_REMEDY
from serd.audio.ffmpeg import FfmpegFile, installed
from serd.audio.format import FFMPEG_SUFFIXES, MAX_RATE, MIN_RATE
from serd.errors import InputError, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

REMEDY = (
    "serd reads what libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF and more; and through ffmpeg M4A, "
    "WebM and other containers"
)

_SCAN_FRAMES: Final = 1 << 18

_OVERDRIVEN: Final = 256.0
"""Float samples up to here (48 dB) are an overdriven mix; above, they are unscaled integers."""

_TOLERANCE_S: Final = 0.06
"""Shorter deficits are not reported: they are due to the padding of codecs."""

_ENDLESS: Final = 1 << 60
"""Frame counts from here on mean that the header does not contain one."""

_MPG123: Final = re.compile(rb"mpg123|^(Warning|Note|Error|error|main|id3): ?", re.IGNORECASE)


class AudioFile:
    """An open file, read in order at its native rate and channels.

    A concatenated file (chained Ogg, joined MP3 or WAV) is read to its end; rate and channels may
    change in between. Unreadable or missing parts are reported.

    Args:
        path: The file.
        warn: Called with a sentence for each fault of a file that could be opened.

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """

    _file: Sound | FfmpegFile | None = None

    def __init__(
        self, path: str | os.PathLike[str], *, warn: Callable[[str], None] = log.warning
    ) -> None:
        self.path = Path(path)
        self._warn = warn
        head = _check_readable(self.path)
        self._seconds = 0.0
        self._read = 0
        """Frames read of the current part."""
        self._scale: np.float32 | None = None
        self._parts: deque[Part] = deque()
        regular = self.path.is_file()
        if regular:
            self._parts.extend(parts(self.path))
        self._alone = len(self._parts) < 2
        self.rate = self.channels = 0
        self.duration_s: float | None = None
        """Length in seconds from the headers, if they contain it; a damaged file may be shorter."""
        try:
            self._open_first(head)
            self._check_first()
            if regular and isinstance(self._file, Sound) and self._file.floating:
                self._scale = self._integer_scale()
        except BaseException:
            self.close()
            raise

    def _check_first(self) -> None:
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise InputError(
                f"{shown(self.path)} has a sample rate of {self.rate} Hz; {MIN_RATE} to "
                f"{MAX_RATE} can be read"
            )
        if isinstance(self._file, Sound) and self._file.frames == 0 and not self._parts:
            raise InputError(f"{shown(self.path)} holds no audio (0 samples)")

    def _open_first(self, head: bytes) -> None:
        try:
            self._open(self._parts.popleft() if self._parts else None)
        except InputError as error:
            if _is_pipe(self.path):
                raise InputError(
                    error.message, remedy="give it to serd as standard input instead: -"
                ) from error
            # Either a format that libsndfile does not know, or a damaged file.
            kind = recognise(head)
            if kind is None and self.path.suffix.lower() not in FFMPEG_SUFFIXES:
                raise
            if not installed():
                name = kind or self.path.suffix.lower().removeprefix(".").upper()
                raise InputError(
                    f"{shown(self.path)} is not audio that serd can read by itself ({name}): "
                    f"that takes ffmpeg, which is not installed",
                    remedy=FFMPEG_REMEDY,
                ) from error
            try:
                self._file = FfmpegFile(self.path)
            except InputError:
                raise error from None
            self._parts.clear()
            self._alone = True
            self.rate, self.channels = self._file.rate, self._file.channels

    def _open(self, part: Part | None) -> None:
        """Open a part; None: the whole file."""
        plain = part is None or (self._alone and (not part.head or part.frames is not None))
        try:
            with stderr.filtered(_mpg123_noise):
                sound = Sound(self.path, None if plain else part, part)
        except InputError:
            raise
        except Exception as error:
            # TypeError: soundfile demands rate and channels for a headerless ".raw" file.
            if not isinstance(error, (decoder_error(), TypeError, ValueError, OSError)):
                raise
            raise InputError(
                f"{shown(self.path)} is not audio that serd can read: {reason(error)}",
                remedy=REMEDY,
            ) from error
        self._file, self._read = sound, 0
        self.rate, self.channels = sound.rate, sound.channels
        if self._alone and sound.frames is not None:
            self.duration_s = sound.frames / sound.rate

    def _integer_scale(self) -> np.float32 | None:
        """The factor that scales unscaled float samples; None if they are scaled already.

        Some programs write 16-bit samples as floats without dividing them. The whole file is
        scanned, which takes a tenth of the time that recognition takes.
        """
        assert isinstance(self._file, Sound)  # noqa: S101 - checked by the caller
        peak, file = 0.0, Sound(self.path, self._file.view, self._file.part)
        try:
            while len(block := file.read(_SCAN_FRAMES)):
                finite = np.abs(block[np.isfinite(block)])
                peak = max(peak, float(finite.max(initial=0.0)))
        except decoder_error():
            pass
        finally:
            file.close()
        for bits in (15, 23, 31):
            if _OVERDRIVEN < peak <= 2.0**bits:
                self._warn(
                    f"{shown(self.path)} has float samples up to {peak:.0f}: taken for "
                    f"{bits + 1}-bit integers, and scaled to full scale"
                )
                return np.float32(2.0**-bits)
        return None

    def read(self, frames: int) -> NDArray[np.float32]:
        """Read the next frames, at most ``frames``; none at the end.

        ``rate`` and ``channels`` are those of the frames that were returned last.

        Returns:
            float32[n, channels] as stored; they may not be finite or within [-1, 1].

        Raises:
            InputError: Damaged before the first frame.
        """
        while self._file is not None:
            file, failure = self._file, None
            try:
                block = file.read(frames)
            except decoder_error() as error:
                block, failure = np.empty((0, self.channels), np.float32), reason(error)
            if len(block):
                self._read += len(block)
                self._seconds += len(block) / self.rate
                if self._scale is not None:
                    block *= self._scale
                return block
            if not self._seconds and not self._parts:
                raise InputError(
                    f"{shown(self.path)} is damaged: {failure}"
                    if failure
                    else f"{shown(self.path)} holds no audio (0 samples)"
                )
            self._end_part(file, failure)
        return np.empty((0, max(1, self.channels)), np.float32)

    def _end_part(self, file: Sound | FfmpegFile, failure: str | None) -> None:
        """Report what was missing from the part that ended, and open the next one."""
        self._report_end(file, failure)
        file.close()
        self._file = None
        while self._parts:
            part = self._parts.popleft()
            why = self._open_next(part)
            if why is None:
                return
            self._warn(
                f"{shown(self.path)}: what follows after {self._seconds:.2f} s "
                f"({part.end - part.start} bytes) cannot be read: {why}"
            )

    def _open_next(self, part: Part) -> str | None:
        """Open a part after the first. Returns the reason if that is impossible."""
        try:
            self._open(part)
        except InputError as error:
            return error.message
        if MIN_RATE <= self.rate <= MAX_RATE:
            return None
        if self._file is not None:
            self._file.close()
            self._file = None
        return f"it has a sample rate of {self.rate} Hz"

    def _report_end(self, file: Sound | FfmpegFile, failure: str | None) -> None:
        name, at = shown(self.path), self._seconds
        if isinstance(file, FfmpegFile):
            if file.problem:
                self._warn(f"{name} is damaged after {at:.2f} s: {file.problem}")
        else:
            missing = (file.promised - self._read) / file.rate if file.promised else 0.0
            more = f"; {missing:.2f} s more should follow" if missing > _TOLERANCE_S else ""
            if failure:
                self._warn(f"{name} is damaged after {at:.2f} s: {failure}{more}")
            elif more:
                self._warn(f"{name} ends early, after {at:.2f} s: {missing:.2f} s are missing")
            elif file.part is not None and file.part.open_ended:
                self._warn(
                    f"{name} ends early, after {at:.2f} s, without the mark at the end of an Ogg "
                    "stream: how much is missing, nothing in it says"
                )

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        self._parts.clear()
        if file is not None:
            file.close()


def _check_readable(path: Path) -> bytes:
    """Explain why a path cannot be read, which libsndfile always calls "System error".

    Returns:
        The first bytes of a regular file; nothing for a file that can be read only once.
    """
    head = b""
    try:
        if path.is_dir():
            raise InputError(f"{shown(path)} is a directory, not an audio file")
        if _is_pipe(path):  # opening it would end its writer
            return b""
        with path.open("rb") as file:
            empty = path.is_file() and not (head := file.read(NEEDED))
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)} does not exist") from error
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not a path: {error}") from error
    if empty:
        raise InputError(f"{shown(path)} is empty (0 bytes)")
    return head


def _is_pipe(path: Path) -> bool:
    mode = path.stat().st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Sound:
    """A file, or part of one, that libsndfile decodes.

    Args:
        path: The file.
        view: The part to decode; None: the whole file.
        part: What its headers contain, if known.

    Raises:
        OSError: It cannot be read.
        Exception: :func:`decoder_error`, ``TypeError`` or ``ValueError``: libsndfile does not
            recognise it.
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
        # soundfile seeks to the current position after every read. That restarts an MP3 decoder
        # each time, and the samples would depend on the block size.
        self._file.seekable = lambda: False
        self.rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self._mpeg = self._file.format.startswith("MP")
        self.floating = self._file.subtype in {"FLOAT", "DOUBLE"}
        frames = int(self._file.frames)
        self.frames: int | None = frames if frames < _ENDLESS else None
        """Number of frames according to libsndfile; None if unknown."""
        self.promised = None if part is None else part.frames
        if self._file.format == "FLAC" or (self._mpeg and self.promised):
            self.promised = self.frames

    def read(self, frames: int) -> NDArray[np.float32]:
        """Read the next frames, at most ``frames``, float32[n, channels]; none at the end."""
        with stderr.filtered(_mpg123_noise) if self._mpeg else contextlib.nullcontext():
            block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        return block

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._close_view()

    def _named(self) -> str:
        """Copy the part into memory, under a file name."""
        assert self._view is not None  # noqa: S101 - checked by the caller
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


def _mpg123_noise(line: bytes) -> bool:
    """Whether libmpg123, which writes to standard error by itself, wrote a line."""
    if not _MPG123.search(line):
        return False
    log.debug("libmpg123: %s", line.decode("utf-8", "replace").strip())
    return True


def decoder_error() -> type[Exception]:
    """The exception that libsndfile raises. Loads libsndfile."""
    import soundfile  # noqa: PLC0415 - as above

    error: type[Exception] = soundfile.SoundFileError
    return error


def reason(error: Exception) -> str:
    """The message of libsndfile, as the end of a sentence."""
    text = getattr(error, "error_string", None) or str(error)
    text = " ".join(text.split()).rstrip(".").removeprefix("Error : ")
    # The file exists, as was checked before: the MP3 reader reports this for any invalid data.
    if text.startswith("File does not exist"):
        text = "format not recognised"
    return text[:1].lower() + text[1:]
