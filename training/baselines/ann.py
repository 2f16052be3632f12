"""Hoopes's plain network on a flattened spectrogram: dense layers of 128, 64 and 32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from training.baselines import hoopes
from training.baselines.network import fit_network
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class Ann(Baseline):
    """2.42 million weights, nearly all of them in the first layer."""

    epochs: int = 25

    name: ClassVar[str] = "ann"
    about: ClassVar[About] = hoopes.about(
        features="root mel spectrogram, 128 x 147, flat",
        network="dense 128, 64, 32; 2.42 M weights",
        published=0.45,
        mistakes=hoopes.WRONG_RATE,
        ours=hoopes.UNSAID_SPLIT,
        guess=(
            "Here the loss is lowest after a few epochs, while the accuracy goes on rising for many"
            " more; a network kept a little later, or an accuracy quoted from a later epoch, would"
            " explain it."
        ),
    )
    chooses: ClassVar[bool] = True

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Spectrograms, ``[clips, 18816]``."""
        return hoopes.spectrograms(clips, source).reshape(len(clips), -1)

    def build(self, inputs: int) -> Any:
        """The untrained network."""
        import keras

        layers = keras.layers
        hidden = [layers.Dense(width, activation="relu") for width in (128, 64, 32)]
        return keras.Sequential(
            [layers.Input((inputs,)), *hidden, layers.Dense(8, activation="softmax")]
        )

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """RMSprop; the epoch with the lowest watched loss is kept."""
        return fit_network(
            lambda: self.build(x.shape[1]),
            x,
            y,
            watched=watched,
            seed=seed,
            epochs=self.epochs,
            batch=32,
            optimiser="rmsprop",
            keep_best=True,
        )
