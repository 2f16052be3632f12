"""Ciutacu's best: convolutions over 40 mean MFCCs, as if their order were time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from training.baselines import ciutacu
from training.baselines.network import fit_network
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class Cnn1dMfcc(Baseline):
    """Three thin convolutions."""

    epochs: int = 100

    name: ClassVar[str] = "cnn1d-mfcc"
    about: ClassVar[About] = ciutacu.about(
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
        return ciutacu.mfccs(clips, source)[..., np.newaxis]

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Neutral filled up to the size of the other classes."""
        return ciutacu.oversample(labels, seed)

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
