"""A 2020 tutorial: happy, sad or angry, from 180 means at 48 kHz.

Three classes are far easier than eight, and a tenth of 576 clips is a test of 58.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from training.baselines.cached import features
from training.baselines.sound import means_at_48k
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class Mlp3(Baseline):
    """One hidden layer of 200."""

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

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """scikit-learn's network for at most 400 iterations."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        del watched
        net = MLPClassifier(
            (200,), learning_rate="adaptive", max_iter=self.epochs, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(x, y)
        return Fitted(
            predict=net.predict, curves={"loss": [round(float(v), 4) for v in net.loss_curve_[::4]]}
        )
