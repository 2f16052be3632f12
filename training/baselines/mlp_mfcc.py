"""Ciutacu's first: one hidden layer of 100 on 40 numbers a clip."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from training.baselines import ciutacu
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class MlpMfcc(Baseline):
    """scikit-learn's network with its own 200 iterations."""

    epochs: int = 200

    name: ClassVar[str] = "mlp-mfcc"
    about: ClassVar[About] = ciutacu.about(
        network="one hidden layer of 100",
        published=None,
        published_note="the lowest of the author's three; no figure is known to us",
        ours="What is not stated has scikit-learn's defaults.",
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Mean MFCCs, ``[clips, 40]``."""
        return ciutacu.mfccs(clips, source)

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Neutral filled up to the size of the other classes."""
        return ciutacu.oversample(labels, seed)

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
