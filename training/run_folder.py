"""The folder of a run: a recipe and all results of training by it.

::

    runs/NAME/
        recipe.json       the recipe
        run.json          git revision, versions, seed, who trained, validated and tested
        features.json     the front end of training, with the mean and sd of its speakers
        teaching.json     the teacher, and how good it is (only with a teacher)
        teaching.npz      soft targets and hints for the training clips
        curves.json       loss and validation accuracy by step
        checkpoint.npz    from which an interrupted training resumes
        weights.npz       the running mean of the weights at the end
        calibration.json  temperature and threshold
        heard.json        raw outputs for all test clips (training.evaluate.predictions)
        home.json         prior, bias and thresholds for a household (training.evaluate.household)
        pretraining/      the stage that training starts from, if there is one: a run of its own
        refit/            the refit stage, if the recipe has one: a run of its own
        model.tflite      the packed model
        metrics.json      every figure on the test speakers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import msgspec

from serd.errors import UsageError
from serd.model.metadata import FeatureParameters, Home
from training.evaluate.calibration import Calibration
from training.evaluate.household import HouseholdFit
from training.files import read_arrays, read_json, write_json
from training.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


class RunFolder:
    """One run's folder.

    Args:
        folder: Made if it is not there.
        recipe: The recipe.

    Raises:
        UsageError: The folder holds a run of another recipe or version.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.recipe = recipe
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "recipe.json"
        if not kept.is_file():
            self.write(kept.name, recipe)
        elif _recipe_in(kept) != recipe:
            raise UsageError(
                f"{folder} holds a run of another recipe",
                remedy="name another folder with --run, or remove that one",
            )

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an existing run.

        Raises:
            UsageError: The folder holds no run, or one of a version with other recipes.
        """
        kept = folder / "recipe.json"
        if not kept.is_file():
            raise UsageError(f"There is no run in {folder}", remedy="begin one: serd-train train")
        return cls(folder, _recipe_in(kept))

    @property
    def model(self) -> Path:
        """The packed model."""
        return self.folder / "model.tflite"

    def read(self, name: str) -> Any:
        """One of the folder's JSON files.

        Raises:
            UsageError: It has not been written yet.
            InputError: It is damaged.
        """
        file = self.folder / name
        if not file.is_file():
            raise UsageError(f"{self.folder} has no {name} yet")
        return read_json(file)

    def write(self, name: str, content: Any) -> None:
        """Write one of the folder's JSON files, whole or not at all."""
        write_json(self.folder / name, content)

    def features(self) -> FeatureParameters:
        """The front end of training, with the measured mean and sd."""
        return msgspec.convert(self.read("features.json"), FeatureParameters)

    def packed_features(self) -> FeatureParameters:
        """The front end of the model file: that of training, with the room if it left that out."""
        return self.recipe.in_model(self.features())

    def weights(self) -> list[NDArray[np.float32]]:
        """The trained weights.

        Raises:
            UsageError: Training is not complete.
            InputError: The file is damaged.
        """
        file = self.folder / "weights.npz"
        if not file.is_file():
            raise UsageError(f"{self.folder} is not trained to the end", remedy="serd-train train")
        return list(read_arrays(file).values())

    @property
    def refitted(self) -> bool:
        """Whether the refit stage is complete."""
        return (self.folder / "refit" / "weights.npz").is_file()

    def calibration(self) -> Calibration:
        """Temperature and threshold."""
        return msgspec.convert(self.read("calibration.json"), Calibration)

    def household(self) -> Home | None:
        """The household settings, if they have been fitted."""
        if not (self.folder / "home.json").is_file():
            return None
        return msgspec.convert(self.read("home.json"), Home)

    def set_calibration(self, fitted: HouseholdFit) -> None:
        """Take over a calibration from other folds."""
        threshold = fitted.home.sensitivity["normal"].threshold
        self.write(
            "calibration.json",
            Calibration(temperature=fitted.temperature, abstain_threshold=threshold),
        )
        self.write("home.json", fitted.home)

    def adopt_crossval(self, summary: Path) -> None:
        """Take over the calibration of a cross-validation, for a model trained on all speakers.

        Args:
            summary: The file of ``serd-train folds``.

        Raises:
            UsageError: It does not exist, or belongs to another recipe.
        """
        settled = settled_crossval(summary, self.recipe)
        home = msgspec.convert(settled["home"], Home)
        self.set_calibration(HouseholdFit(temperature=settled["temperature"], home=home))
        self.write("crossed.json", settled["pooled"])


def settled_crossval(summary: Path, recipe: Recipe) -> dict[str, Any]:
    """What a cross-validation of a recipe settled: calibration, household settings, and figures.

    Args:
        summary: The file of ``serd-train folds``.
        recipe: The recipe.

    Raises:
        UsageError: It does not exist, or belongs to another recipe.
    """
    remedy = "cross-validate first: serd-train folds"
    if not summary.is_file():
        raise UsageError(f"There is no {summary}", remedy=remedy)
    found = read_json(summary)
    if not same_recipe(found["recipe"], recipe):
        raise UsageError(f"{summary} is of another recipe", remedy=remedy)
    settled: dict[str, Any] | None = found.get("settled")
    if not settled:
        raise UsageError(f"{summary} is not complete", remedy=remedy)
    return settled


def same_recipe(kept: dict[str, Any], recipe: Recipe) -> bool:
    """Whether a recipe that was kept with figures is the same, fold and seed aside."""
    # Keys that were added later, with their defaults, do not make another recipe; keys that are
    # gone do.
    try:
        before = msgspec.convert(kept | {"fold": 0, "seed": 0}, Recipe)
    except msgspec.ValidationError:
        return False
    return before == msgspec.structs.replace(recipe, fold=0, seed=0)


def _recipe_in(kept: Path) -> Recipe:
    """The recipe that a run's folder keeps.

    Raises:
        UsageError: It is not one of this version.
    """
    try:
        return msgspec.json.decode(kept.read_bytes(), type=Recipe)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"{kept} is not a recipe of this version: {error}",
            remedy="name another folder with --run, or remove that one",
        ) from error
