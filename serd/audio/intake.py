"""Conversion of a source's frames to blocks: clean, mix, resample, high-pass, amplify, count.

Training, `serd classify` and the daemon all use it, so that they get the same samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from serd.audio.autogain import AutoGain
from serd.audio.channels import ChannelMixer, channel_problem
from serd.audio.format import SAMPLE_RATE
from serd.audio.highpass import HighPass
from serd.audio.level import CLIPPED
from serd.audio.resample import StreamResampler
from serd.audio.source import Block
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serd.audio.autogain import Gain
    from serd.audio.channels import Choice


def clean(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sanitise samples: NaN and infinities become 0, the rest is clipped to [-1, 1].

    One NaN would otherwise stay in the resampler's filter and in every mean after it.

    Args:
        frames: float32 of any shape; changed in place.

    Returns:
        The same array.
    """
    if _within(frames):  # nearly always: two comparisons cost less than writing everything again
        return frames
    finite = np.isfinite(frames)
    if not finite.all():
        frames[~finite] = 0.0
    _clip(frames)
    return frames


def _within(samples: NDArray[np.float32]) -> bool:
    """Whether all samples are finite and within [-1, 1]; NaN is not."""
    if not samples.size:
        return True
    return bool(samples.max() <= 1.0 and samples.min() >= -1.0)


def _clip(samples: NDArray[np.float32]) -> None:
    """Clip to [-1, 1], in place; ``np.clip`` takes three times as long to start."""
    np.maximum(samples, np.float32(-1.0), out=samples)
    np.minimum(samples, np.float32(1.0), out=samples)


def count_clipped(frames: NDArray[np.float32]) -> int:
    """Number of frames with a sample at full scale in any channel.

    Args:
        frames: float32[n, channels], n >= 1, within [-1, 1].
    """
    if frames.max() < CLIPPED and frames.min() > -CLIPPED:
        return 0
    return int(np.count_nonzero((np.abs(frames) >= CLIPPED).any(axis=1)))


class Intake:
    """Turns the frames of one source into :class:`Block` s with consecutive positions.

    Args:
        gain_db: Gain of the output in decibels, or ``auto`` (:mod:`serd.audio.autogain`); the
            output is clipped to full scale.
        channel: Which of several channels: see :mod:`serd.audio.channels`.
    """

    def __init__(self, *, gain_db: Gain = 0.0, channel: Choice = "mix") -> None:
        self._choice: Choice = channel
        self._channels: ChannelMixer | None = None
        self._auto = AutoGain() if gain_db == "auto" else None
        self._gain = np.float32(1.0 if gain_db == "auto" else 10.0 ** (gain_db / 20.0))
        self._resampler: StreamResampler | None = None
        self._high_pass = HighPass()
        self._first: NDArray[np.float32] | None = None
        self._offset = 0.0
        self._clipped = 0.0
        self._position = 0
        self._lost = 0
        self.blocks = 0
        """Number of blocks so far."""
        self.samples = 0
        """Number of samples at 16 kHz in them."""

    @property
    def position(self) -> int:
        """Position of the next sample, if nothing is lost before it."""
        return self._position + self._lost

    @property
    def pending(self) -> float:
        """Samples at 16 kHz that the resampler still holds."""
        return self._resampler.pending if self._resampler is not None else 0.0

    @property
    def gain_db(self) -> float:
        """The current gain in decibels."""
        if self._auto is not None:
            return self._auto.gain_db
        return 20.0 * math.log10(float(self._gain))

    @property
    def channels(self) -> ChannelMixer | None:
        """Mixes several channels; None if there is only one."""
        return self._channels

    def start(self, *, rate: int, channels: int, name: str = "the source") -> None:
        """Start a continuous run of frames.

        Args:
            rate: Sample rate in hertz.
            channels: Channels in each frame.
            name: Name of the source, for the log.

        Raises:
            UnavailableError: There are several channels, but not the selected one.
        """
        if channels > 1 and (problem := channel_problem(self._choice, channels)):
            raise UnavailableError(
                f"{name} {problem}", remedy="set audio.channel to another, to mix or to auto"
            )
        self._resampler = StreamResampler(rate)
        self._channels = (
            ChannelMixer(self._choice, rate=rate, count=channels, name=name)
            if channels > 1
            else None
        )
        self._begin_run()

    def _begin_run(self) -> None:
        """Prepare for frames that do not follow on from the previous ones."""
        self._high_pass.reset()
        self._first = None

    def skip(self, samples: int) -> None:
        """Note that ``samples`` samples at 16 kHz are missing before the run's first frame."""
        self._lost += samples

    def push(
        self, frames: NDArray[np.float32], arrived: float, *, in_range: bool = False
    ) -> Block | None:
        """Take the next frames.

        Args:
            frames: float32[n, channels]; may be changed.
            arrived: ``time.monotonic()`` when the last of them was delivered.
            in_range: They are known to be finite and within [-1, 1], because they were integers.

        Returns:
            A block, or None while the resampler has nothing ready.
        """
        assert self._resampler is not None  # noqa: S101 - start() comes first
        if not in_range:
            frames = clean(frames)
        if not len(frames):
            return None
        self._clipped += count_clipped(frames) * SAMPLE_RATE / self._resampler.rate
        if self._first is None:
            # The resampler and the high-pass start at rest. So does the sound, relative to its
            # first frame, and an offset makes no click.
            self._first = frames[0].copy()
        if self._first.any():
            frames -= self._first
        if self._channels is None:
            self._offset = float(self._first[0])
            samples = frames[:, 0]
        else:
            self._offset = float(self._channels.weights @ self._first)
            samples = self._channels.mix(frames)
        return self._block(self._resampler.push(samples), arrived)

    def gap(self, frames: int, arrived: float) -> Block | None:
        """Note that ``frames`` frames of input are missing after those already pushed.

        What the resampler still holds belongs before the gap and is flushed, so that positions are
        correct and the filter does not smear one side into the other.

        Returns:
            The block before the gap, or None if there was nothing to flush.
        """
        assert self._resampler is not None  # noqa: S101 - start() comes first
        block = self._block(self._resampler.finish(), arrived)
        self._begin_run()
        # At least one, however short: the receiver has to know about the discontinuity.
        self._lost += max(1, round(frames * SAMPLE_RATE / self._resampler.rate))
        return block

    def finish(self, arrived: float) -> Block | None:
        """End the run: the last block, or None if there was nothing to flush."""
        if self._resampler is None:
            return None
        return self._block(self._resampler.finish(), arrived)

    def _block(self, samples: NDArray[np.float32], arrived: float) -> Block | None:
        if not len(samples):
            return None
        offset = self._offset + float(samples.sum()) / len(samples)
        self._high_pass.filter(samples)
        if self._auto is not None:
            self._auto.amplify(samples)
        elif self._gain != 1.0:
            samples *= self._gain
        if not _within(samples):
            if self._gain > 1.0 or self._auto is not None:
                self._clipped += int(np.count_nonzero(np.abs(samples) > 1.0))
            _clip(samples)
        position, lost = self._position + self._lost, self._lost
        self._position, self._lost = position + len(samples), 0
        clipped, self._clipped = self._clipped, 0.0
        self.blocks += 1
        self.samples += len(samples)
        return Block(
            samples=samples,
            position=position,
            arrived=arrived,
            lost=lost,
            offset=offset,
            clipped=clipped,
        )
