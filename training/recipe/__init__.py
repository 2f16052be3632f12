"""A recipe: everything that determines a training run, in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from serd.errors import InputError, shown
from serd.model.emotions import EMOTIONS
from serd.model.metadata import FeatureParameters, Reverb
from training.document import read_document
from training.recipe.augmentation import Augmentation, Sounds
from training.recipe.checks import check_recipe
from training.recipe.corpora import CorpusUse, Preparation
from training.recipe.home import HomeUse  # noqa: TC001 - msgspec looks types up
from training.recipe.keys import Count, CountOrNone, Positive, Share, about
from training.recipe.network import Network, Optimiser
from training.recipe.stages import Refit, Start  # noqa: TC001 - likewise
from training.recipe.teaching import Teaching  # noqa: TC001 - likewise

OWN = "recipe.yaml"
"""Name of the recipe in a folder that ``serd-train new`` wrote."""

_RECIPES = Path(__file__).parents[1] / "recipes"


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run."""

    name: Annotated[
        Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,40}$")],
        about("Name of the run, and of the model in its metadata."),
    ]
    version: Annotated[str, about("Version of the model in its metadata.")]
    about: Annotated[str, about("One sentence for the model card.")]
    licence: Annotated[str, about("Licence of the model, given what it was trained on.")]
    seed: Annotated[CountOrNone, about("Of everything random.")]
    fold: Annotated[
        CountOrNone,
        about(
            "Fold whose test speakers are held out, in every corpus; 0: none, for a model whose "
            "figures come from a cross-validation of the same recipe."
        ),
    ]
    corpora: Annotated[dict[str, CorpusUse], about("What is trained on.")]
    optimiser: Annotated[Optimiser, about("Duration and learning rates.")]
    teaching: Annotated[Teaching | None, about("A teacher besides the labels; None: none.")] = None
    start: Annotated[
        Start | None,
        about("The network that training starts from; None: random weights."),
    ] = None
    home: Annotated[
        HomeUse | None,
        about("For a model with household settings; None: one threshold and no prior."),
    ] = None
    labels: Annotated[
        tuple[str, ...],
        about("Classes of the output, in order; empty: all eight."),
    ] = ()
    cross_corpora: Annotated[tuple[str, ...], about("Corpora that are only tested on.")] = ()
    features: Annotated[
        FeatureParameters,
        about(
            "The daemon's front end; mean and sd are measured on the training speakers. With "
            "`start.model`, it is that model's, but for the room if `training_reverb` is not "
            "`same`."
        ),
    ] = FeatureParameters()
    training_reverb: Annotated[
        Literal["same", "none"] | Reverb,
        about(
            "The room that training hears, where mean and sd are measured: that of "
            "`features.reverb` (`same`), none, or another one (its keys are those of "
            "`features.reverb`). Quantiser, tests and model file have that of `features.reverb`."
        ),
    ] = "same"
    placements: Annotated[
        tuple[int, ...],
        about(
            "Frames by which an utterance is moved from the middle of the network's input, in "
            "tests and at home: the network is run once for each of them, and the mean of its "
            "outputs counts. Training places clips anywhere."
        ),
    ] = (0,)
    preparation: Annotated[
        Preparation,
        about("What is computed once for each clip."),
    ] = Preparation()
    network: Annotated[
        Network,
        about("Sizes of the network; with `start.model` those of that model."),
    ] = Network()
    augmentation: Annotated[
        Augmentation,
        about("How clips are changed each time they are drawn."),
    ] = Augmentation()
    sounds: Annotated[Sounds | None, about("Sounds without speech; None: none.")] = None
    refit: Annotated[
        Refit | None,
        about("A second stage, after temperature and threshold are found; None: none."),
    ] = None
    representative_clips: Annotated[
        Count,
        about("Training clips from which the quantiser determines the ranges."),
    ] = 300
    input_range_sd: Annotated[
        Positive | None,
        about(
            "Largest feature value that int8 covers, in standard deviations; larger ones are "
            "clipped. None: the largest among the representative clips. Few values are that "
            "large, and all others pay for them with coarser steps."
        ),
    ] = None
    coverage: Annotated[
        Share,
        about("Share of the validation clips above the abstain threshold."),
    ] = 0.7

    def __post_init__(self) -> None:
        check_recipe(self)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the network's output, in order."""
        return self.labels or EMOTIONS

    @property
    def acted(self) -> tuple[str, ...]:
        """The training corpora with acted emotions."""
        return tuple(name for name, use in self.corpora.items() if not use.target)

    def in_training(self, features: FeatureParameters) -> FeatureParameters:
        """A front end as training uses it: with the room that training hears."""
        if self.training_reverb == "same":
            return features
        heard = None if self.training_reverb == "none" else self.training_reverb
        return msgspec.structs.replace(features, reverb=heard)

    def in_model(self, features: FeatureParameters) -> FeatureParameters:
        """A front end of training as the model file has it: with the room of the recipe."""
        if self.training_reverb == "same":
            return features
        return msgspec.structs.replace(features, reverb=self.features.reverb)

    @property
    def validates(self) -> bool:
        """Whether any corpus sets validation speakers aside."""
        return any(use.validation_speakers > 0 for use in self.corpora.values())

    @property
    def distillation(self) -> Teaching | Start | None:
        """The weights of soft targets: a teacher's, or those of the model to start from."""
        return self.teaching or self.start

    @property
    def embedded_speeds(self) -> tuple[float, ...]:
        """The speeds at which a run needs a teacher's embeddings; 1 unless each has its hints."""
        stages = (self.teaching, self.refit.teaching if self.refit is not None else None)
        hints = any(stage and stage.hints and stage.hints.at_speeds for stage in stages)
        return self.preparation.speeds if hints else (1.0,)

    @property
    def pretraining(self) -> Recipe | None:
        """The stage that training starts from, as a recipe of its own; None: there is none."""
        stage = self.start.pretraining if self.start is not None else None
        if stage is None:
            return None
        corpora = {
            name: msgspec.structs.replace(self.corpora[name], share=share)
            for name, share in stage.shares.items()
        }
        optimiser = msgspec.structs.replace(
            self.optimiser, steps=stage.steps, peak_rate=stage.peak_rate
        )
        return msgspec.structs.replace(
            self,
            corpora=corpora,
            optimiser=optimiser,
            augmentation=stage.augmentation or self.augmentation,
            teaching=stage.teaching,
            start=None,
            home=None,
            refit=None,
            cross_corpora=(),
        )

    @property
    def stages(self) -> dict[str, Recipe]:
        """Every stage as a recipe, by its folder in that of the run; the main one by ``.``."""
        found = {"pretraining": self.pretraining, ".": self}
        if self.refit is not None:
            found["refit"] = self.for_refit()
        return {folder: stage for folder, stage in found.items() if stage is not None}

    def for_refit(self) -> Recipe:
        """The refit stage of a run, as a recipe of its own."""
        assert self.refit is not None
        optimiser = msgspec.structs.replace(
            self.optimiser, steps=self.refit.steps, peak_rate=self.refit.peak_rate
        )
        return msgspec.structs.replace(
            self,
            optimiser=optimiser,
            augmentation=self.refit.augmentation or self.augmentation,
            sounds=self.refit.sounds or self.sounds,
            teaching=self.refit.teaching or self.teaching,
            refit=None,
        )


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: A file, or the name of one in ``training/recipes`` without its ending.

    Raises:
        InputError: There is no such file.
        ConfigError: It is not a recipe; the message says where.
    """
    path = Path(name_or_path)
    if path.is_dir() and (path / OWN).is_file():
        path /= OWN
    elif not path.suffix:
        path = _RECIPES / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in _RECIPES.glob("*.yaml")))
        raise InputError(
            f"No recipe at {shown(path)}",
            remedy=f"recipes by name: {known}; of one's own: serd-train new",
        )
    recipe = read_document(path, Recipe, "a recipe")
    return msgspec.structs.replace(
        recipe,
        corpora={name: _placed(use, path.parent) for name, use in recipe.corpora.items()},
    )


def _placed(use: CorpusUse, beside: Path) -> CorpusUse:
    """What a recipe names beside itself, wherever it is used from."""

    def placed(name: str | None) -> str | None:
        return None if name is None else str((beside / Path(name).expanduser()).resolve())

    return msgspec.structs.replace(use, folder=placed(use.folder), folds=placed(use.folds))
