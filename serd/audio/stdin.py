"""Raw samples from a pipe: ``arecord -f S16_LE -r 16000 -t raw | serd run --source -``."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from serd.audio.format import MAX_RATE, MIN_RATE, SAMPLE_RATE
from serd.audio.intake import Intake
from serd.audio.source import Block, EndOfSource, SourceContext, SourceStats
from serd.errors import InputError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

CONTAINERS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3\x03": "MP3", b"FORM": "AIFF"}
"""First four bytes of files that are often piped in by mistake."""


BACKLOG_S = 0.96
"""Most seconds that one read takes of what already waits: 32 frames of the detector. Sound that
waits is late anyway, and in larger blocks serd catches up sooner: all that is around a frame is
then done once for many."""

STALE_BYTES = 1 << 20
"""As large as a pipe may be made without privileges (pipe(7))."""


class StdinSource(SourceContext):
    """Signed 16-bit little-endian mono samples from a file descriptor.

    A pipe never overflows: whoever writes into it waits. The descriptor is not closed, it belongs
    to the process.

    Args:
        rate: Hertz of the samples.
        gain_db: Amplification in decibels.
        fd: File descriptor; None for standard input.

    Raises:
        UsageError: The rate is out of range.
    """

    live = True
    steady = False
    name = "standard input"
    _wake: tuple[int, int] | None = None
    """What close() writes to, so that a poll() in another thread ends."""

    def __init__(self, *, rate: int = 16_000, gain_db: float = 0.0, fd: int | None = None) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise UsageError(f"a rate of {rate} Hz is not within {MIN_RATE} to {MAX_RATE}")
        self.rate = rate
        self._given_fd = fd
        self._fd = -1
        self._intake = Intake(gain_db=gain_db)
        self._opens = 0
        self._poll = select.poll()
        self._most = 2 * max(1, round(rate * BACKLOG_S))
        self._closed = True
        self._ended = False
        self._rest = b""
        self._bytes = 0

    @property
    def stats(self) -> SourceStats:
        """The counters, at this moment."""
        return SourceStats(
            blocks=self._intake.blocks,
            samples=self._intake.samples,
            opens=self._opens,
            rate=self.rate if self._opens else 0,
            channels=1 if self._opens else 0,
        )

    def open(self) -> None:
        """Begin to read.

        Raises:
            UsageError: Standard input is a terminal.
            InputError: There is no standard input.
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
        if self._wake is None:
            self._wake = os.pipe()
            os.set_blocking(self._wake[0], False)
            os.set_blocking(self._wake[1], False)
        else:
            self._drop_stale()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._wake[0], select.POLLIN)
        self._intake.start(rate=self.rate, channels=1)
        self._opens += 1
        self._closed = False

    def read(self, timeout: float, enough: int = 0) -> Block | None:  # noqa: ARG002 - see below
        """Give the next block; see :meth:`serd.audio.source.Source.read`."""
        give_up = time.monotonic() + timeout
        while True:
            if self._closed or self._ended or self._wake is None:
                raise EndOfSource
            if not self._wait(give_up - time.monotonic()):
                return None
            # As a microphone's ring does, a pipe gives all that waits; a file that is the standard
            # input gives as much as is asked for.
            data = os.read(self._fd, self._most)
            now = time.monotonic()
            if not data:
                self._ended = True
                block = self._end(now)
                if block is None:
                    raise EndOfSource
                return block
            frames = self._decode(data)
            if len(frames):
                block = self._intake.push(frames, now, harmless=True)
                if block is not None:
                    return block

    def _drop_stale(self) -> None:
        """Forget what close() said, and what came in while nobody was to listen.

        The writer's sound of that time waits in the pipe; to hear it now would undo a mute.
        """
        assert self._wake is not None  # noqa: S101 - open() made it
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], 4096)
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            return
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        dropped = 0
        # Bounded: a fast writer must not keep us here.
        while dropped < STALE_BYTES and any(event & select.POLLIN for _, event in poll.poll(0)):
            data = os.read(self._fd, 4096)
            if not data:
                break
            dropped += len(data)
        self._intake.skip(dropped // 2 * SAMPLE_RATE // self.rate)
        self._rest = b"\0" * ((len(self._rest) + dropped) % 2)  # samples begin at even bytes

    def _wait(self, timeout: float) -> bool:
        """Whether there is something to read, or the end, within ``timeout`` seconds."""
        ready = self._poll.poll(max(0.0, timeout) * 1000.0)
        if self._closed:
            raise EndOfSource
        return any(fd == self._fd for fd, _ in ready)

    def _decode(self, data: bytes) -> NDArray[np.float32]:
        if self._bytes < 4:
            head = (self._rest + data)[:4]
            if kind := CONTAINERS.get(head):
                raise InputError(
                    f"standard input is a {kind} file, not raw samples",
                    remedy=f"give the file with --source PATH, or convert it: sox FILE -t raw "
                    f"-e signed -b 16 -c 1 -r {self.rate} -",
                )
        self._bytes += len(data)
        if self._rest:
            data = self._rest + data
        whole = len(data) // 2
        self._rest = data[2 * whole :]
        samples = np.frombuffer(data, "<i2", whole).astype(np.float32)
        samples *= np.float32(1.0 / 32768.0)
        return samples[:, np.newaxis]

    def _end(self, now: float) -> Block | None:
        if self._bytes < 2:
            raise InputError("standard input holds no audio (0 samples)")
        if self._rest:
            log.warning("standard input ends in the middle of a sample: is it 16-bit?")
        return self._intake.finish(now)

    def close(self) -> None:
        """Stop reading. A waiting ``read()`` ends."""
        self._closed = True
        if self._wake is not None:
            try:
                os.write(self._wake[1], b"x")
            except OSError as error:
                log.debug("closing standard input: %s", error)

    def __del__(self) -> None:
        for fd in self._wake or ():
            os.close(fd)
