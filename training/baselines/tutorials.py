"""Two systems on means over time: a 2020 tutorial for three emotions, and Than's dense layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from training.baselines.features import features, means_and_crossings, means_at_48k
from training.baselines.system import About, Baseline, Fitted, KerasBaseline, fit_mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip

_WIDTHS = (512, 512, 256, 256, 128, 64)


@dataclass(frozen=True)
class Mlp3(Baseline):
    """Happy, sad or angry, from one hidden layer of 200 on 180 means at 48 kHz.

    Three classes are far easier than eight, and a tenth of 576 clips is a test of 58.
    """

    epochs: int = 400

    name: ClassVar[str] = "mlp-3"
    about: ClassVar[About] = About(
        author="a tutorial",
        year=2020,
        seed=9,
        test_share=0.1,
        emotions=("happy", "sad", "angry"),
        features="means of 40 MFCCs, 12 chroma, 128 mel bands, 48 kHz",
        network="one hidden layer of 200; three classes",
        published=0.793,
        mistakes=(
            "Three of eight classes. The adaptive learning rate does nothing with scikit-learn's"
            " default optimiser."
        ),
        guess=(
            "A test of 58 clips has a standard error of 5 to 6 points: one split more or less"
            " lucky. Besides, the copies of the recordings used here have 22.05 kHz, so that above"
            " 11 kHz there is nothing."
        ),
        ours="What is not stated has scikit-learn's defaults.",
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Means, ``[clips, 180]``."""
        return features(means_at_48k, clips, source)

    def fit(
        self, x: Numbers, y: Labels, *, validation: tuple[Numbers, Labels], seed: int
    ) -> Fitted:
        """Adam for at most 400 iterations."""
        del validation
        return fit_mlp(
            x, y, hidden=200, every=4, learning_rate="adaptive", max_iter=self.epochs,
            random_state=seed,
        )  # fmt: skip


@dataclass(frozen=True)
class Dense7(KerasBaseline):
    """Than's six hidden layers and soft-max on 181 values, trained for 1500 epochs."""

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
    batch: ClassVar[int] = 64

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Means and a count, ``[clips, 181]``."""
        return features(means_and_crossings, clips, source)

    def hidden(self) -> list[Any]:
        """The layers between input and soft-max."""
        from keras import layers

        # The values differ by six orders of magnitude; this brings them to one.
        stack: list[Any] = [layers.BatchNormalization()]
        for width in _WIDTHS:
            stack += [
                layers.Dense(width, activation="relu"),
                layers.BatchNormalization(),
                layers.Dropout(0.3),
            ]
        return stack
