"""A gentle high-pass that removes the offset of a sound card, and rumble.

Cheap converters shift every sample by some per cent of full scale, and the shift drifts as they
warm up. It is inaudible, but anything that measures energy mistakes it for a loud sound that never
ends, and speech no longer stands out from it.

The filter is a Butterworth high-pass of second order. Voices keep their level: the loss is 0.2 dB
at 62 Hz, the lowest frequency used by the features, and 0.05 dB at 90 Hz.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from serd.audio.format import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUTOFF_HZ: Final = 30.0
"""The -3 dB frequency. The deepest voices start at 70 Hz."""

_CHUNK: Final = 1_920
"""Samples (0.12 s) covered by a table of the pole's powers. These span a factor of 10^7, of the
10^16 that float64 resolves."""

_NOTHING: Final = 1e-20
"""A smaller state is set to zero, before it decays into denormal numbers, which are slow."""


def _design() -> tuple[float, complex, complex]:
    """Design the filter as partial fractions: ``H(z) = direct + 2 Re(residue / (1 - pole / z))``.

    The bilinear transform of the analogue prototype, as in ``scipy.signal.butter``.
    """
    warped = math.tan(math.pi * CUTOFF_HZ / SAMPLE_RATE)
    analogue = warped * complex(-math.sqrt(0.5), math.sqrt(0.5))
    pole = (1 + analogue) / (1 - analogue)
    scale = (1 + 2 * pole.real + abs(pole) ** 2) / 4
    residue = scale * (1 - 1 / pole) ** 2 / (1 - pole.conjugate() / pole)
    return scale / abs(pole) ** 2, pole, residue


_DIRECT, _POLE, _RESIDUE = _design()
_powers = _POLE ** np.arange(_CHUNK)
_fading = 2 * _RESIDUE * _powers
_GROWING: Final = np.stack(((1 / _powers).real, (1 / _powers).imag))  # float64[2, _CHUNK]
_FADING: Final = np.stack((_fading.real, -_fading.imag))  # likewise
_NEXT: Final = _POLE * complex(_powers[-1])


class HighPass:
    """Removes frequencies below about 30 Hz from a stream at 16 kHz.

    The output is bit-identical however the stream is cut into blocks. The filter starts at rest, so
    a stream that may have an offset should be passed relative to its first sample.

    With the pole's n-th power factored out, the recursion ``s[n] = pole s[n-1] + x[n]`` becomes a
    cumulative sum, which needs no Python loop over samples.
    """

    def __init__(self) -> None:
        self._work = np.empty((2, _CHUNK + 1))
        self._part = np.empty((2, _CHUNK))
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._at = 0  # samples of the current chunk that have been processed
        self._sum = 0j  # the state before the chunk, and over these samples x times growing powers

    def filter(self, samples: NDArray[np.float32]) -> None:
        """Filter the next samples, in place.

        Args:
            samples: float32[n], mono, 16 kHz, finite; any n, also 0. The result is finite, but may
                exceed [-1, 1].
        """
        done = 0
        while done < len(samples):
            count = min(_CHUNK - self._at, len(samples) - done)
            self._filter_chunk(samples[done : done + count])
            done += count

    def _filter_chunk(self, samples: NDArray[np.float32]) -> None:
        """Filter samples that do not extend beyond the current chunk."""
        begin, end = self._at, self._at + len(samples)
        # The cumulative sum continues, with exactly the additions of an undivided chunk.
        sums = self._work[:, : len(samples) + 1]
        sums[:, 0] = self._sum.real, self._sum.imag
        np.multiply(_GROWING[:, begin:end], samples, out=sums[:, 1:])
        np.add.accumulate(sums, axis=1, out=sums)
        part = self._part[:, : len(samples)]
        np.multiply(_FADING[:, begin:end], sums[:, 1:], out=part)
        part[0] += part[1]
        samples *= np.float32(_DIRECT)
        np.add(samples, part[0], out=samples, casting="same_kind")
        self._at, self._sum = end, complex(*sums[:, -1].tolist())
        if end == _CHUNK:
            state = _NEXT * self._sum
            self._at, self._sum = 0, state if abs(state) > _NOTHING else 0j
