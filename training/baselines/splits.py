"""How clips are divided: as the authors did, and so that no speaker is on two sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - the type of a struct's field

from training.folds import make_split

if TYPE_CHECKING:
    from training.baselines.system import Baseline, Labels
    from training.corpora import Corpus

WATCHED_SPEAKERS = 3
"""Training speakers set aside for a system that chooses its epoch, in speaker-independent folds."""
FOLDS = 5


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """Places of clips in the corpus, for each side; in training a clip may be there twice."""

    train: NDArray[np.int64]
    watched: NDArray[np.int64]
    """Clips by which the epoch is chosen, if the system chooses."""
    test: NDArray[np.int64]

    @property
    def leaked(self) -> int:
        """Test items that are copies of training clips."""
        return int(np.isin(self.test, self.train).sum())


def random_split(system: Baseline, labels: Labels, number: int) -> Sides:
    """The author's own split: clips at random, speakers and sentences on both sides.

    The clips that test are also those that are watched: none of the authors tells of a third part.

    Args:
        system: Says which share tests, and which clips are there twice before the split.
        labels: Of all clips.
        number: 0: with the author's seed; 1, 2, ...: with the seeds that follow it.
    """
    from sklearn.model_selection import train_test_split

    seed = system.about.seed + number
    items = system.items(labels, seed)
    train, test = train_test_split(items, test_size=system.about.test_share, random_state=seed)
    return Sides(train=train, watched=test, test=test)


def speaker_split(system: Baseline, corpus: Corpus, labels: Labels, fold: int) -> Sides:
    """One of the corpus's kept folds: who tests is heard neither in training nor in choosing.

    Whatever a system copies, it copies of training clips only.

    Args:
        system: Says whether it chooses, and which clips it copies.
        corpus: Whose clips are meant, in this order.
        labels: Of all clips.
        fold: 1-based.
    """
    apart = {corpus.name: WATCHED_SPEAKERS} if system.chooses else {}
    split = make_split({corpus.name: corpus}, fold=fold, validation=apart)
    voices = np.array([clip.voice for clip in corpus.clips])
    train, watched, test = (
        np.flatnonzero(np.isin(voices, getattr(split, side)))
        for side in ("train", "validation", "test")
    )
    return Sides(train=train[system.items(labels[train], fold)], watched=watched, test=test)
