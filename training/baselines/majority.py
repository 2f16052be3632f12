"""Always the class that training has most of: what knowing nothing is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from training.baselines import hoopes
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class Majority(Baseline):
    """Hears nothing."""

    name: ClassVar[str] = "majority"
    about: ClassVar[About] = hoopes.about(
        features="none",
        network="always one class",
        published=0.133,
        mistakes="",
        ours="One of the most frequent classes of the training clips.",
        guess=(
            "13.3 % is the share of a full class in all 1440 clips. A class that chance gives to"
            " training more often is for that reason rarer in the test."
        ),
    )

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Nothing: ``[clips, 0]``."""
        del source
        return np.zeros((len(clips), 0), np.float32)

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Count."""
        del x, watched, seed
        most = int(np.bincount(y).argmax())
        return Fitted(predict=lambda some: np.full(len(some), most, np.int64))
