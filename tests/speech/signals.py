"""Synthetic sounds for the tests, at 16 kHz and deterministic."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Samples = NDArray[np.float32]


def at(signal: NDArray[np.floating], dbfs: float) -> Samples:
    """Scale a signal to an RMS level."""
    scaled: Samples = (signal / np.sqrt(np.mean(np.square(signal)))).astype(np.float32)
    return scaled * np.float32(10 ** (dbfs / 20))


def time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def noise(seconds: float, *, slope: float = 0.0, seed: int = 1) -> NDArray[np.float64]:
    """Noise with a power density of 1 / frequency ** ``slope``: 0 white, 1 pink, 2 brown."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    return np.fft.irfft(spectrum * np.maximum(frequency, 20) ** (-slope / 2), count)


def fan(seconds: float) -> NDArray[np.float64]:
    """Low-passed noise with a slow beat, and the hum of a motor."""
    t = time(seconds)
    air = noise(seconds, slope=1.5)
    air *= (1 + 0.2 * np.sin(2 * np.pi * 2.3 * t)) / air.std()
    return air + 0.5 * np.sin(2 * np.pi * 120 * t) + 0.3 * np.sin(2 * np.pi * 240 * t)


def hum(seconds: float) -> NDArray[np.float64]:
    """Mains hum: 50 Hz and its harmonics."""
    t = time(seconds)
    mains = np.zeros(len(t))
    for k in (1, 2, 3, 4, 5, 6, 7, 9):
        mains += np.sin(2 * np.pi * 50 * k * t + k) / k
    return mains


def taps(seconds: float, *, per_second: float, seed: int = 2) -> Samples:
    """Knocks on wood and china: decaying bursts of noise and tone over a quiet hiss."""
    rng = np.random.default_rng(seed)
    sound = 1e-3 * rng.normal(size=round(seconds * RATE))
    position = 0.0
    while position < len(sound):
        decay = rng.uniform(0.01, 0.06)
        t = time(4 * decay)
        knock = rng.normal(size=len(t)) + np.sin(2 * np.pi * rng.uniform(150, 1500) * t)
        room = sound[round(position) : round(position) + len(t)]
        room += (knock * np.exp(-t / decay) * rng.uniform(0.05, 0.3))[: len(room)]
        position += RATE / per_second * rng.uniform(0.6, 1.4)
    return np.clip(sound, -1, 1).astype(np.float32)


def typing(seconds: float) -> Samples:
    """Five keystrokes a second."""
    rng = np.random.default_rng(3)
    sound = 3e-3 * rng.normal(size=round(seconds * RATE))
    click = np.exp(-np.arange(320) / 60) * 0.2
    for begin in rng.integers(0, len(sound) - 320, round(5 * seconds)):
        sound[begin : begin + 320] += rng.normal(size=320) * click
    return sound.astype(np.float32)


def beeps(seconds: float, *, hertz: float = 1000.0) -> Samples:
    """A tone of 0.3 s every second."""
    t = time(seconds)
    return (0.1 * np.sin(2 * np.pi * hertz * t) * (t % 1 < 0.3)).astype(np.float32)


def syllables(sound: NDArray[np.float64]) -> Samples:
    """The sound, modulated in level four times a second."""
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * np.arange(len(sound)) / RATE)
    return (sound * swell).astype(np.float32)


def vowels(seconds: float, *, pitch: float = 120.0) -> Samples:
    """A voice-like sound: pulses with a gliding pitch, four syllables a second."""
    t = time(seconds)
    phase = pitch * t + 3 * np.sin(2 * np.pi * 0.7 * t)
    pulses = np.zeros(len(t))
    for k in range(1, 12):
        pulses += np.cos(2 * np.pi * k * phase) / k
    return syllables(0.15 * pulses)


def tune(seconds: float) -> Samples:
    """A plucked melody: like speech, it has pitch, pauses and a varying level."""
    beat = 4 * time(seconds)
    note = np.array([262.0, 330.0, 392.0, 523.0])[beat.astype(int) % 4]
    phase = 2 * np.pi * np.cumsum(note) / RATE
    tone = sum(np.sin(n * phase) / n for n in (1, 2, 3))
    return np.asarray(0.25 * np.exp(-3 * (beat % 1)) * tone, dtype=np.float32)


def blocks(samples: Samples, sizes: list[int]) -> list[Samples]:
    """Split the samples into blocks of these sizes, repeated as needed."""
    cut: list[Samples] = []
    position = 0
    for size in itertools.cycle(sizes):
        if position >= len(samples):
            return cut
        cut.append(samples[position : position + size])
        position += size
    return cut
