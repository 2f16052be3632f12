"""A recording as a source: any file that libsndfile reads, as fast as asked or as it was spoken."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from serd.audio.format import BLOCK_S, MAX_RATE, MIN_RATE, SAMPLE_RATE
from serd.audio.intake import Intake
from serd.audio.source import Block, EndOfSource, SourceContext, SourceStats
from serd.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    Pace = Literal["real", "fast"]

log = logging.getLogger(__name__)

FAST_BLOCK_S = 0.96
"""Seconds in a block at pace "fast": 32 VAD frames, so that little is spent per block."""

REMEDY = "serd reads what libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF and more"


class AudioFile:
    """An open file that gives its frames in order, at its own rate and channels.

    Args:
        path: The file.

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import soundfile  # noqa: PLC0415 - loads libsndfile, which a daemon on a microphone never needs

        self.path = Path(path)
        self._error: type[Exception] = soundfile.SoundFileError
        _check_readable(self.path)
        try:
            self._file: Any = soundfile.SoundFile(self.path)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            # TypeError: soundfile asks for rate and channels of a headerless ".raw" file.
            raise InputError(
                f"{self.path} is not audio that serd can read: {_reason(error)}", remedy=REMEDY
            ) from error
        # soundfile seeks after every read, to where it is already. That makes an MP3 decoder start
        # afresh each time, and the samples would depend on the size of the blocks.
        self._file.seekable = lambda: False
        self.rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self._read = 0
        problem = None
        if not MIN_RATE <= self.rate <= MAX_RATE:
            problem = f"has a sample rate of {self.rate} Hz; {MIN_RATE} to {MAX_RATE} can be read"
        elif self._file.frames == 0:
            problem = "holds no audio (0 samples)"
        if problem:
            self._file.close()
            raise InputError(f"{self.path} {problem}")

    @property
    def duration_s(self) -> float:
        """Seconds, as the header says; a truncated file gives less."""
        return float(self._file.frames) / self.rate

    def read(self, frames: int) -> NDArray[np.float32]:
        """Give the next frames, at most ``frames`` of them; none at the end.

        Returns:
            float32[n, channels] as stored: neither finite nor within [-1, 1] for certain.

        Raises:
            InputError: Damaged before the first frame.
        """
        try:
            block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        except self._error as error:
            reason = _reason(error)
            if not self._read:
                raise InputError(f"{self.path} is damaged: {reason}") from error
            # What could be read was real audio: use it, and say that there should be more.
            log.warning("%s is damaged after %.2f s: %s", self.path, self._read / self.rate, reason)
            return np.empty((0, self.channels), np.float32)
        if not len(block) and not self._read:
            raise InputError(f"{self.path} holds no audio (0 samples)")
        self._read += len(block)
        return block

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FileSource(SourceContext):
    """A recording, block by block, never whole in memory.

    Args:
        path: The file.
        pace: "real" hands each block over when a microphone would have; "fast" at once.
        gain_db: Amplification in decibels.
    """

    live = False
    steady = True

    def __init__(
        self, path: str | os.PathLike[str], *, pace: Pace = "real", gain_db: float = 0.0
    ) -> None:
        self.path = Path(path)
        self.pace: Pace = pace
        self._gain_db = gain_db
        self._intake = Intake(gain_db=gain_db)
        self._file: AudioFile | None = None
        # libsndfile must not lose its file while it reads from it: held for one read at a time.
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        self._opens = 0
        self._rate = 0
        self._channels = 0
        self._begun: float | None = None
        self._frames = 0
        self._next: NDArray[np.float32] | None = None
        self._ended = False

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    @property
    def stats(self) -> SourceStats:
        """The counters, at this moment."""
        return SourceStats(
            blocks=self._intake.blocks,
            samples=self._intake.samples,
            opens=self._opens,
            rate=self._rate,
            channels=self._channels,
        )

    def length_s(self) -> float | None:
        """Seconds of the whole recording, as its header says; None of what is no regular file.

        Raises:
            InputError: It is missing, unreadable, not audio, or holds no audio.
        """
        if self.path.exists() and not (self.path.is_file() or self.path.is_dir()):
            return None  # a pipe: to look into it would take away what is in it
        file = AudioFile(self.path)
        try:
            return file.duration_s
        finally:
            file.close()

    def open(self) -> None:
        """Open the file; reading begins at its start, at position 0.

        Raises:
            InputError: It is missing, unreadable, not audio, or holds no audio.
        """
        self.close()
        self._file = AudioFile(self.path)
        self._rate, self._channels = self._file.rate, self._file.channels
        self._intake = Intake(gain_db=self._gain_db)
        self._intake.start(rate=self._rate, channels=self._channels)
        self._begun, self._frames, self._next, self._ended = None, 0, None, False
        self._opens += 1
        self._closed.clear()

    def read(self, timeout: float, enough: int = 0) -> Block | None:
        """Give the next block; see :meth:`serd.audio.source.Source.read`.

        At pace "real" the clock starts with the first call, and every block is due when its last
        sample would have been spoken, counted from that start: delays never add up.
        ``Block.arrived`` is that moment, also when the reader comes late.
        """
        give_up = time.monotonic() + timeout
        while True:
            if self._closed.is_set() or self._ended:
                raise EndOfSource
            if self._next is None:
                self._next = self._read_block(enough)
            due = self._due(len(self._next))
            if not self._wait(due, give_up):
                return None
            frames, self._next = self._next, None
            self._frames += len(frames)
            if len(frames):
                block = self._intake.push(frames, due)
                if block is not None:
                    return block
            else:
                self._ended = True
                block = self._intake.finish(due)
                if block is None:
                    raise EndOfSource
                return block

    def _read_block(self, enough: int) -> NDArray[np.float32]:
        seconds = max(enough / SAMPLE_RATE, BLOCK_S if self.pace == "real" else FAST_BLOCK_S)
        with self._lock:
            if self._file is None:
                raise EndOfSource
            return self._file.read(max(1, round(seconds * self._file.rate)))

    def _due(self, frames: int) -> float:
        now = time.monotonic()
        if self.pace == "fast":
            return now
        if self._begun is None:
            self._begun = now
        return self._begun + (self._frames + frames) / self._rate

    def _wait(self, due: float, give_up: float) -> bool:
        """Sleep until ``due`` or ``give_up``; whether it is due. Ends at once on close()."""
        if self.pace == "fast":
            return True
        while (left := min(due, give_up) - time.monotonic()) > 0:
            if self._closed.wait(left):
                raise EndOfSource
        return due <= time.monotonic()

    def close(self) -> None:
        """Close the file. A waiting ``read()`` ends."""
        self._closed.set()
        # A read that hangs (a pipe, a dead network disk) keeps its file rather than us.
        if self._lock.acquire(timeout=1.0):
            try:
                file, self._file = self._file, None
                if file is not None:
                    file.close()
            finally:
                self._lock.release()


def read_mono16k(path: str | os.PathLike[str], *, gain_db: float = 0.0) -> NDArray[np.float32]:
    """Read a whole file, with the same samples, bit for bit, as :class:`FileSource` streams.

    Args:
        path: The file.
        gain_db: Amplification in decibels.

    Returns:
        float32[n], n >= 1: mono at 16 kHz, finite, within [-1, 1].

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """
    return np.concatenate([block.samples for block in _blocks(path, gain_db)])


def _blocks(path: str | os.PathLike[str], gain_db: float) -> Iterator[Block]:
    with FileSource(path, pace="fast", gain_db=gain_db) as source:
        while True:
            try:
                block = source.read(0.0)
            except EndOfSource:
                return
            if block is not None:
                yield block


def _check_readable(path: Path) -> None:
    """Say in plain words why a path is no file to read; libsndfile calls it all "System error"."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory, not an audio file")
        with path.open("rb") as file:
            empty = path.is_file() and not file.read(1)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not a path: {error}") from error
    if empty:
        raise InputError(f"{path} is empty (0 bytes)")


def _reason(error: Exception) -> str:
    """What libsndfile says, as the end of a sentence."""
    text = getattr(error, "error_string", None) or str(error)
    text = " ".join(text.split()).rstrip(".").removeprefix("Error : ")
    # The file exists (that was looked at before): this is what the MP3 reader says of any rubbish.
    if text.startswith("File does not exist"):
        text = "format not recognised"
    return text[:1].lower() + text[1:]
