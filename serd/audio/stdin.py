"""Standard input as a source: raw samples, or a recording in any format.

For example, ``arecord -f S16_LE -r 16000 -t raw | serd run --source -``.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serd.audio.channels import channel_stats
from serd.audio.container import NEEDED, recognise
from serd.audio.ffmpeg import PipeDecoder
from serd.audio.format import (
    MAX_RATE,
    MIN_RATE,
    SAMPLE_RATE,
    NotPcmError,
    PcmFormat,
    PcmStream,
    read_header,
)
from serd.audio.intake import Intake
from serd.audio.rawcheck import RawCheck
from serd.audio.source import Block, EndOfSource, SourceContext, SourceStats
from serd.errors import InputError, UnavailableError, UsageError

if TYPE_CHECKING:
    from serd.audio.autogain import Gain
    from serd.audio.channels import Choice

log = logging.getLogger(__name__)

BACKLOG_S: Final = 0.96
"""Maximum length in seconds of one read: 32 VAD frames. Waiting audio is late anyway, and serd
catches up faster in larger blocks, which reduce the overhead per frame."""

STALE_BYTES: Final = 1 << 20
"""Maximum size of a pipe without privileges (pipe(7))."""

HEAD_S: Final = 0.25
"""Seconds to wait for a slow writer, until there is enough data to recognise a recording."""


class StdinSource(SourceContext):
    """Raw 16-bit little-endian mono samples from a file descriptor, or a recording.

    A pipe never overflows, because the writer waits. The descriptor belongs to the process and is
    not closed. A WAV stream is read directly; other formats are decoded by ffmpeg, or refused if it
    is not installed.

    Args:
        rate: Sample rate of raw samples in hertz.
        gain_db: Gain in decibels, or ``auto``.
        channel: Which of several channels: ``mix``, ``auto`` or a number from 1.
        fd: File descriptor; None for standard input.
        retry: Whether the end of input is a fault, after which it is opened again; otherwise the
            source just ends.
        alone: Whether it is the only source, so that serd exits if retrying cannot help.

    Raises:
        UsageError: The rate is out of range.
    """

    live = True
    steady = False
    name = "standard input"
    _wake: tuple[int, int] | None = None
    """A pipe that close() writes to, to wake up a poll() in another thread."""

    def __init__(
        self,
        *,
        rate: int = 16_000,
        gain_db: Gain = 0.0,
        channel: Choice = "mix",
        fd: int | None = None,
        retry: bool = False,
        alone: bool = True,
    ) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise UsageError(f"a rate of {rate} Hz is not within {MIN_RATE} to {MAX_RATE}")
        self.rate = rate
        self._given_fd = fd
        self._retry = retry
        self._alone = alone
        self._fd = -1
        self._intake = Intake(gain_db=gain_db, channel=channel)
        self._opens = 0
        self._poll = select.poll()
        self._most = 2 * max(1, round(rate * BACKLOG_S))
        self._closed = True
        self._reset()

    def _reset(self) -> None:
        """Reset everything: the next input may have another format."""
        self._head = b""
        self._head_due = math.inf
        self._pcm: PcmStream | None = None
        self._decoder: PipeDecoder | None = None
        self._check: RawCheck | None = None
        self._ended = False
        self._heard = 0
        """Number of frames read."""

    @property
    def stats(self) -> SourceStats:
        """The current counters."""
        pcm = self._pcm.format if self._pcm is not None else PcmFormat(rate=self.rate)
        return SourceStats(
            blocks=self._intake.blocks,
            samples=self._intake.samples,
            opens=self._opens,
            rate=pcm.rate if self._opens else 0,
            channels=pcm.channels if self._opens else 0,
            gain_db=self._intake.gain_db,
            **channel_stats(self._intake.channels),
        )

    def open(self) -> None:
        """Start reading.

        Raises:
            UsageError: Standard input is a terminal.
            InputError: There is no standard input, or it has ended for good.
            UnavailableError: It has ended, and there is no new writer yet.
        """
        try:
            self._fd = sys.stdin.fileno() if self._given_fd is None else self._given_fd
            terminal = os.isatty(self._fd)
        except (AttributeError, ValueError, OSError) as error:
            raise InputError("there is no standard input to read from") from error
        if terminal:
            raise UsageError(
                "standard input is a terminal; audio has to be piped in",
                remedy="arecord -f S16_LE -r 16000 -c 1 -t raw | serd run --source -",
            )
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        if self._ended:
            self._look_for_more()
        if self._wake is None:
            self._wake = os.pipe()
            os.set_blocking(self._wake[0], False)
            os.set_blocking(self._wake[1], False)
        else:
            self._drop_stale()
        self._poll.register(self._wake[0], select.POLLIN)
        if self._pcm is not None:
            self._intake.start(
                rate=self._pcm.format.rate, channels=self._pcm.format.channels, name=self.name
            )
        self._opens += 1
        self._closed = False

    def _look_for_more(self) -> None:
        """Check for a new writer after the end, which is possible with a named pipe."""
        if any(event & select.POLLIN for _, event in self._poll.poll(0)) and not _is_file(self._fd):
            self._reset()
            return
        named = os.path.lexists(_path_of(self._fd)) and stat.S_ISFIFO(os.fstat(self._fd).st_mode)
        if self._alone and not named:
            raise InputError(
                "standard input has ended, and what it was can bring no more",
                remedy="whoever starts serd has to start it again, with what writes into it",
            )
        raise _gone()

    def read(self, timeout: float, batch: int = 0) -> Block | None:  # noqa: ARG002 - see below
        """Give the next block; see :meth:`serd.audio.source.Source.read`."""
        give_up = time.monotonic() + timeout
        while True:
            if self._closed or self._ended or self._wake is None:
                raise self._at_end()
            # A pipe delivers everything that is waiting, like a microphone's ring; a file delivers
            # as much as is requested.
            pcm, data = self._next(give_up)
            if data is None:
                return None
            now = time.monotonic()
            if not data:
                block = self._end(now)
                if block is None:
                    raise self._at_end()
                return block
            block = self._take(pcm, data, now)
            if block is not None:
                return block

    def _take(self, pcm: PcmStream, data: bytes, now: float) -> Block | None:
        if self._check is not None and self._check.feed(data, now):
            self._check = None
        frames = pcm.push(data)
        self._heard += len(frames)
        return self._intake.push(frames, now, in_range=pcm.format.in_range)

    def _next(self, give_up: float) -> tuple[PcmStream, bytes | None]:
        """The next bytes, as from :meth:`_bytes`, and their format."""
        data = None
        if self._pcm is None:
            data = self._recognised(give_up)
            if self._pcm is None:
                return PcmStream(PcmFormat(rate=self.rate)), None
        # There may have been only a header so far.
        return self._pcm, data or self._bytes(give_up)

    def _bytes(self, give_up: float) -> bytes | None:
        """The next bytes; ``b""`` at the end, None if nothing arrived in time."""
        left = max(0.0, give_up - time.monotonic())
        if self._decoder is not None:
            data = self._decoder.read(left)
            if self._closed:
                raise EndOfSource
            return data
        return os.read(self._fd, self._most) if self._wait(left) else None

    def _recognised(self, give_up: float) -> bytes | None:
        """Determine the format: ``_pcm``, and ``_decoder`` if one is needed.

        Returns:
            The first samples; None if there was not enough data in time.

        Raises:
            InputError: serd cannot read it.
        """
        ended = False
        while not self._known(last=ended or time.monotonic() >= self._head_due):
            if ended:
                problem = self._stop_decoding()
                self._ended = True
                raise InputError(f"standard input holds no audio: {problem or 'it ends too soon'}")
            now = time.monotonic()
            # After the grace period of a slow writer, just wait for more data.
            data = self._bytes(min(give_up, self._head_due) if now < self._head_due else give_up)
            if data:
                if not self._head:
                    self._head_due = time.monotonic() + HEAD_S
                self._head += data
            elif data is not None:
                ended = True
            elif time.monotonic() >= give_up:
                return None
        head, self._head = self._head, b""
        return head

    def _known(self, *, last: bool) -> bool:
        """Whether ``_head`` is enough to determine the format.

        Args:
            last: Whether no more data is expected soon.
        """
        if self._decoder is not None:
            return self._starts_as_wav()
        if len(self._head) < NEEDED and not last:
            return False
        kind = recognise(self._head)
        if kind is None:
            if len(self._head) < 2:
                raise InputError("standard input holds no audio (0 samples)")
            self._set(PcmFormat(rate=self.rate))
            self._check = RawCheck(self.rate, "the samples on standard input")
            return True
        if kind.startswith("WAV"):
            with contextlib.suppress(NotPcmError):
                return self._starts_as_wav()
        log.info("standard input is a recording (%s), and goes through ffmpeg", kind)
        try:
            self._decoder = PipeDecoder(self._fd, self._head)
        except UnavailableError as error:
            raise InputError(
                f"standard input is {kind}, which serd reads from a pipe only through ffmpeg: "
                f"{error.message}",
                remedy=f"{error.remedy}, or give the file with --source PATH",
            ) from error
        self._head, self._head_due = b"", math.inf
        return False

    def _starts_as_wav(self) -> bool:
        """Whether ``_head`` started with a complete WAV header, which is then removed."""
        header = read_header(self._head) if len(self._head) >= 4 else None
        if header is None:
            return False
        self._set(header[0])
        self._head = self._head[header[1] :]
        return True

    def _set(self, pcm: PcmFormat) -> None:
        self._pcm = PcmStream(pcm)
        self._most = pcm.frame_bytes * max(1, round(pcm.rate * BACKLOG_S))
        self._intake.start(rate=pcm.rate, channels=pcm.channels, name=self.name)

    def _drop_stale(self) -> None:
        """Discard the wake-up of close(), and audio that arrived while the source was closed.

        That audio is waiting in the pipe; to process it now would undo a mute.
        """
        assert self._wake is not None  # noqa: S101 - open() made it
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], 4096)
        pcm = self._pcm
        if _is_file(self._fd) or pcm is None:
            return
        dropped = 0
        # Bounded, because of fast writers.
        while dropped < STALE_BYTES:
            if self._decoder is not None:
                data = self._decoder.read(0.0)
            else:
                ready = any(event & select.POLLIN for _, event in self._poll.poll(0))
                data = os.read(self._fd, 4096) if ready else None
            if not data:
                break
            dropped += len(data)
        width = pcm.format.frame_bytes
        self._intake.skip(dropped // width * SAMPLE_RATE // pcm.format.rate)
        pcm.rest = b"\0" * ((len(pcm.rest) + dropped) % width)  # keep the alignment of samples

    def _wait(self, timeout: float) -> bool:
        """Whether there is data, or the end of input, within ``timeout`` seconds."""
        ready = self._poll.poll(max(0.0, timeout) * 1000.0)
        if self._closed:
            raise EndOfSource
        return any(fd == self._fd for fd, _ in ready)

    def _end(self, now: float) -> Block | None:
        assert self._pcm is not None  # noqa: S101 - else nothing was read
        self._ended = True
        problem = self._stop_decoding()
        if not self._heard:
            why = f": {problem}" if problem else " (0 samples)"
            raise InputError(f"standard input holds no audio{why}")
        if problem is not None:
            log.warning("standard input is damaged: %s", problem)
        if self._pcm.rest:
            log.warning("standard input ends in the middle of a sample: is it 16-bit?")
        log.warning(
            "standard input has ended after %.1f s of sound", self._heard / self._pcm.format.rate
        )
        return self._intake.finish(now)

    def _stop_decoding(self) -> str | None:
        """End ffmpeg. Returns what was wrong with its input, if anything."""
        decoder, self._decoder = self._decoder, None
        return decoder.end() if decoder is not None else None

    def _at_end(self) -> Exception:
        """The exception to raise when nothing more can be read."""
        if self._closed or not self._retry:
            return EndOfSource()
        return _gone()

    def close(self) -> None:
        """Stop reading. A waiting ``read()`` ends."""
        self._closed = True
        if self._wake is not None:
            try:
                os.write(self._wake[1], b"x")
            except OSError as error:
                log.debug("closing standard input: %s", error)

    def __del__(self) -> None:
        if getattr(self, "_decoder", None) is not None:
            self._stop_decoding()
        for fd in self._wake or ():
            os.close(fd)


def _gone() -> UnavailableError:
    return UnavailableError(
        "standard input has ended: nobody writes into it",
        remedy="start what writes into it again, or, if it was no named pipe, serd",
    )


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _path_of(fd: int) -> str:
    """The path of a file descriptor; not an existing one for an anonymous pipe."""
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""
