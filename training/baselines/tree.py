"""Hoopes's decision tree on a flattened spectrogram, with scikit-learn's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from training.baselines import hoopes
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class Tree(Baseline):
    """18,816 numbers and no idea that some of them are neighbours."""

    name: ClassVar[str] = "tree"
    about: ClassVar[About] = hoopes.about(
        features="root mel spectrogram, 128 x 147, flat",
        network="decision tree",
        published=0.306,
        mistakes="The mel bands are laid out for 44.1 kHz though the sound has 22.05 kHz.",
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Spectrograms, ``[clips, 18816]``."""
        return hoopes.spectrograms(clips, source).reshape(len(clips), -1)

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Grow it until every leaf is pure."""
        from sklearn.tree import DecisionTreeClassifier

        del watched
        tree = DecisionTreeClassifier(random_state=seed).fit(x, y)
        return Fitted(predict=tree.predict)
