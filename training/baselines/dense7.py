"""Than's seven dense layers on 181 numbers a clip, 1500 times over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from training.baselines.cached import features
from training.baselines.network import fit_network
from training.baselines.sound import means_and_crossings
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip

_WIDTHS = (512, 512, 256, 256, 128, 64)


@dataclass(frozen=True)
class Dense7(Baseline):
    """Six hidden layers and the soft-max."""

    epochs: int = 1500

    name: ClassVar[str] = "dense-7"
    slow: ClassVar[bool] = True
    about: ClassVar[About] = About(
        author="Than",
        year=2021,
        seed=1,
        features="means of MFCCs, chroma, mel bands; count of zero crossings",
        network="seven dense layers",
        published=0.57,
        published_note="57 % test, about 60 % validation",
        guess="Widths, dropout, batches and scaling are not known.",
        ours=(
            "Widths (512, 512, 256, 256, 128, 64, then the classes), dropout (0.3), Adam, batches"
            " of 64, 40 MFCCs and the split's seed are ours: none is stated."
        ),
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Means and a count, ``[clips, 181]``."""
        return features(means_and_crossings, clips, source)

    def build(self, inputs: int) -> Any:
        """The untrained network."""
        import keras

        layers = keras.layers
        # The numbers differ by six orders of magnitude; this brings them to one.
        stack: list[Any] = [layers.Input((inputs,)), layers.BatchNormalization()]
        for width in _WIDTHS:
            stack += [
                layers.Dense(width, activation="relu"),
                layers.BatchNormalization(),
                layers.Dropout(0.3),
            ]
        return keras.Sequential([*stack, layers.Dense(8, activation="softmax")])

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Adam; the last epoch counts."""
        return fit_network(
            lambda: self.build(x.shape[1]),
            x,
            y,
            watched=watched,
            seed=seed,
            epochs=self.epochs,
            batch=64,
            optimiser="adam",
        )
