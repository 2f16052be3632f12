"""A recipe small enough for tests."""

from __future__ import annotations

import msgspec

from training.recipe import Recipe, load_recipe
from training.recipe.augmentation import Equaliser, Exchange
from training.recipe.corpora import CorpusUse, Preparation
from training.recipe.network import Network
from training.recipe.stages import Refit


def tiny_recipe(*, steps: int = 60) -> Recipe:
    """The default recipe on the synthetic corpus only, with a small network and few steps."""
    default = load_recipe("default")
    return msgspec.structs.replace(
        default,
        name="tiny",
        about="Made-up voices",
        licence="Apache-2.0",
        corpora={"ravdess": CorpusUse(share=1.0, validation_speakers=1)},
        cross_corpora=(),
        fold=1,
        start=None,
        home=None,
        teaching=None,
        sounds=None,
        preparation=Preparation(speeds=(1.0, 0.94, 1.06)),
        network=Network(stem=8, widths=(16, 24), dropout=0.1),
        augmentation=msgspec.structs.replace(
            default.augmentation, exchange=Exchange(), equaliser=Equaliser(probability=0.5)
        ),
        optimiser=msgspec.structs.replace(
            default.optimiser,
            steps=steps,
            batch=16,
            peak_rate=3e-3,
            averaging=0.9,
            precision="float32",
        ),
        refit=Refit(steps=10, peak_rate=1e-3),
        representative_clips=20,
    )
