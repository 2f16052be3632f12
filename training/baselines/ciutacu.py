"""What Ciutacu's systems share: 40 mean MFCCs, and a neutral class filled up before the split.

RAVDESS has half as many neutral clips as others. The author draws neutral clips again, at random,
until all eight classes have 192 (1536 items), and splits only then. So copies of one clip lie on
both sides, and the neutral class of the test is partly known by heart. The runner counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.baselines.cached import features
from training.baselines.sound import mean_mfcc
from training.baselines.system import About

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip

LEAK = (
    "Neutral clips are copied before the split, so that copies of one clip are in training and"
    " in test."
)


def about(**facts: Any) -> About:
    """Facts about one of Ciutacu's systems."""
    shared: dict[str, Any] = {
        "author": "Ciutacu",
        "year": 2020,
        "seed": 42,
        "test_share": 0.2,
        "features": "40 MFCCs, mean over time",
        "mistakes": LEAK,
    }
    return About(**(shared | facts))


def mfccs(clips: Sequence[Clip], source: Source) -> Numbers:
    """:func:`training.baselines.sound.mean_mfcc` of every clip, ``[clips, 40]``."""
    return features(mean_mfcc, clips, source)


def oversample(labels: Labels, seed: int) -> NDArray[np.int64]:
    """Every clip once, and clips of smaller classes again until no class is smaller.

    Only neutral is smaller (and happy by the one clip that RAVDESS has twice).
    """
    random = np.random.default_rng(seed)
    counts = np.bincount(labels)
    more = [
        random.choice(np.flatnonzero(labels == label), counts.max() - count)
        for label, count in enumerate(counts)
        if count
    ]
    return np.concatenate([np.arange(len(labels)), *more])
