"""The stage from whose weights training starts: its recipe, its folder, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from serd.errors import ConfigError, UsageError
from tests.training.recipes import tiny_recipe
from training.cli.console import changed
from training.crossval import Task
from training.dataset import load_dataset
from training.recipe import Recipe, load_recipe
from training.recipe.stages import Pretraining, Start
from training.recipe.teaching import Teaching
from training.run import Run, run_stages

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


def pretrained(*, keep: float, frozen: int = 0, teaching: Teaching | None = None) -> Recipe:
    stage = Pretraining(shares={"ravdess": 0.5}, steps=12, peak_rate=2e-3, teaching=teaching)
    start = Start(pretraining=stage, remembers=("ravdess",), frozen=frozen, keep=keep)
    return msgspec.structs.replace(tiny_recipe(steps=10), start=start, refit=None)


def test_pretraining_has_the_recipes_settings_except_for_its_own() -> None:
    recipe = pretrained(keep=0.3)
    stage = recipe.pretraining
    assert stage is not None
    assert (stage.optimiser.steps, stage.optimiser.peak_rate) == (12, 2e-3)
    assert stage.corpora["ravdess"] == msgspec.structs.replace(recipe.corpora["ravdess"], share=0.5)
    assert (stage.start, stage.home, stage.refit) == (None, None, None)
    same = ("seed", "fold", "network", "augmentation", "preparation", "labels")
    assert [getattr(stage, key) for key in same] == [getattr(recipe, key) for key in same]
    assert tiny_recipe().pretraining is None
    assert set(recipe.stages) == {"pretraining", "."}
    assert set(tiny_recipe().stages) == {".", "refit"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("{ keep: 0.5 }", "either model or pretraining"),
        ("{ model: default, pretraining: STAGE }", "either model or pretraining"),
        ("{ pretraining: { shares: { emovo: 1 }, steps: 5, peak_rate: 0.1 } }", "has emovo"),
    ],
)
def test_a_start_that_cannot_be_is_an_error(keys: str, message: str, tmp_path: Path) -> None:
    text = (RECIPES / "ravdess-alone.yaml").read_text(encoding="utf-8")
    stage = "{ shares: { ravdess: 1 }, steps: 5, peak_rate: 0.1 }"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(f"{text}\nstart: {keys.replace('STAGE', stage)}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_recipe(wrong)


def test_teacher_options_apply_to_pretraining_too() -> None:
    recipe = pretrained(keep=0.3, teaching=Teaching(teacher="nobody/tiny", licence="none"))
    for options, expected in (
        ({}, "nobody/tiny"),
        ({"teacher": "somebody/large"}, "somebody/large"),
        ({"no_teacher": True}, None),
    ):
        stage = changed(recipe, options).pretraining
        assert stage is not None
        assert (stage.teaching.teacher if stage.teaching is not None else None) == expected


@pytest.mark.tensorflow
def test_training_starts_from_the_pretrained_weights(
    synthetic_corpora: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    weights = {}
    for keep in (1.0, 0.5, 0.0):
        run = Run(tmp_path / str(keep), pretrained(keep=keep))
        dataset = load_dataset(run.recipe, synthetic_corpora, cache=tmp_path / "cache", jobs=1)
        run_stages(run, ("train",), synthetic_corpora, cache=tmp_path / "cache", jobs=1)
        before = Run.open(run.folder / "pretraining")
        assert run.features() == before.features()
        assert set(run.read("run.json")["split"]["test"]) == set(dataset.split.test)
        weights[keep] = run.weights()
        if keep == 1.0:
            for kept, first in zip(weights[keep], before.weights(), strict=True):
                np.testing.assert_array_equal(kept, first)
    for all_old, half, new in zip(weights[1.0], weights[0.5], weights[0.0], strict=True):
        np.testing.assert_allclose(half, 0.5 * all_old + 0.5 * new, atol=1e-6)
    assert not np.array_equal(weights[1.0][0], weights[0.0][0])


@pytest.mark.tensorflow
def test_frozen_layers_keep_weights_and_statistics(synthetic_corpora: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    run = Run(tmp_path / "run", pretrained(keep=0.0, frozen=3))
    run_stages(run, ("train",), synthetic_corpora, cache=tmp_path / "cache", jobs=1)
    before, after = Run.open(run.folder / "pretraining").weights(), run.weights()
    # Kernel and bias of the transform; kernel, scale, offset, mean and variance of a convolution.
    frozen = 2 + 5 + 5
    for old, new in zip(before[:frozen], after[:frozen], strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(before[frozen:], after[frozen:], strict=True):
        assert not np.array_equal(old, new)
    # Five layers: the transform, the stem, two convolutions, and the last one.
    with pytest.raises(ValueError, match=r"start\.frozen is 5, and the network has 5 layers"):
        pretrained(keep=0.0, frozen=5)


def test_progress_counts_the_steps_of_all_stages(tmp_path: Path) -> None:
    recipe = pretrained(keep=0.3)
    task = Task(recipe=recipe, folder=str(tmp_path), root="", cache="")
    assert (task.steps, task.steps_done) == (22, 0)
    curves = tmp_path / "pretraining" / "curves.json"
    curves.parent.mkdir()
    curves.write_text('[{"step": 5}, {"step": 12}]', encoding="utf-8")
    assert task.steps_done == 12
    (tmp_path / "curves.json").write_text('[{"step": 4}]', encoding="utf-8")
    assert task.steps_done == 16
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    assert task.steps_done == 22


def test_a_run_of_another_version_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"gone": 1}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"recipe\.json .*gone"):
        Run.open(tmp_path)
    with pytest.raises(UsageError, match=r"recipe\.json .*gone"):
        Run(tmp_path, tiny_recipe())
