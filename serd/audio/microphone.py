"""The microphone: PortAudio's callback fills a ring buffer, the reader does the rest."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from serd.audio import devices, portaudio
from serd.audio.channels import channel_problem, channel_stats
from serd.audio.format import BLOCK_S, SAMPLE_RATE
from serd.audio.intake import Intake
from serd.audio.level import FlatLine
from serd.audio.ring import Chunk, RingBuffer
from serd.audio.source import Block, EndOfSource, SourceContext, SourceStats
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from serd.audio.autogain import Gain
    from serd.audio.channels import Choice

log = logging.getLogger(__name__)

STALL_S = 5.0
"""Seconds without a sample after which a device counts as dead."""

CLOSE_S = 2.0
"""Seconds that the driver may take to close."""

OTHER_RATES = (48_000, 44_100, 32_000, 16_000, 96_000, 22_050, 8_000)
"""Hertz, tried in this order if a device refuses its native rate."""


NORMAL: Final = 0
"""The default nice value (nice(2))."""


class Capture:
    """The callback of one open stream, with its ring buffer and its record of faults.

    The callback runs on PortAudio's real-time thread. It copies and counts; it does not log,
    convert, or take a lock.
    """

    def __init__(self, *, rate: int, channels: int, buffer_s: float) -> None:
        self.rate = rate
        self.channels = channels
        self.ring = RingBuffer(max(1, round(rate * buffer_s)), channels)
        self.finished = False
        """Whether the stream has stopped, by itself or because it was closed."""
        self.overflows = 0
        """Number of callbacks for which the driver reported lost input."""
        self.gaps: collections.deque[tuple[int, float]] = collections.deque(maxlen=64)
        """For each of those: the index in the ring of the frame after the gap, and its seconds."""
        self._due: float | None = None

    def callback(
        self,
        frames: NDArray[np.float32],
        count: int,
        times: Any,
        status: Any,
    ) -> None:
        """Take a block; see ``sounddevice.InputStream``."""
        if self._due is None:  # the first call on this thread
            back_to_normal()
        heard = times.inputBufferAdcTime
        if status and status.input_overflow:
            # The driver does not report how much input was lost. The stream's clock shows it
            # roughly, unless it makes no sense, as with some plug-ins.
            self.overflows += 1
            late = heard - self._due if self._due is not None else 0.0
            self.gaps.append((self.ring.written, late if 0.0 < late < 60.0 else 0.0))
        self._due = heard + count / self.rate
        self.ring.write(frames, time.monotonic())

    def stopped(self) -> None:
        """Note that there will be no further callback."""
        self.finished = True
        self.ring.wake()


class Microphone(SourceContext):
    """An input device, opened at its native rate and channel count, as 16 kHz mono.

    It can be closed and opened again any number of times. Every ``open()`` looks the device up
    again by its selector. Positions continue: the time in between, by the clock, counts as lost
    before the next block.

    Args:
        device: A selector for :func:`serd.audio.devices.pick`.
        gain_db: Gain in decibels, or ``auto``.
        buffer_s: Seconds of audio in the ring buffer; when it is full, the oldest are dropped.
        channel: Which of several channels: ``mix``, ``auto`` or a number from 1.
    """

    live = True
    steady = True

    def __init__(
        self,
        *,
        device: str | int | None = None,
        gain_db: Gain = 0.0,
        buffer_s: float = 2.0,
        channel: Choice = "mix",
    ) -> None:
        self.device = device
        self.buffer_s = buffer_s
        self.channel: Choice = channel
        self._intake = Intake(gain_db=gain_db, channel=channel)
        self._flat = FlatLine()
        self._found: devices.Device | None = None
        self._stream: Any = None
        self._capture: Capture | None = None
        self._closed = True
        self._ready: collections.deque[Block] = collections.deque()
        self._arrived: float | None = None
        self._fresh = False
        self._pending = 0.0
        self._waited = 0.0
        self._opens = 0
        self._overflow_samples = 0
        self._device_overflows = 0

    @property
    def name(self) -> str:
        """The device's name once it has been found; before, the selector."""
        if self._found is not None:
            return self._found.name
        return "the default microphone" if self.device is None else str(self.device)

    @property
    def stats(self) -> SourceStats:
        """The current counters."""
        capture = self._capture
        return SourceStats(
            blocks=self._intake.blocks,
            samples=self._intake.samples,
            overflow_samples=self._overflow_samples + (capture.ring.lost if capture else 0),
            device_overflows=self._device_overflows + (capture.overflows if capture else 0),
            buffered_samples=len(capture.ring) if capture else 0,
            opens=self._opens,
            rate=capture.rate if capture else 0,
            channels=capture.channels if capture else 0,
            flat_s=self._flat.seconds,
            gain_db=self._intake.gain_db,
            **channel_stats(self._intake.channels),
        )

    def open(self) -> None:
        """Find the device and start recording.

        Raises:
            UnavailableError: PortAudio or the device is missing or busy, or refuses all formats.
        """
        self.close()
        found = devices.pick(self.device)
        self._found = found
        if problem := channel_problem(self.channel, found.channels):
            raise UnavailableError(
                f"the microphone {found.name!r} {problem}",
                remedy="set audio.channel to another, to mix or to auto; "
                "`serd devices` tells how many there are",
            )
        try:
            self._start(found)
        except UnavailableError as error:
            self.close()
            with suppress(UnavailableError):
                portaudio.renew()  # the index may belong to another device by now
            message = f"the microphone {found.name!r} cannot be opened: {error.message}"
            if (user := devices.holder(found.name)) is not None:
                raise UnavailableError(
                    f"{message}; {user} uses it",
                    remedy="end that program, or let both share it: docs/sources.md",
                ) from error
            raise UnavailableError(message, remedy=error.remedy) from error

    def _start(self, found: devices.Device) -> None:
        stream, capture = portaudio.open_stream(
            index=found.index,
            formats=formats(found, self.channel),
            block_s=BLOCK_S,
            listener=lambda rate, channels: Capture(
                rate=rate, channels=channels, buffer_s=self.buffer_s
            ),
        )
        self._stream = stream
        self._keep_counts()
        self._capture = capture
        # What the resampler of the last stream still held is lost.
        self._pending = self._intake.pending
        self._intake.start(rate=capture.rate, channels=capture.channels, name=found.name)
        self._fresh = True
        self._ready.clear()
        self._waited = 0.0
        self._opens += 1
        self._closed = False
        portaudio.start_stream(stream)
        log.debug(
            "listening to %s: %d Hz, %d channel(s)", found.name, capture.rate, capture.channels
        )

    def _unheard(self, chunk: Chunk, rate: int) -> int:
        """Samples at 16 kHz between the last one delivered and the first of a new stream."""
        if self._arrived is None:
            return 0
        begun = chunk.arrived - (chunk.lost + len(chunk.frames)) / rate
        return max(1, round((begun - self._arrived) * SAMPLE_RATE + self._pending))

    def _keep_counts(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            self._overflow_samples += capture.ring.lost
            self._device_overflows += capture.overflows

    def read(self, timeout: float, batch: int = 0) -> Block | None:
        """Give the next block; see :meth:`serd.audio.source.Source.read`."""
        give_up = time.monotonic() + timeout
        while True:
            capture = self._capture
            if self._closed or capture is None:
                raise EndOfSource
            if self._ready:
                return self._ready.popleft()
            begun = time.monotonic()
            needed = -(-batch * capture.rate // SAMPLE_RATE)
            few = len(capture.ring) < needed and not capture.finished and begun < give_up
            if not few and self._take(capture):
                self._waited = 0.0
                continue
            if capture.finished and not len(capture.ring):
                raise UnavailableError(
                    f"the microphone {self.name!r} has stopped by itself",
                    remedy="it may have been unplugged, or its sound server has ended",
                )
            if capture.ring.wait(give_up - begun, needed):
                continue
            # Only time spent waiting here counts: if the process itself was stopped (a debugger,
            # SIGSTOP), that is not the microphone's fault.
            self._waited += max(0.0, min(time.monotonic() - begun, give_up - begun))
            if self._waited >= STALL_S:
                self._waited = 0.0
                raise UnavailableError(
                    f"the microphone {self.name!r} has delivered nothing for {STALL_S:.0f} s",
                    remedy="it may have been unplugged, or its sound server hangs",
                )
            if not few:
                return None

    def _take(self, capture: Capture) -> bool:
        """Turn the contents of the ring into blocks. Returns False if it was empty."""
        ring = capture.ring
        gap = 0.0
        while capture.gaps and capture.gaps[0][0] <= ring.taken:
            gap += capture.gaps.popleft()[1]
            gap = max(gap, 1.0 / capture.rate)
        chunk = ring.read(capture.gaps[0][0] - ring.taken if capture.gaps else None)
        if self._fresh and (chunk.lost or len(chunk.frames)):
            self._fresh = False
            self._intake.skip(self._unheard(chunk, capture.rate))
        arrived = self._arrived if self._arrived is not None else chunk.arrived
        missing = chunk.lost + round(gap * capture.rate)
        if missing:
            self._keep(self._intake.gap(missing, arrived))
        if not len(chunk.frames):
            return missing > 0
        self._arrived = chunk.arrived
        self._flat.feed(chunk.frames, capture.rate)
        self._keep(self._intake.push(chunk.frames, chunk.arrived))
        return True

    def _keep(self, block: Block | None) -> None:
        if block is not None:
            self._ready.append(block)

    def close(self) -> None:
        """Release the device within two seconds, whatever its driver does."""
        self._closed = True
        if self._capture is not None:
            self._capture.ring.wake()
        stream, self._stream = self._stream, None
        if stream is not None:
            portaudio.close_stream(stream, timeout=CLOSE_S)


def formats(device: devices.Device, channel: Choice = "mix") -> list[tuple[int, int]]:
    """The formats to try, as (rate in hertz, channels): the device's native one first.

    Args:
        device: The device.
        channel: The selected channel; a number requires at least that many channels.
    """
    rates = list(dict.fromkeys((device.native_rate, *OTHER_RATES)))
    least = channel if isinstance(channel, int) else 1
    counts = [device.channels, *(n for n in (2, 1) if least <= n < device.channels)]
    counts = list(dict.fromkeys(counts))
    return [(rate, channels) for rate in rates for channels in counts]


def back_to_normal() -> None:
    """Restore normal priority for the calling thread, if that is allowed; never fails.

    The service runs below normal priority (``Nice=`` in its unit), so that the rest of the machine
    takes precedence. The driver's thread is an exception: what it does not fetch in time is lost.
    The unit allows it normal priority (``LimitNICE=``); elsewhere the priority was not lowered.

    On Linux a nice value belongs to a thread, and thread 0 means the calling one
    (setpriority(2), "C library/kernel differences").
    """
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) > NORMAL:
            os.setpriority(os.PRIO_PROCESS, 0, NORMAL)
