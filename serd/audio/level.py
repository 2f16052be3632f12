"""How loud: RMS and peak in dBFS.

0 dBFS is the RMS of a square wave at full scale, so a full-scale sine has -3.01 dBFS RMS and
0 dBFS peak.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOOR_DBFS: Final = -120.0
"""What silence is given instead of minus infinity, which JSON cannot say. 24 bits end at -144."""

CLIPPED: Final = 0.998
"""Amplitude from which a sample counts as clipped: a little below full scale, because converters
and codecs end there too."""

_RUN: Final = 256


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
