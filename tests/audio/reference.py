"""The high-pass of :mod:`serd.audio.highpass`, as scipy computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def high_passed(samples: Any) -> Any:
    """Samples at 16 kHz after the high-pass of a source that starts with the first of them.

    Args:
        samples: float[n].

    Returns:
        float64[n], within [-1, 1].
    """
    signal = pytest.importorskip("scipy.signal")
    sections = signal.butter(2, 30.0, "highpass", fs=16_000, output="sos")
    samples = np.asarray(samples, np.float64)
    at_rest = signal.sosfilt_zi(sections) * samples[0]
    return np.clip(signal.sosfilt(sections, samples, zi=at_rest)[0], -1.0, 1.0)
