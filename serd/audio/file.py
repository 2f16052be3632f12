"""A recording as a source, read as fast as possible or in real time."""

from __future__ import annotations

import logging
import stat
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from serd.audio.channels import channel_problem, channel_stats
from serd.audio.format import BLOCK_S, SAMPLE_RATE
from serd.audio.intake import Intake
from serd.audio.recording import AudioFile
from serd.audio.source import Block, EndOfSource, SourceContext, SourceStats
from serd.errors import InputError, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from serd.audio.autogain import Gain
    from serd.audio.channels import Choice

    Pace = Literal["real", "fast"]

log = logging.getLogger(__name__)

_COUNTED_FRAMES = 1 << 16
"""Frames decoded at a time to find out the length."""

FAST_BLOCK_S = 0.96
"""Seconds in a block at pace "fast": 32 VAD frames, so that the overhead per block is small."""


class FileSource(SourceContext):
    """A recording, delivered block by block, never loaded as a whole.

    Args:
        path: The file.
        pace: "real" delivers each block when a microphone would; "fast" immediately.
        gain_db: Gain in decibels, or ``auto``.
        channel: Which of several channels: ``mix``, ``auto`` or a number from 1; without effect on
            a mono recording.
        warn: Called with a sentence for each fault of the recording.
    """

    live = False
    steady = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pace: Pace = "real",
        gain_db: Gain = 0.0,
        channel: Choice = "mix",
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self.path = Path(path)
        self._warn = warn
        self.pace: Pace = pace
        self._make_intake = partial(Intake, gain_db=gain_db, channel=channel)
        self._channel: Choice = channel
        self._intake = self._make_intake()
        self._file: AudioFile | None = None
        # Held during each read: the file must not be closed while libsndfile reads from it.
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        self._opens = 0
        self._rate = 0
        self._channels = 0
        self._begun: float | None = None
        self._seconds = 0.0
        self._next_format = (0, 0)
        self._next: NDArray[np.float32] | None = None
        self._ended = False

    @property
    def name(self) -> str:
        """The file's path, printable."""
        return shown(self.path)

    @property
    def progress(self) -> float | None:
        """Share of the recording that has been read, 0..1; None if its length is unknown."""
        file = self._file
        if file is None or not file.duration_s:
            return None
        return min(1.0, self._seconds / file.duration_s)

    @property
    def stats(self) -> SourceStats:
        """The current counters."""
        return SourceStats(
            blocks=self._intake.blocks,
            samples=self._intake.samples,
            opens=self._opens,
            rate=self._rate,
            channels=self._channels,
            gain_db=self._intake.gain_db,
            **channel_stats(self._intake.channels),
        )

    @property
    def _pipe(self) -> bool:
        """Whether it is a pipe: looking into it would consume its contents."""
        try:
            mode = self.path.stat().st_mode
        except (OSError, ValueError):
            return False  # AudioFile reports what is wrong
        return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)

    def check(self) -> None:
        """Check that the recording can be opened; of a pipe, nothing is checked.

        Raises:
            InputError: It is missing, unreadable, not audio, or holds no audio.
        """
        if not self._pipe:
            AudioFile(self.path).close()

    def length_s(self) -> float | None:
        """Length of the recording in seconds; None if it is a pipe.

        From its header if that has it, otherwise (joined recordings, what ffmpeg reads) it is
        decoded once, which takes about a second for an hour.

        Raises:
            InputError: It is missing, unreadable, not audio, or holds no audio.
        """
        if self._pipe:
            return None
        file = AudioFile(self.path, warn=lambda _: None)  # open() reports the same
        try:
            if file.duration_s is not None:
                return file.duration_s
            seconds = 0.0
            while len(block := file.read(_COUNTED_FRAMES)):
                seconds += len(block) / file.rate
            return seconds
        finally:
            file.close()

    def open(self) -> None:
        """Open the file; reading starts at its beginning, at position 0.

        Raises:
            InputError: It is missing, unreadable, not audio, or holds no audio.
        """
        self.close()
        self._file = AudioFile(self.path, warn=self._warn)
        self._rate, self._channels = self._file.rate, self._file.channels
        self._intake = self._make_intake()
        self._start_run()
        self._begun, self._seconds, self._next, self._ended = None, 0.0, None, False
        self._opens += 1
        self._closed.clear()

    def _start_run(self) -> None:
        if self._channels > 1 and (problem := channel_problem(self._channel, self._channels)):
            self.close()
            raise InputError(
                f"{self.name} {problem}", remedy="set audio.channel to another, to mix or to auto"
            )
        self._intake.start(rate=self._rate, channels=self._channels, name=self.name)

    def read(self, timeout: float, batch: int = 0) -> Block | None:
        """Give the next block; see :meth:`serd.audio.source.Source.read`.

        At pace "real" the clock starts with the first call, and every block is due when its last
        sample would have been recorded, relative to that start, so delays do not accumulate.
        ``Block.arrived`` is the due time, even if the reader is late.
        """
        give_up = time.monotonic() + timeout
        while True:
            if self._closed.is_set() or self._ended:
                raise EndOfSource
            if self._next is None:
                self._next = self._read_block(batch)
            if self._next_format != (self._rate, self._channels):
                # Another part of a concatenated recording, in another format.
                self._rate, self._channels = self._next_format
                block = self._intake.finish(self._due(0))
                self._start_run()
                if block is not None:
                    return block
            due = self._due(len(self._next))
            if not self._wait(due, give_up):
                return None
            frames, self._next = self._next, None
            self._seconds += len(frames) / self._rate
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

    def _read_block(self, batch: int) -> NDArray[np.float32]:
        seconds = max(batch / SAMPLE_RATE, BLOCK_S if self.pace == "real" else FAST_BLOCK_S)
        with self._lock:
            if self._file is None:
                raise EndOfSource
            frames = self._file.read(max(1, round(seconds * self._file.rate)))
            if len(frames):
                self._next_format = self._file.rate, self._file.channels
            return frames

    def _due(self, frames: int) -> float:
        now = time.monotonic()
        if self.pace == "fast":
            return now
        if self._begun is None:
            self._begun = now
        return self._begun + self._seconds + frames / self._rate

    def _wait(self, due: float, give_up: float) -> bool:
        """Sleep until ``due`` or ``give_up``, or close(). Returns True if it is due."""
        if self.pace == "fast":
            return True
        while (left := min(due, give_up) - time.monotonic()) > 0:
            if self._closed.wait(left):
                raise EndOfSource
        return due <= time.monotonic()

    def close(self) -> None:
        """Close the file. A waiting ``read()`` ends."""
        self._closed.set()
        # A read that hangs (a pipe, a dead network disk) must not make close() hang as well.
        if self._lock.acquire(timeout=1.0):
            try:
                file, self._file = self._file, None
                if file is not None:
                    file.close()
            finally:
                self._lock.release()


def read_mono16k(
    path: str | os.PathLike[str], *, gain_db: Gain = 0.0, channel: Choice = "mix"
) -> NDArray[np.float32]:
    """Read a whole file. The samples are bit-identical to those of :class:`FileSource`.

    Args:
        path: The file.
        gain_db: Gain in decibels, or ``auto``.
        channel: Which of several channels, as for :class:`FileSource`.

    Returns:
        float32[n], n >= 1: mono at 16 kHz, finite, within [-1, 1].

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """
    blocks = [block.samples for block in _blocks(path, gain_db, channel)]
    if not blocks:
        raise InputError(f"{shown(path)} is too short: it holds no audio at {SAMPLE_RATE} Hz")
    return np.concatenate(blocks)


def _blocks(path: str | os.PathLike[str], gain_db: Gain, channel: Choice) -> Iterator[Block]:
    with FileSource(path, pace="fast", gain_db=gain_db, channel=channel) as source:
        while True:
            try:
                block = source.read(0.0)
            except EndOfSource:
                return
            if block is not None:
                yield block
