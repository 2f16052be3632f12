"""What a published system is to the runner: facts about it, features, and a way to train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path  # noqa: TC003 - the type of a struct's field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from serd.model.emotions import EMOTIONS
from training.prepare import CACHE

if TYPE_CHECKING:
    from training.corpora import Clip

Numbers: TypeAlias = NDArray[Any]
"""Features of clips, a row for each; what a row is, the system knows."""
Labels: TypeAlias = NDArray[np.int64]
"""Places in the system's ``emotions``."""
Predict: TypeAlias = Callable[[Numbers], Labels]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What its author published."""

    author: str
    year: int
    features: str
    """In a few words."""
    network: str
    """In a few words."""
    published: float | None = None
    """Accuracy on the author's test clips, 0..1; None where none was stated."""
    published_note: str = ""
    """What else was stated, or why nothing was."""
    seed: int = 1
    """Of the author's split; where none is known, 1."""
    test_share: float = 0.2
    emotions: tuple[str, ...] = EMOTIONS
    """The classes that it tells apart; clips of others are left out."""
    mistakes: str = ""
    """What is wrong with it, and is kept."""
    ours: str = ""
    """Where the author said nothing, or what we did otherwise."""
    guess: str = ""
    """Why we may miss the published figure; nobody knows."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where features come from and go to."""

    cache: Path = CACHE
    jobs: int = 1
    teacher: str | None = None
    """Folder or hub name of the speech encoder, if it is not where it is looked for."""
    progress: Callable[[str, int, int], None] = lambda *_: None


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A trained system."""

    predict: Predict
    curves: Mapping[str, Sequence[float]] = {}
    """For each epoch ``loss``, ``accuracy``, and of the watched clips ``val_loss``,
    ``val_accuracy``."""
    variants: Mapping[str, Predict] = {}
    """Other ways to ask it, whose accuracy is kept beside the main one."""


class Baseline(Protocol):
    """A published system, as a dataclass whose fields are its settings."""

    name: ClassVar[str]
    """Short and unique: ``cnn2d``."""
    about: ClassVar[About]
    chooses: ClassVar[bool] = False
    """Whether it keeps the epoch that was best on watched clips. They are the test clips in the
    author's protocol, and other speakers than those of the test in ours."""
    slow: ClassVar[bool] = False
    """Whether one training takes minutes: such systems come last."""

    def settings(self) -> dict[str, object]:
        """What decides its results besides its code."""
        return dict(sorted(vars(self).items()))

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Features of clips, in their order, from the cache if they are there.

        Raises:
            InputError: A clip, or a teacher, cannot be read.
            UsageError: A library is missing.
        """
        ...

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Which clips make up the data set before it is split; a clip may be there twice."""
        del seed
        return np.arange(len(labels))

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Train.

        Args:
            x: Features of the training clips.
            y: Their labels.
            watched: Clips whose loss is watched along the way; used only by one that chooses.
            seed: Of everything random.
        """
        ...


def settings_of(system: Baseline) -> str:
    """What tells a result of this system from one with other settings."""
    about = system.about
    fixed = [about.seed, about.test_share, len(about.emotions)]
    return msgspec.json.encode([system.settings(), fixed], order="sorted").decode()
