"""A room of the front end that training leaves out, or hears another one instead of."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from serd.errors import ConfigError
from serd.model.metadata import FeatureParameters, Reverb
from serd.model.model_file import ModelFile
from tests.training.recipes import tiny_recipe
from training.recipe import Recipe, load_recipe
from training.recipe.stages import Pretraining, Start
from training.run import Run, run_stages

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
ROOM = Reverb(rt60_s=0.5, tail_db=-7.0)


def three_stages(
    features: FeatureParameters, heard: Literal["same", "none"] | Reverb = "same"
) -> Recipe:
    """A recipe that pretrains, trains and refits."""
    stage = Pretraining(shares={"ravdess": 0.5}, steps=6, peak_rate=2e-3)
    return msgspec.structs.replace(
        tiny_recipe(steps=6),
        features=features,
        training_reverb=heard,
        start=Start(pretraining=stage, remembers=("ravdess",), keep=0.3),
    )


def test_without_a_room_there_is_none_to_leave_out(tmp_path: Path) -> None:
    text = (RECIPES / "ravdess-alone.yaml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(f"{text}\ntraining_reverb: none\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"training_reverb leaves out features\.reverb"):
        load_recipe(wrong)


@pytest.mark.tensorflow
def test_every_stage_of_training_hears_the_room_that_the_recipe_says(
    synthetic_corpora: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    other = Reverb(rt60_s=0.3, tail_db=-3.0)
    cases = {
        "dry": three_stages(FeatureParameters()),
        "left out": three_stages(FeatureParameters(reverb=ROOM), "none"),
        "heard": three_stages(FeatureParameters(reverb=ROOM)),
        "another": three_stages(FeatureParameters(reverb=other), ROOM),
    }
    runs = {name: Run(tmp_path / name, recipe) for name, recipe in cases.items()}
    for run in runs.values():
        run_stages(
            run,
            ("train", "quantise", "refit", "evaluate"),
            synthetic_corpora,
            cache=tmp_path / "cache",
            jobs=1,
        )
    for stage in ("pretraining", ".", "refit"):
        dry, left_out, heard, another = (Run.open(run.folder / stage) for run in runs.values())
        assert left_out.features() == dry.features()
        assert heard.features().reverb == ROOM
        for expected, actual in zip(dry.weights(), left_out.weights(), strict=True):
            np.testing.assert_array_equal(actual, expected)
        assert not np.array_equal(heard.weights()[0], dry.weights()[0])
        assert another.features() == heard.features()
        for expected, actual in zip(heard.weights(), another.weights(), strict=True):
            np.testing.assert_array_equal(actual, expected)

    features = {name: ModelFile.load(run.model).info.features for name, run in runs.items()}
    assert features["dry"].reverb is None
    assert features["left out"] == msgspec.structs.replace(features["dry"], reverb=ROOM)
    assert features["another"] == msgspec.structs.replace(features["heard"], reverb=other)
    # The quantiser determined the ranges from speech in the room.
    networks = {name: (run.folder / "network.tflite").read_bytes() for name, run in runs.items()}
    assert networks["left out"] != networks["dry"]
