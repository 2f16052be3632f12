"""Ciutacu's systems (2020): 40 mean MFCCs, and a neutral class filled up before the split.

RAVDESS has half as many neutral clips as others. The author draws neutral clips again, at random,
until all eight classes have 192 (1536 items), and splits only then. So copies of one clip are on
both sides, and the network has memorised part of the neutral test clips. The runner counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from training.baselines.features import features, mean_mfcc
from training.baselines.system import About, Baseline, Fitted, KerasBaseline, fit_mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


def _about(**facts: Any) -> About:
    shared: dict[str, Any] = {
        "author": "Ciutacu",
        "year": 2020,
        "seed": 42,
        "test_share": 0.2,
        "features": "40 MFCCs, mean over time",
        "mistakes": (
            "Neutral clips are copied before the split, so that copies of one clip are in training"
            " and in test."
        ),
    }
    return About(**(shared | facts))


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


class _MeanMfcc(Baseline):
    """On mean MFCCs, with an oversampled neutral class."""

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Mean MFCCs, ``[clips, 40]``."""
        return features(mean_mfcc, clips, source)

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Neutral filled up to the size of the other classes."""
        return oversample(labels, seed)


class _MfccSequence(_MeanMfcc, KerasBaseline):
    """On mean MFCCs as if their order were time."""

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Mean MFCCs as a sequence, ``[clips, 40, 1]``."""
        return super().prepare(clips, source)[..., np.newaxis]


@dataclass(frozen=True)
class MlpMfcc(_MeanMfcc):
    """One hidden layer of 100, trained for scikit-learn's default of 200 iterations."""

    epochs: int = 200

    name: ClassVar[str] = "mlp-mfcc"
    about: ClassVar[About] = _about(
        network="one hidden layer of 100",
        published_note="the lowest of the author's three; no figure is known to us",
        ours="What is not stated has scikit-learn's defaults.",
    )

    def fit(
        self, x: Numbers, y: Labels, *, validation: tuple[Numbers, Labels], seed: int
    ) -> Fitted:
        """Adam with an L2 penalty of 0.001."""
        del validation
        return fit_mlp(x, y, hidden=100, alpha=0.001, max_iter=self.epochs, random_state=seed)


@dataclass(frozen=True)
class Cnn1dMfcc(_MfccSequence):
    """Ciutacu's best: three thin convolutions."""

    epochs: int = 100

    name: ClassVar[str] = "cnn1d-mfcc"
    about: ClassVar[About] = _about(
        network="Conv1D 16, 8, 8",
        published=0.60,
        published_note="60 % test, 80 % training",
        guess=(
            "A test of 308 items has a standard error of 3 points, and a tutorial shows its good"
            " run; padding and activations are ours."
        ),
        ours="Padded to the same length, ReLU, one batch normalisation behind the third.",
    )
    batch: ClassVar[int] = 50

    def hidden(self) -> list[Any]:
        """The layers between input and soft-max."""
        from keras import layers

        thin = [layers.Conv1D(w, 5, padding="same", activation="relu") for w in (16, 8, 8)]
        return [*thin, layers.BatchNormalization(), layers.Flatten()]


@dataclass(frozen=True)
class LstmMfcc(_MfccSequence):
    """Two recurrent layers, which read coefficients instead of frames."""

    epochs: int = 100

    name: ClassVar[str] = "lstm-mfcc"
    slow: ClassVar[bool] = True
    about: ClassVar[About] = _about(
        network="LSTM 64, LSTM 32, dense 32",
        published=0.51,
        published_note="51 % test, 80 % training",
        guess=(
            "MFCCs as they are drive the gates of an LSTM to their ends; had the author scaled them"
            " without saying so, it would learn more. The first MFCC is near -600, the others near"
            " 0."
        ),
        ours="The dense layer has a ReLU.",
    )

    def hidden(self) -> list[Any]:
        """The layers between input and soft-max."""
        from keras import layers

        return [
            layers.LSTM(64, return_sequences=True),
            layers.LSTM(32),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.1),
        ]
