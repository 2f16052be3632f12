"""A corpus that nobody has to download: buzzing "voices" whose "emotions" are easily told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 16_000

# Pitch in hertz, pitch change over the clip, tremor in hertz, and breath, for each emotion code.
_MANNERS = {
    "01": (110.0, 0.0, 0.0, 0.0),
    "02": (90.0, -0.1, 0.0, 0.3),
    "03": (190.0, 0.4, 3.0, 0.0),
    "04": (100.0, -0.4, 0.0, 0.6),
    "05": (160.0, -0.2, 9.0, 0.0),
    "06": (260.0, 0.0, 12.0, 0.5),
    "07": (80.0, 0.0, 6.0, 0.2),
    "08": (210.0, 0.8, 0.0, 0.0),
}


def voice(emotion: str, actor: int, take: int, *, seconds: float = 0.9) -> NDArray[np.float32]:
    """One made-up utterance, ``float32[n]`` at 16 kHz."""
    random = np.random.default_rng([int(emotion), actor, take])
    pitch, change, tremor, breath = _MANNERS[emotion]
    time = np.arange(round(seconds * RATE)) / RATE
    height = pitch * (1.0 + 0.03 * (actor % 5)) * (1.0 + change * time / seconds)
    phase = 2.0 * np.pi * np.cumsum(height) / RATE
    buzz = sum(np.sin(number * phase) / number for number in range(1, 13))
    loud = 1.0 + 0.6 * np.sin(2.0 * np.pi * tremor * time)
    noise = breath * random.normal(size=len(time))
    spoken = 0.2 * loud * (buzz + noise) + 0.002 * random.normal(size=len(time))
    return spoken.astype(np.float32)


def write_ravdess(folder: Path, *, actors: Iterable[int], repetitions: int = 1) -> None:
    """Write made-up utterances in the layout of RAVDESS, with 0.2 s of near silence around."""
    for actor in actors:
        home = folder / f"Actor_{actor:02d}"
        home.mkdir(parents=True, exist_ok=True)
        for emotion in _MANNERS:
            for take in range(1, repetitions + 1):
                quiet = 1e-4 * np.random.default_rng(take).normal(size=RATE // 5)
                sound = np.concatenate([quiet, voice(emotion, actor, take), quiet])
                name = f"03-01-{emotion}-01-01-{take:02d}-{actor:02d}.wav"
                soundfile.write(home / name, sound, RATE)
