"""Resampling of a mono stream to 16 kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from serd.audio.format import SAMPLE_RATE

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

QUALITY = "HQ"
"""soxr's recipe: 20 bits, flat to 7.3 kHz, aliases below -120 dB.

The cheaper ones cost the same here (48 kHz: 0.34 ms of CPU per second of audio for HQ and 0.31 ms
for LQ, measured on x86-64), and LQ already rolls off in the band that the features use.
"""


class StreamResampler:
    """Resamples a mono stream to 16 kHz.

    The concatenated output is bit-identical however the input is cut into blocks. Time is kept:
    output sample k belongs to input time k / 16000 s, without a shift. The filter needs a little
    look-ahead, so the output lags behind the input by at most 38 to 41 ms for 22.05, 44.1 and
    48 kHz, 79 ms for 96 and 192 kHz, 85 ms for 11.025 kHz, 115 ms for 8 kHz (measured with blocks
    of 30 ms), and not at all for 16 kHz.

    Args:
        rate: Sample rate of the input in hertz.

    Raises:
        ValueError: The rate is below 1.
    """

    def __init__(self, rate: int) -> None:
        if rate < 1:
            raise ValueError(f"no audio has a rate of {rate} Hz")
        self.rate = rate
        self._stream: Any = None
        if rate != SAMPLE_RATE:
            import soxr  # noqa: PLC0415 - at 16 kHz there is nothing to resample

            self._stream = soxr.ResampleStream(
                rate, SAMPLE_RATE, 1, dtype="float32", quality=QUALITY
            )
        self._pushed = 0
        self._emitted = 0

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples and return what is ready.

        Args:
            samples: float32[n], n >= 0, finite.

        Returns:
            float32[m], m >= 0; always a new array.
        """
        self._pushed += len(samples)
        ready: NDArray[np.float32] = (
            samples.copy() if self._stream is None else self._stream.resample_chunk(samples)
        )
        self._emitted += len(ready)
        return ready

    def finish(self) -> NDArray[np.float32]:
        """Return what the filter still holds, and reset the resampler.

        Returns:
            float32[m], m >= 0. In all, n input samples give round(n * 16000 / rate) samples.
        """
        tail: NDArray[np.float32] = np.empty(0, np.float32)
        if self._stream is not None and self._pushed:
            tail = self._stream.resample_chunk(tail, last=True)
            self._stream.clear()
        self._pushed = self._emitted = 0
        return tail

    @property
    def pending(self) -> float:
        """Samples at 16 kHz that have gone in and not come out yet."""
        return self._pushed * SAMPLE_RATE / self.rate - self._emitted
