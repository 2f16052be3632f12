"""The mel filterbank and the cosine transform: matrices that depend on parameters alone.

The mel scale of M. Slaney ("Auditory Toolbox", Technical Report 1998-010, Interval Research) is
linear up to 1000 Hz, 200/3 Hz to the mel, and logarithmic above, 27 mels to a factor of 6.4. The
other, of the Hidden Markov Model Toolkit (HTK), is ``2595 log10(1 + f / 700)``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Scale = Literal["slaney", "htk"]

_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def hz_to_mel(hertz: npt.ArrayLike, scale: Scale) -> npt.NDArray[np.float64]:
    """Mels of frequencies in hertz, same shape."""
    hz = np.asarray(hertz, dtype=np.float64)
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, above, hz / _HZ_PER_MEL)


def mel_to_hz(mel: npt.ArrayLike, scale: Scale) -> npt.NDArray[np.float64]:
    """Frequencies in hertz of mels, same shape."""
    mels = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mels - _BREAK_MEL, 0.0))
    return np.where(mels >= _BREAK_MEL, above, mels * _HZ_PER_MEL)


@lru_cache(maxsize=32)
def mel_filterbank(
    *,
    rate: int,
    fft: int,
    bands: int,
    f_min_hz: float,
    f_max_hz: float,
    scale: Scale = "slaney",
    norm: Literal["slaney", "none"] = "slaney",
) -> npt.NDArray[np.float32]:
    """Triangles equally wide on the mel scale, each overlapping its neighbours by half.

    A band rises from the centre of the one below to its own and falls to the centre of the one
    above. With ``norm="slaney"`` it is divided by half its width in hertz, so that all have the
    same area.

    Returns:
        float32 ``[fft // 2 + 1, bands]``, read-only: power spectrum @ this = mel power.
    """
    low, high = hz_to_mel([f_min_hz, f_max_hz], scale)
    edges = mel_to_hz(np.linspace(low, high, bands + 2), scale)
    bins_hz = np.arange(fft // 2 + 1, dtype=np.float64) * (rate / fft)
    widths = np.diff(edges)
    rising = (bins_hz[:, np.newaxis] - edges[:-2]) / widths[:-1]
    falling = (edges[2:] - bins_hz[:, np.newaxis]) / widths[1:]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        weights *= 2.0 / (edges[2:] - edges[:-2])
    matrix = np.ascontiguousarray(weights, dtype=np.float32)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=32)
def cosine_matrix(bands: int, coefficients: int) -> npt.NDArray[np.float64]:
    """The orthonormal DCT-II of ``bands`` values as a matrix, first ``coefficients`` columns.

    Returns:
        float64 ``[bands, coefficients]``, read-only: log-mel @ this = MFCC.
    """
    n = np.arange(bands, dtype=np.float64)[:, np.newaxis] + 0.5
    k = np.arange(coefficients, dtype=np.float64)
    basis = np.cos(np.pi / bands * n * k) * math.sqrt(2.0 / bands)
    basis[:, 0] /= math.sqrt(2.0)
    basis.flags.writeable = False
    return basis
