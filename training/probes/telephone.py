"""What a line and a coder leave of a voice."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from serd.audio.format import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.probes.noise import Samples

BAND_HZ = (300.0, 3400.0)
"""The band of a telephone line (ITU-T G.712)."""

_LINE_RATE = 8000
_TAPS = 257
_MU = 255.0

OPUS_LEVEL = 0.97
"""libsndfile's compression level that gives Opus about 13 kbit/s for one channel: what voice
messages use."""


def telephone(samples: Samples) -> Samples:
    """A telephone line: 8 kHz, 300 to 3400 Hz, 8 bits by the mu law.

    Args:
        samples: float32 ``[n]`` at 16 kHz.

    Returns:
        float32 ``[n]`` at 16 kHz.
    """
    import soxr

    narrow = soxr.resample(samples, SAMPLE_RATE, _LINE_RATE)
    line = mu_law(np.convolve(narrow, _band_pass(), mode="same"))
    wide = soxr.resample(line.astype(np.float32), _LINE_RATE, SAMPLE_RATE)[: len(samples)]
    return np.pad(wide, (0, len(samples) - len(wide)))


def mu_law(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compress, round to 8 bits, expand: the continuous form of ITU-T G.711's mu law.

    Args:
        samples: In [-1, 1]; what is beyond is clipped.
    """
    inside = np.clip(np.asarray(samples, dtype=np.float64), -1.0, 1.0)
    pressed = np.sign(inside) * np.log1p(_MU * np.abs(inside)) / np.log1p(_MU)
    steps = np.rint(pressed * 127.0) / 127.0
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(_MU)) / _MU)


def opus(samples: Samples) -> Samples:
    """Coded as Opus at a low rate and decoded again, by libsndfile.

    Args:
        samples: float32 ``[n]`` at 16 kHz.

    Returns:
        float32 ``[n]`` at 16 kHz.
    """
    import soundfile

    coded = io.BytesIO()
    soundfile.write(
        coded, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL
    )
    coded.seek(0)
    decoded, _ = soundfile.read(coded, dtype="float32")
    decoded = decoded[: len(samples)]
    padded: Samples = np.pad(decoded, (0, len(samples) - len(decoded)))
    return padded


@lru_cache(maxsize=1)
def _band_pass() -> NDArray[np.float64]:
    """A windowed sinc (Hamming): 6 dB down at both corners, 50 dB down 100 Hz beyond."""
    place = np.arange(_TAPS) - _TAPS // 2
    low, high = (2 * corner / _LINE_RATE for corner in BAND_HZ)
    ideal = high * np.sinc(high * place) - low * np.sinc(low * place)
    return np.asarray(ideal * np.hamming(_TAPS))
