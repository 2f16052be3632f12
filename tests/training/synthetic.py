"""A synthetic corpus: buzzing "voices" whose "emotions" are easy to tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 16_000

# For each emotion code: pitch in hertz, its change over the clip, tremor in hertz, breathiness.
_PARAMETERS = {
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
    """One synthetic utterance, ``float32[n]`` at 16 kHz."""
    random = np.random.default_rng([int(emotion), actor, take])
    pitch, change, tremor, breath = _PARAMETERS[emotion]
    time = np.arange(round(seconds * RATE)) / RATE
    frequency = pitch * (1.0 + 0.03 * (actor % 5)) * (1.0 + change * time / seconds)
    phase = 2.0 * np.pi * np.cumsum(frequency) / RATE
    buzz = sum(np.sin(number * phase) / number for number in range(1, 13))
    envelope = 1.0 + 0.6 * np.sin(2.0 * np.pi * tremor * time)
    noise = breath * random.normal(size=len(time))
    samples = 0.2 * envelope * (buzz + noise) + 0.002 * random.normal(size=len(time))
    return samples.astype(np.float32)


def write_ravdess(folder: Path, *, actors: Iterable[int], repetitions: int = 1) -> None:
    """Write synthetic utterances in RAVDESS's layout, with 0.2 s of near silence on both sides."""
    for actor in actors:
        actor_folder = folder / f"Actor_{actor:02d}"
        actor_folder.mkdir(parents=True, exist_ok=True)
        for emotion in _PARAMETERS:
            for take in range(1, repetitions + 1):
                silence = 1e-4 * np.random.default_rng(take).normal(size=RATE // 5)
                samples = np.concatenate([silence, voice(emotion, actor, take), silence])
                name = f"03-01-{emotion}-01-01-{take:02d}-{actor:02d}.wav"
                soundfile.write(actor_folder / name, samples, RATE)
