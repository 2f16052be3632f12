"""Sounds that are no speech, for training: noise behind voices, and something to be silent about.

A network that has only ever heard voices is as sure of a chainsaw's mood as of a person's. So now
and then it is given a sound of :mod:`training.corpora.esc10` alone, with all classes equally right
(outlier exposure: Hendrycks, Mazeika and Dietterich, 2019, arXiv:1812.04606). Then it is not sure
of such sounds, and the daemon says ``uncertain``. The same recordings serve as noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from serd.model.mfcc import MfccFrontEnd
from training.corpora.esc10 import TRAINING_FOLDS, read_sounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.model.features import FeatureParameters
    from training.augment import Power


def training_sounds(root: Path, features: FeatureParameters) -> list[Power]:
    """Mel power ``[n, bands]`` of every sound that may be heard in training.

    Args:
        root: Folder of the corpora.
        features: Of the front end; mean and sd play no part.

    Raises:
        InputError: The sounds are not there or cannot be read.
    """
    import msgspec

    from serd.audio.file import read_mono16k

    front_end = MfccFrontEnd(msgspec.structs.replace(features, mean=(), sd=()))
    return [
        front_end.mel_power(read_mono16k(sound.path)).astype(np.float32)
        for sound in read_sounds(root, TRAINING_FOLDS)
    ]


def excerpt(
    sounds: Sequence[Power], shortest: int, longest: int, random: np.random.Generator
) -> Power:
    """A piece of one sound, ``shortest`` to ``longest`` frames, of where something is heard.

    Args:
        sounds: To choose from; each ``[n, bands]``.
        shortest: Frames.
        longest: Frames.
        random: Source of everything random.
    """
    sound = sounds[int(random.integers(len(sounds)))]
    wanted = min(len(sound), int(random.integers(shortest, longest + 1)))
    # The daemon is woken by what is loud: three places are drawn, the loudest is taken.
    places = random.integers(0, len(sound) - wanted + 1, size=3)
    loudness = [float(sound[place : place + wanted].sum()) for place in places]
    place = int(places[int(np.argmax(loudness))])
    return sound[place : place + wanted]


def noise_field(
    sounds: Sequence[Power], frames: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """``frames`` frames of one sound, repeated if it is shorter: ``[frames, bands]``."""
    sound = sounds[int(random.integers(len(sounds)))]
    first = int(random.integers(len(sound)))
    return np.asarray(sound[(first + np.arange(frames)) % len(sound)], dtype=np.float32)
