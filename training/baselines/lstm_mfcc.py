"""Ciutacu's recurrent network over 40 mean MFCCs: it reads coefficients, not moments."""

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
class LstmMfcc(Baseline):
    """Two recurrent layers."""

    epochs: int = 100

    name: ClassVar[str] = "lstm-mfcc"
    slow: ClassVar[bool] = True
    about: ClassVar[About] = ciutacu.about(
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
        return ciutacu.mfccs(clips, source)[..., np.newaxis]

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Neutral filled up to the size of the other classes."""
        return ciutacu.oversample(labels, seed)

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
