"""What Hoopes's systems share: author, split, and one spectrogram for each clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.baselines.cached import features
from training.baselines.sound import root_mel
from training.baselines.system import About

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Numbers, Source
    from training.corpora import Clip

WRONG_RATE = (
    "The mel bands are laid out for 44.1 kHz though the sound has 22.05 kHz. The 20 % that test"
    " are watched in training too, and the epoch that is best on them is kept."
)
UNSAID_SPLIT = "No third part of the clips is told of, so the test clips are the watched ones."


def about(**facts: Any) -> About:
    """Facts about one of Hoopes's systems."""
    shared: dict[str, Any] = {"author": "Hoopes", "year": 2024, "seed": 1, "test_share": 0.2}
    return About(**(shared | facts))


def spectrograms(clips: Sequence[Clip], source: Source) -> Numbers:
    """:func:`training.baselines.sound.root_mel` of every clip, ``[clips, 128, 147]``."""
    return features(root_mel, clips, source)
