"""What Ciutacu's systems share: 40 mean MFCCs, and a neutral class filled up before the split.

RAVDESS has half as many neutral clips as others. The author draws neutral clips again, at random,
until all eight classes have 192 (1536 items), and splits only then. So copies of one clip lie on
both sides, and the neutral class of the test is partly known by heart. The runner counts them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from training.baselines.features import features, mean_mfcc
from training.baselines.system import About, Baseline, Fitted, fit_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip

LEAK = (
    "Neutral clips are copied before the split, so that copies of one clip are in training and"
    " in test."
)


def _ciutacu(**facts: Any) -> About:
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
    """:func:`training.baselines.features.mean_mfcc` of every clip, ``[clips, 40]``."""
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


# Ciutacu's first: one hidden layer of 100 on 40 numbers a clip.


@dataclass(frozen=True)
class MlpMfcc(Baseline):
    """scikit-learn's network with its own 200 iterations."""

    epochs: int = 200

    name: ClassVar[str] = "mlp-mfcc"
    about: ClassVar[About] = _ciutacu(
        network="one hidden layer of 100",
        published=None,
        published_note="the lowest of the author's three; no figure is known to us",
        ours="What is not stated has scikit-learn's defaults.",
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Mean MFCCs, ``[clips, 40]``."""
        return mfccs(clips, source)

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Neutral filled up to the size of the other classes."""
        return oversample(labels, seed)

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Adam with an L2 penalty of 0.001."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        del watched
        net = MLPClassifier((100,), alpha=0.001, max_iter=self.epochs, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(x, y)
        return Fitted(
            predict=net.predict, curves={"loss": [round(float(v), 4) for v in net.loss_curve_]}
        )


# Ciutacu's best: convolutions over 40 mean MFCCs, as if their order were time.


@dataclass(frozen=True)
class Cnn1dMfcc(Baseline):
    """Three thin convolutions."""

    epochs: int = 100

    name: ClassVar[str] = "cnn1d-mfcc"
    about: ClassVar[About] = _ciutacu(
        network="Conv1D 16, 8, 8",
        published=0.60,
        published_note="60 % test, 80 % training",
        guess=(
            "A test of 308 items has a standard error of 3 points, and a tutorial shows its good"
            " run; padding and activations are ours."
        ),
        ours="Padded to the same length, ReLU, one batch normalisation behind the third.",
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Mean MFCCs as a sequence, ``[clips, 40, 1]``."""
        return mfccs(clips, source)[..., np.newaxis]

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Neutral filled up to the size of the other classes."""
        return oversample(labels, seed)

    def build(self) -> Any:
        """The untrained network."""
        import keras

        layers = keras.layers
        thin = [layers.Conv1D(w, 5, padding="same", activation="relu") for w in (16, 8, 8)]
        return keras.Sequential(
            [
                layers.Input((40, 1)),
                *thin,
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dense(8, activation="softmax"),
            ]
        )

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Adam, batches of 50; the last epoch counts."""
        return fit_network(
            self.build,
            x,
            y,
            watched=watched,
            seed=seed,
            epochs=self.epochs,
            batch=50,
            optimiser="adam",
        )


# Ciutacu's recurrent network over 40 mean MFCCs: it reads coefficients, not moments.


@dataclass(frozen=True)
class LstmMfcc(Baseline):
    """Two recurrent layers."""

    epochs: int = 100

    name: ClassVar[str] = "lstm-mfcc"
    slow: ClassVar[bool] = True
    about: ClassVar[About] = _ciutacu(
        network="LSTM 64, LSTM 32, dense 32",
        published=0.51,
        published_note="51 % test, 80 % training",
        guess=(
            "MFCCs as they are drive the gates of an LSTM to their ends; had the author scaled them"
            " and not told, it would learn more. The first MFCC is near -600, the others near 0."
        ),
        ours="The dense layer has a ReLU.",
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Mean MFCCs as a sequence, ``[clips, 40, 1]``."""
        return mfccs(clips, source)[..., np.newaxis]

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Neutral filled up to the size of the other classes."""
        return oversample(labels, seed)

    def build(self) -> Any:
        """The untrained network."""
        import keras

        layers = keras.layers
        return keras.Sequential(
            [
                layers.Input((40, 1)),
                layers.LSTM(64, return_sequences=True),
                layers.LSTM(32),
                layers.Dense(32, activation="relu"),
                layers.Dropout(0.1),
                layers.Dense(8, activation="softmax"),
            ]
        )

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Adam, batches of 32; the last epoch counts."""
        return fit_network(
            self.build,
            x,
            y,
            watched=watched,
            seed=seed,
            epochs=self.epochs,
            batch=32,
            optimiser="adam",
        )
