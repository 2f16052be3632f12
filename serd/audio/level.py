"""Levels: RMS and peak in dBFS, a level meter, and the detection of dead inputs.

0 dBFS is the RMS of a square wave at full scale, so a full-scale sine has -3.01 dBFS RMS and
0 dBFS peak.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from serd.audio import FLOOR_DBFS
from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIPPED: Final = 0.998
"""Amplitude from which a sample counts as clipped: a little below full scale, because some
converters and codecs do not reach it."""

_RUN: Final = 256

HOLD_S: Final = 1.5
"""Seconds for which a peak is held before its mark falls."""

FALL_DB_PER_S: Final = 20.0
"""Rate at which the mark falls (IEC 60268-10 type I meters take 1.7 s for 20 dB)."""

WINDOW_S: Final = 10.0
"""Seconds over which noise, loudest peak and clipping are measured."""

_FLAT_FRAMES: Final = round(SAMPLE_RATE / FRAME_SAMPLES)
_STILL: Final = 1e-6  # a resampled constant varies by rounding; one step of 24 bits is 1.2e-7


def dbfs(amplitude: float) -> float:
    """Decibels of an amplitude relative to full scale (1.0), no lower than the floor."""
    if amplitude <= 0.0:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, 20.0 * math.log10(amplitude))


def rms_dbfs(samples: NDArray[np.float32]) -> float:
    """RMS level.

    Args:
        samples: float32[n] in [-1, 1]; an empty array counts as silence.
    """
    if not len(samples):
        return FLOOR_DBFS
    # Partial sums in float32, their sum in float64: float32 alone loses precision over a minute of
    # quiet samples, and float64 alone doubles the memory traffic. Not np.dot: BLAS spreads long
    # vectors over threads, which costs more than it saves and changes the rounding.
    whole = len(samples) // _RUN * _RUN
    runs, rest = samples[:whole].reshape(-1, _RUN), samples[whole:]
    energy = np.einsum("ij,ij->i", runs, runs).sum(dtype=np.float64)
    energy += np.einsum("i,i->", rest, rest)
    return dbfs(math.sqrt(float(energy) / len(samples)))


def peak_dbfs(samples: NDArray[np.float32]) -> float:
    """Peak level.

    Args:
        samples: float32[n] in [-1, 1]; an empty array counts as silence.
    """
    if not len(samples):
        return FLOOR_DBFS
    return dbfs(max(float(samples.max()), -float(samples.min())))


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The reading of a level meter. Levels in dBFS, not below -120."""

    seconds: float
    """Seconds of audio since the meter was created."""
    rms_dbfs: float
    """RMS level since the last reading."""
    peak_dbfs: float
    """Peak since the last reading."""
    held_dbfs: float
    """Peak-hold mark: the latest high peak, held and then falling."""
    loudest_dbfs: float
    """Peak over the meter's window (10 s by default)."""
    room_dbfs: float
    """Noise of the room: the 10th percentile of the frame levels over the window."""
    clipped_share: float
    """Share of clipped samples over the window, 0..1."""
    flat: bool
    """Whether the value was constant over the window: a dead or muted input."""
    offset: float
    """Mean of the source's samples: an offset that the sound card adds, 0 with a good one. The
    high-pass removes it, but that part of the range is lost."""


class LevelMeter:
    """A level meter. Not thread-safe.

    Args:
        window_s: Window of the readings in seconds.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        lately = max(_FLAT_FRAMES, round(window_s * SAMPLE_RATE / FRAME_SAMPLES))
        self._count = 0
        self._sum = 0.0
        self._energy = 0.0
        self._fresh = 0
        self._peak = 0.0
        self._held = FLOOR_DBFS
        self._held_at = 0
        self._rest = np.empty(0, np.float32)
        self._unplaced = 0.0
        # One entry for each frame in the window: energy, peak, clipped samples, whether it varies.
        self._frames: deque[float] = deque(maxlen=lately)
        self._peaks: deque[float] = deque(maxlen=lately)
        self._clipped: deque[float] = deque(maxlen=lately)
        self._moving: deque[bool] = deque(maxlen=lately)

    def feed(
        self,
        samples: NDArray[np.float32],
        *,
        offset: float | None = None,
        clipped: float | None = None,
    ) -> None:
        """Take the next samples.

        Args:
            samples: float32[n], mono, 16 kHz.
            offset: Offset of the source (:attr:`serd.audio.source.Block.offset`); None: that of
                the samples.
            clipped: Clipped samples of the source; None: those of the samples.
        """
        if not len(samples):
            return
        self._count += len(samples)
        self._fresh += len(samples)
        mean = float(samples.mean(dtype=np.float64)) if offset is None else offset
        self._sum += mean * len(samples)
        self._energy += float(np.square(samples, dtype=np.float64).sum())
        peak = max(float(samples.max()), -float(samples.min()))
        self._peak = max(self._peak, peak)
        # A peak counts as being at the end of its block: 30 ms make no visible difference.
        if dbfs(peak) >= self._fallen():
            self._held, self._held_at = dbfs(peak), self._count

        audio = np.concatenate((self._rest, samples))
        whole = len(audio) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = audio[whole:]
        frames = audio[:whole].reshape(-1, FRAME_SAMPLES)
        self._frames.extend(np.einsum("ij,ij->i", frames, frames).tolist())
        self._moving.extend((np.ptp(frames, axis=1) > _STILL).tolist())
        amplitudes = np.abs(frames)
        self._peaks.extend(amplitudes.max(axis=1).tolist())
        if clipped is None:
            self._clipped.extend((amplitudes >= CLIPPED).sum(axis=1).tolist())
        else:
            # Distributed over the frames that end in this block, or kept for the next one.
            self._unplaced += clipped
            if len(frames):
                self._clipped.extend([self._unplaced / len(frames)] * len(frames))
                self._unplaced = 0.0

    def read(self) -> Reading:
        """Take a reading, and restart level and peak for the next one."""
        reading = Reading(
            seconds=self._count / SAMPLE_RATE,
            rms_dbfs=dbfs((self._energy / self._fresh) ** 0.5) if self._fresh else FLOOR_DBFS,
            peak_dbfs=dbfs(self._peak),
            held_dbfs=self._fallen(),
            loudest_dbfs=dbfs(max(self._peaks, default=0.0)),
            room_dbfs=self._room(),
            clipped_share=self._clipped_share(),
            flat=len(self._moving) >= _FLAT_FRAMES and not any(self._moving),
            offset=self._sum / self._count if self._count else 0.0,
        )
        self._energy, self._fresh, self._peak = 0.0, 0, 0.0
        return reading

    def _fallen(self) -> float:
        """Current level of the peak-hold mark."""
        since = (self._count - self._held_at) / SAMPLE_RATE
        return max(FLOOR_DBFS, self._held - FALL_DB_PER_S * max(0.0, since - HOLD_S))

    def _room(self) -> float:
        if not self._frames:
            return FLOOR_DBFS
        quiet = sorted(self._frames)[len(self._frames) // 10]
        return dbfs((quiet / FRAME_SAMPLES) ** 0.5)

    def _clipped_share(self) -> float:
        heard = len(self._clipped) * FRAME_SAMPLES
        return sum(self._clipped) / heard if heard else 0.0


class FlatLine:
    """Measures how long every channel has delivered one exact value. Not thread-safe.

    A muted or broken microphone, a driver that lost its device, a virtual device that nothing plays
    to: all of them deliver blocks in time. A working analogue input never repeats one exact value
    for long, because its own noise changes the last bits.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self.seconds = 0.0
        """Seconds of constant audio up to the last frame."""

    def feed(self, frames: NDArray[np.float32], rate: int) -> None:
        """Process the next frames as the device delivered them.

        Args:
            frames: float32[n, channels].
            rate: Hertz.
        """
        if not len(frames):
            return
        last, self._last = self._last, frames[-1].copy()
        # Usually the first comparison decides: sound differs from one sample to the next.
        if bool((frames[0] == frames[-1]).all()) and bool((frames == frames[0]).all()):
            same = last is not None and np.array_equal(last, frames[0])
            self.seconds = (self.seconds if same else 0.0) + len(frames) / rate
        else:
            self.seconds = 0.0
