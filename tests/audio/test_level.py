from __future__ import annotations

import numpy as np
import pytest

from serd.audio import FLOOR_DBFS
from serd.audio.level import dbfs, peak_dbfs, rms_dbfs


def test_levels_of_known_signals() -> None:
    sine = np.sin(2 * np.pi * np.arange(16_000) / 16).astype(np.float32)
    assert rms_dbfs(sine) == pytest.approx(-3.0103, abs=1e-3)
    assert peak_dbfs(sine) == pytest.approx(0.0, abs=1e-3)
    assert rms_dbfs(0.1 * sine) == pytest.approx(-23.0103, abs=1e-3)
    square = np.sign(sine + 1e-3)
    assert rms_dbfs(square.astype(np.float32)) == pytest.approx(0.0, abs=1e-3)
    assert peak_dbfs(np.array([0.0, -0.5, 0.25], np.float32)) == pytest.approx(-6.0206, abs=1e-3)


@pytest.mark.parametrize("samples", [[], [0.0], [0.0] * 100, [1e-30]])
def test_silence_has_the_floor_level(samples: list[float]) -> None:
    array = np.array(samples, np.float32)
    assert rms_dbfs(array) == FLOOR_DBFS
    assert peak_dbfs(array) == FLOOR_DBFS
    assert dbfs(0.0) == FLOOR_DBFS


def test_a_long_quiet_signal_is_measured_precisely() -> None:
    assert rms_dbfs(np.full(5_000_000, 1e-4, np.float32)) == pytest.approx(-80.0, abs=1e-4)
