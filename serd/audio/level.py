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
"""Amplitude from which a sample counts as clipped: a little below full scale, because converters
and codecs end there too."""

_RUN: Final = 256

HOLD_S: Final = 1.5
"""How long a peak is held; then its mark falls."""

FALL_DB_PER_S: Final = 20.0
"""How fast the mark falls (IEC 60268-10 type I meters fall by 20 dB in 1.7 s; this is faster)."""

LATELY_S: Final = 10.0
"""The room's noise, the loudest moment and the share of clipping are those of so many seconds."""

_FLAT_FRAMES: Final = round(SAMPLE_RATE / FRAME_SAMPLES)
_STILL: Final = 1e-6  # a resampled constant is constant but for rounding; 24 bits step by 1.2e-7


def dbfs(amplitude: float) -> float:
    """Decibels of an amplitude relative to full scale (1.0), no lower than the floor."""
    if amplitude <= 0.0:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, 20.0 * math.log10(amplitude))


def rms_dbfs(samples: NDArray[np.float32]) -> float:
    """RMS level.

    Args:
        samples: float32[n] in [-1, 1]; none at all count as silence.
    """
    if not len(samples):
        return FLOOR_DBFS
    # Sums of a few in float32, of those in float64: float32 alone would lose the last digits of a
    # minute of quiet samples, and float64 alone doubles the memory that is moved. Not np.dot: BLAS
    # spreads long vectors over threads, which costs more than it saves and changes the rounding.
    whole = len(samples) // _RUN * _RUN
    runs, rest = samples[:whole].reshape(-1, _RUN), samples[whole:]
    energy = np.einsum("ij,ij->i", runs, runs).sum(dtype=np.float64)
    energy += np.einsum("i,i->", rest, rest)
    return dbfs(math.sqrt(float(energy) / len(samples)))


def peak_dbfs(samples: NDArray[np.float32]) -> float:
    """Peak level.

    Args:
        samples: float32[n] in [-1, 1]; none at all count as silence.
    """
    if not len(samples):
        return FLOOR_DBFS
    return dbfs(max(float(samples.max()), -float(samples.min())))


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter shows. Levels in dBFS, no lower than -120."""

    seconds: float
    """Of sound since the meter was made."""
    rms_dbfs: float
    """Level since the last reading."""
    peak_dbfs: float
    """Peak since the last reading."""
    held_dbfs: float
    """The mark: the latest high peak, held and then falling."""
    loudest_dbfs: float
    """Peak lately (in the last 10 s, if not said otherwise)."""
    room_dbfs: float
    """Noise of the room: the level of the quietest tenth of the frames lately."""
    clipped_share: float
    """Share of the samples lately that are clipped, 0..1."""
    flat: bool
    """Whether there was but one value lately, for at least a second: a dead or muted input."""
    offset: float
    """Mean of all that the source delivered: what a sound card adds to every sample; 0 with a good
    one. The high-pass takes it away, but what it took of the range is lost."""


class LevelMeter:
    """Takes samples, gives readings. For one thread.

    Args:
        window_s: Seconds that "lately" means in the readings.
    """

    def __init__(self, window_s: float = LATELY_S) -> None:
        lately = max(_FLAT_FRAMES, round(window_s * SAMPLE_RATE / FRAME_SAMPLES))
        self._count = 0
        self._sum = 0.0
        self._energy = 0.0
        self._fresh = 0
        self._peak = 0.0
        self._held = FLOOR_DBFS
        self._held_at = 0
        self._shown_at = 0
        self._rest = np.empty(0, np.float32)
        self._unplaced = 0.0
        # One entry for each frame lately: energy, peak, clipped samples, whether it moves.
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
            offset: Of what the source delivered (:attr:`serd.audio.source.Block.offset`); None:
                the samples' own.
            clipped: Likewise, samples that were clipped.
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
        # Within a block the peak is taken to be at its end: 30 ms are nothing to the eye.
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
            # Spread over the frames that end in this block, or kept for the one that will.
            self._unplaced += clipped
            if len(frames):
                self._clipped.extend([self._unplaced / len(frames)] * len(frames))
                self._unplaced = 0.0

    def read(self) -> Reading:
        """The figures now; the next reading's level and peak begin anew."""
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
        """Where the mark is now."""
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
    """Counts how long every channel has stood at one exact value. For one thread."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self.seconds = 0.0
        """Of sound, up to the last frame that was fed; 0 if that one differs from its neighbour."""

    def feed(self, frames: NDArray[np.float32], rate: int) -> None:
        """Take the next frames as the device delivered them.

        Args:
            frames: float32[n, channels].
            rate: Hertz.
        """
        if not len(frames):
            return
        last, self._last = self._last, frames[-1].copy()
        # Nearly always the first comparison answers: sound differs from one sample to the next.
        if bool((frames[0] == frames[-1]).all()) and bool((frames == frames[0]).all()):
            same = last is not None and np.array_equal(last, frames[0])
            self.seconds = (self.seconds if same else 0.0) + len(frames) / rate
        else:
            self.seconds = 0.0
