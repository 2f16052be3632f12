"""Synthetic signals at 16 kHz: a voice-like one and various edge cases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]


def voice(seconds: float = 2.0, seed: int = 0) -> Samples:
    """A sound with the pitch, formants and syllables of a voice."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    pitch = 140.0 * (1.0 + 0.2 * np.sin(2 * np.pi * 0.7 * time + seed))
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    sound = np.zeros_like(time)
    for harmonic in range(1, 30):
        hertz = 140.0 * harmonic
        gain = sum(np.exp(-(((hertz - f) / 180.0) ** 2)) for f in (600.0, 1300.0, 2600.0))
        sound += (gain + 0.01) * np.sin(harmonic * phase)
    sound *= 0.6 + 0.4 * np.sin(2 * np.pi * 4.0 * time)
    sound += 0.003 * rng.standard_normal(len(time))
    return np.asarray(0.5 * sound / np.abs(sound).max(), dtype=np.float32)


def signals() -> dict[str, Samples]:
    """Named signals for comparing front ends."""
    rng = np.random.default_rng(7)
    time = np.arange(30_000) / 16_000
    click = np.zeros(20_000)
    click[5_000] = 1.0
    fade = 10.0 ** np.linspace(0.0, -5.0, 30_000)
    chosen = {
        "voice": voice(),
        "tone": np.sin(2 * np.pi * 1000.0 * time),
        "square": np.sign(np.sin(2 * np.pi * 333.0 * time)),
        "sweep": np.sin(2 * np.pi * (50.0 + 2000.0 * time) * time),
        "click": click,
        "constant": np.ones(30_000),
        "zeros": np.zeros(9_000),
        "faint noise": 1e-4 * rng.standard_normal(20_000),
        "noise that fades": 0.3 * fade * rng.standard_normal(30_000),
        "one sample": np.array([0.7]),
        "shorter than a frame": 0.1 * rng.standard_normal(100),
    }
    return {name: np.asarray(samples, dtype=np.float32) for name, samples in chosen.items()}
