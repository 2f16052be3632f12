"""The refit stage of training: which speakers it trains on, and with which settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.training.recipes import tiny_recipe
from training import dataset as material
from training.cli.console import changed
from training.dataset import Split
from training.recipe.augmentation import Augmentation, Reverb, Sounds
from training.recipe.stages import Refit
from training.recipe.teaching import Hints, Teaching

if TYPE_CHECKING:
    from pathlib import Path


def test_refit_trains_on_all_but_the_test_speakers() -> None:
    split = Split(train=("a/1", "b/1"), validation=("a/2",), test=("a/3", "b/3"))
    assert split.with_validation_speakers() == Split(
        train=("a/1", "b/1", "a/2"), validation=(), test=("a/3", "b/3")
    )


def test_refit_keeps_settings_that_it_does_not_override() -> None:
    recipe = msgspec.structs.replace(tiny_recipe(), refit=Refit(steps=7, peak_rate=0.5))
    refitted = recipe.for_refit()
    assert refitted.refit is None
    assert refitted.optimiser == msgspec.structs.replace(recipe.optimiser, steps=7, peak_rate=0.5)
    restored = msgspec.structs.replace(refitted, optimiser=recipe.optimiser, refit=recipe.refit)
    assert restored == recipe


def test_refit_may_change_augmentation_and_sounds() -> None:
    augmentation = Augmentation(reverb=Reverb(probability=0.1))
    sounds = Sounds(share=0.5, as_noise=0.0)
    refit = Refit(steps=7, peak_rate=0.5, augmentation=augmentation, sounds=sounds)
    refitted = msgspec.structs.replace(tiny_recipe(), refit=refit).for_refit()
    assert (refitted.augmentation, refitted.sounds) == (augmentation, sounds)


def test_refit_may_use_hints() -> None:
    plain = Teaching(teacher="nobody/tiny", licence="none")
    hinting = msgspec.structs.replace(plain, hints=Hints())
    refit = Refit(steps=7, peak_rate=0.5, teaching=hinting)
    recipe = msgspec.structs.replace(tiny_recipe(), teaching=plain, refit=refit)
    assert recipe.for_refit().teaching == hinting
    assert recipe.embedded_speeds == recipe.preparation.speeds
    assert msgspec.structs.replace(recipe, refit=None).embedded_speeds == (1.0,)
    without_refit = msgspec.structs.replace(recipe, teaching=hinting, refit=None)
    assert without_refit.embedded_speeds == recipe.preparation.speeds


def test_sounds_are_loaded_if_only_refit_uses_them(
    synthetic_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setattr(material, "load_training_sounds", lambda *_: ["rain"])
    recipe = tiny_recipe()
    sounds = Sounds(share=0.5, as_noise=0.0)
    in_refit = msgspec.structs.replace(recipe, refit=Refit(steps=1, peak_rate=1.0, sounds=sounds))
    loaded = [
        material.load_dataset(one, synthetic_corpora, cache=tmp_path, jobs=1).sounds
        for one in (recipe, in_refit)
    ]
    assert loaded == [[], ["rain"]]


def test_teacher_options_apply_to_refit_too() -> None:
    plain = Teaching(teacher="nobody/tiny", licence="none")
    refit = Refit(steps=7, peak_rate=0.5, teaching=msgspec.structs.replace(plain, hints=Hints()))
    recipe = msgspec.structs.replace(tiny_recipe(), teaching=plain, refit=refit)

    def teachers(options: dict[str, object]) -> list[str | None]:
        new = changed(recipe, options)
        both = (new.teaching, new.for_refit().teaching)
        return [teaching.teacher if teaching is not None else None for teaching in both]

    assert teachers({}) == ["nobody/tiny", "nobody/tiny"]
    assert teachers({"teacher": "somebody/large"}) == ["somebody/large", "somebody/large"]
    assert teachers({"no_teacher": True}) == [None, None]
    other = changed(recipe, {"teacher": "somebody/large"}).for_refit().teaching
    assert other is not None
    assert other.hints == Hints()
    assert other.licence == "not stated"
