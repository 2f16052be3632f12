"""A gentle high-pass: a sound card's offset, and rumble, get no further than the source.

Cheap converters shift every sample by some per cent of full scale, and the shift drifts as they
warm up. Nobody hears it, but whatever measures energy takes it for a loud sound that never ends,
and speech no longer stands out from it.

The filter is a Butterworth high-pass of second order. A voice keeps its level: 0.2 dB are lost at
62 Hz, the lowest frequency that the features look at, and 0.05 dB at 90 Hz.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from serd.audio.format import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUTOFF_HZ: Final = 30.0
"""Where 3 dB are lost. The deepest voices begin at 70 Hz."""

_CHUNK: Final = 1_920
"""Samples (0.12 s) for which there is a table of the pole's powers. They span a factor of 10^7
there, of the 10^16 that float64 resolves."""

_NOTHING: Final = 1e-20
"""A smaller state is set to zero: otherwise it decays into denormal numbers, which are slow."""


def _design() -> tuple[float, complex, complex]:
    """The filter as partial fractions: ``H(z) = direct + 2 Re(residue / (1 - pole / z))``.

    From the analogue prototype by the bilinear transform, as ``scipy.signal.butter`` does it.
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
    """Takes a stream at 16 kHz and gives it without what is below some 30 Hz.

    However the stream is cut into blocks, the result is the same to the bit. It begins at rest: a
    stream that may start with an offset is best handed over relative to its first sample.

    With the pole's n-th power taken out, the recursion ``s[n] = pole s[n-1] + x[n]`` is a running
    sum, and so needs no loop over samples.
    """

    def __init__(self) -> None:
        self._work = np.empty((2, _CHUNK + 1))
        self._part = np.empty((2, _CHUNK))
        self.reset()

    def reset(self) -> None:
        """Begin another stream."""
        self._at = 0  # samples of the running chunk that have been seen
        self._sum = 0j  # the state before the chunk, and over these samples x times growing powers

    def filter(self, samples: NDArray[np.float32]) -> None:
        """Filter the next samples, in place.

        Args:
            samples: float32[n], mono, 16 kHz, finite; any n, also 0. The result is finite too, but
                may be beyond [-1, 1].
        """
        done = 0
        while done < len(samples):
            count = min(_CHUNK - self._at, len(samples) - done)
            self._filter_chunk(samples[done : done + count])
            done += count

    def _filter_chunk(self, samples: NDArray[np.float32]) -> None:
        """Filter samples that do not reach beyond the running chunk."""
        begin, end = self._at, self._at + len(samples)
        # The running sum goes on from where it was, by the very additions of an undivided chunk.
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
