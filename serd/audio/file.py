"""A recording as a source: any file that libsndfile reads, as fast as asked or as it was spoken."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from serd.audio.channels import channel_figures, lacking
from serd.audio.container import NEEDED, recognise
from serd.audio.ffmpeg import REMEDY as FFMPEG_REMEDY
from serd.audio.ffmpeg import FfmpegFile, installed
from serd.audio.format import BLOCK_S, FFMPEG_SUFFIXES, MAX_RATE, MIN_RATE, SAMPLE_RATE
from serd.audio.intake import Intake
from serd.audio.layout import Part, parts
from serd.audio.sndfile import Sound, decoder_error, hushed, reason
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

FAST_BLOCK_S = 0.96
"""Seconds in a block at pace "fast": 32 VAD frames, so that little is spent per block."""

REMEDY = (
    "serd reads what libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF and more; and through ffmpeg M4A, "
    "WebM and other containers"
)

_SCAN_FRAMES: Final = 1 << 18

_OVERDRIVEN: Final = 256.0
"""Up to here (48 dB) float samples are a mix that was driven too hot; beyond, they are integers."""

_TOLERANCE_S: Final = 0.06
"""Less than this is not missing: the padding of codecs."""


class AudioFile:
    """An open file that gives its frames in order, at its own rate and channels.

    A file that was put together of several (chained Ogg, joined MP3 or WAV) is read to its end;
    rate and channels may change on the way. What cannot be read, or is missing, is told.

    Args:
        path: The file.
        tell: Called with a sentence for each thing that is wrong with what could be opened.

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """

    _file: Sound | FfmpegFile | None = None

    def __init__(
        self, path: str | os.PathLike[str], *, tell: Callable[[str], None] = log.warning
    ) -> None:
        self.path = Path(path)
        self._tell = tell
        head = _check_readable(self.path)
        self._seconds = 0.0
        self._read = 0
        """Frames of the running part."""
        self._scale: np.float32 | None = None
        self._parts: deque[Part] = deque()
        regular = self.path.is_file()
        if regular:
            self._parts.extend(parts(self.path))
        self._alone = len(self._parts) < 2
        self.rate = self.channels = 0
        self.duration_s: float | None = None
        """Seconds, as far as the headers say; a damaged file gives less."""
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
            # Either a kind that libsndfile does not know, or one that it knows but finds damaged.
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
        """Open a part; None: the file as it is."""
        plain = part is None or (self._alone and (not part.head or part.frames is not None))
        try:
            with hushed():
                sound = Sound(self.path, None if plain else part, part)
        except InputError:
            raise
        except Exception as error:
            # TypeError: soundfile asks for rate and channels of a headerless ".raw" file.
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
        """What float samples in the range of integers have to be multiplied by; None: nothing.

        Some programs write 16-bit samples as floats and leave out the division. All of the file is
        looked at: that costs a tenth of what recognising costs.
        """
        assert isinstance(self._file, Sound)  # noqa: S101 - as the caller made sure
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
                self._tell(
                    f"{shown(self.path)} has float samples up to {peak:.0f}: taken for "
                    f"{bits + 1}-bit integers, and scaled to full scale"
                )
                return np.float32(2.0**-bits)
        return None

    def read(self, frames: int) -> NDArray[np.float32]:
        """Give the next frames, at most ``frames`` of them; none at the end.

        ``rate`` and ``channels`` are those of what was given last.

        Returns:
            float32[n, channels] as stored: neither finite nor within [-1, 1] for certain.

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
        """Say what was missing in a part that was read, and open the next."""
        self._tell_of_end(file, failure)
        file.close()
        self._file = None
        while self._parts:
            part = self._parts.popleft()
            why = self._open_next(part)
            if why is None:
                return
            self._tell(
                f"{shown(self.path)}: what follows after {self._seconds:.2f} s "
                f"({part.end - part.start} bytes) cannot be read: {why}"
            )

    def _open_next(self, part: Part) -> str | None:
        """Open a part that is not the first; why that is not possible, if it is not."""
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

    def _tell_of_end(self, file: Sound | FfmpegFile, failure: str | None) -> None:
        name, at = shown(self.path), self._seconds
        if isinstance(file, FfmpegFile):
            if file.problem:
                self._tell(f"{name} is damaged after {at:.2f} s: {file.problem}")
        else:
            missing = (file.promised - self._read) / file.rate if file.promised else 0.0
            more = f"; {missing:.2f} s more should follow" if missing > _TOLERANCE_S else ""
            if failure:
                self._tell(f"{name} is damaged after {at:.2f} s: {failure}{more}")
            elif more:
                self._tell(f"{name} ends early, after {at:.2f} s: {missing:.2f} s are missing")
            elif file.part is not None and file.part.open_ended:
                self._tell(
                    f"{name} ends early, after {at:.2f} s, without the mark at the end of an Ogg "
                    "stream: how much is missing, nothing in it says"
                )

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        self._parts.clear()
        if file is not None:
            file.close()


class FileSource(SourceContext):
    """A recording, block by block, never whole in memory.

    Args:
        path: The file.
        pace: "real" hands each block over when a microphone would have; "fast" at once.
        gain_db: Amplification in decibels, or ``auto``.
        channel: Of several channels, which: ``mix``, ``auto`` or a number from 1. In a recording
            with only one, that one.
        tell: Called with a sentence for each thing that is wrong with the recording.
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
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        self.path = Path(path)
        self._tell = tell
        self.pace: Pace = pace
        self._make_intake = partial(Intake, gain_db=gain_db, channel=channel)
        self._channel: Choice = channel
        self._intake = self._make_intake()
        self._file: AudioFile | None = None
        # libsndfile must not lose its file while it reads from it: held for one read at a time.
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
        """The file's path, as it can be printed."""
        return shown(self.path)

    @property
    def progress(self) -> float | None:
        """What share of the recording was read, 0..1; None where nothing says how long it is."""
        file = self._file
        if file is None or not file.duration_s:
            return None
        return min(1.0, self._seconds / file.duration_s)

    @property
    def stats(self) -> SourceStats:
        """The counters, at this moment."""
        return SourceStats(
            blocks=self._intake.blocks,
            samples=self._intake.samples,
            opens=self._opens,
            rate=self._rate,
            channels=self._channels,
            gain_db=self._intake.gain_db,
            **channel_figures(self._intake.channels),
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
        self._file = AudioFile(self.path, tell=self._tell)
        self._rate, self._channels = self._file.rate, self._file.channels
        self._intake = self._make_intake()
        self._start_run()
        self._begun, self._seconds, self._next, self._ended = None, 0.0, None, False
        self._opens += 1
        self._closed.clear()

    def _start_run(self) -> None:
        if self._channels > 1 and (problem := lacking(self._channel, self._channels)):
            self.close()
            raise InputError(
                f"{self.name} {problem}", remedy="set audio.channel to another, to mix or to auto"
            )
        self._intake.start(rate=self._rate, channels=self._channels, name=self.name)

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
            if self._next_format != (self._rate, self._channels):
                # Another part of a recording that was put together, at another rate.
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

    def _read_block(self, enough: int) -> NDArray[np.float32]:
        seconds = max(enough / SAMPLE_RATE, BLOCK_S if self.pace == "real" else FAST_BLOCK_S)
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


def read_mono16k(
    path: str | os.PathLike[str], *, gain_db: Gain = 0.0, channel: Choice = "mix"
) -> NDArray[np.float32]:
    """Read a whole file, with the same samples, bit for bit, as :class:`FileSource` streams.

    Args:
        path: The file.
        gain_db: Amplification in decibels, or ``auto``.
        channel: Of several channels, which; as for :class:`FileSource`.

    Returns:
        float32[n], n >= 1: mono at 16 kHz, finite, within [-1, 1].

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """
    return np.concatenate([block.samples for block in _blocks(path, gain_db, channel)])


def _blocks(path: str | os.PathLike[str], gain_db: Gain, channel: Choice) -> Iterator[Block]:
    with FileSource(path, pace="fast", gain_db=gain_db, channel=channel) as source:
        while True:
            try:
                block = source.read(0.0)
            except EndOfSource:
                return
            if block is not None:
                yield block


def _check_readable(path: Path) -> bytes:
    """Say in plain words why a path is no file to read; libsndfile calls it all "System error".

    Returns:
        How a regular file begins; nothing for what can be read only once.
    """
    head = b""
    try:
        if path.is_dir():
            raise InputError(f"{shown(path)} is a directory, not an audio file")
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
