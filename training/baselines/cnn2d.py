"""Hoopes's image network: five convolutions on the spectrogram.

3 x 3 without padding, four of them with a 2 x 2 max-pool behind: so it has the 1.02 million
weights that its author states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from training.baselines import hoopes
from training.baselines.network import fit_network
from training.baselines.sound import BANDS, FRAMES
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class Cnn2d(Baseline):
    """A spectrogram is a picture."""

    epochs: int = 25
    precision: str = "mixed_bfloat16"

    name: ClassVar[str] = "cnn2d"
    about: ClassVar[About] = hoopes.about(
        features="root mel spectrogram, 128 x 147",
        network="Conv2D 32, 64, 128, 256, 256; 1.02 M weights",
        published=0.42,
        published_note="42 % in the report; 53-57 % validation accuracy in the last epochs",
        mistakes=hoopes.WRONG_RATE + " The report's score swaps truth and prediction.",
        guess=(
            "Which epoch has the lowest loss is chance; and the report's score was computed with"
            " truth and prediction swapped, which leaves the accuracy alone but not other scores."
        ),
        ours=hoopes.UNSAID_SPLIT + " ReLU. Multiplied in bfloat16, which halves the time.",
    )
    chooses: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Spectrograms, ``[clips, 128, 147, 1]``."""
        return hoopes.spectrograms(clips, source)[..., np.newaxis]

    def build(self) -> Any:
        """The untrained network."""
        import keras

        layers = keras.layers
        stack: list[Any] = [layers.Input((BANDS, FRAMES, 1))]
        for width in (32, 64, 128, 256):
            stack += [layers.Conv2D(width, 3, activation="relu"), layers.MaxPooling2D(2)]
        stack += [
            layers.Conv2D(256, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(8, activation="softmax", dtype="float32"),
        ]
        return keras.Sequential(stack)

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """RMSprop; the epoch with the lowest watched loss is kept."""
        return fit_network(
            self.build,
            x,
            y,
            watched=watched,
            seed=seed,
            epochs=self.epochs,
            batch=32,
            optimiser="rmsprop",
            keep_best=True,
            precision=self.precision,
        )
