"""The refit stage of training: whom it hears, and by which settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.training.recipes import tiny_recipe
from training import dataset as material
from training.cli.console import changed
from training.dataset import Split
from training.recipe import (
    Augmentation,
    Hints,
    Refit,
    Reverb,
    Sounds,
    Teaching,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_everybody_but_the_test_speakers_is_trained_on() -> None:
    split = Split(train=("a/1", "b/1"), validation=("a/2",), test=("a/3", "b/3"))
    assert split.with_validation_speakers() == Split(
        train=("a/1", "b/1", "a/2"), validation=(), test=("a/3", "b/3")
    )


def test_what_it_does_not_name_stays_as_it_was() -> None:
    recipe = msgspec.structs.replace(tiny_recipe(), refit=Refit(steps=7, peak_rate=0.5))
    found = recipe.for_refit()
    assert found.refit is None
    assert found.optimiser == msgspec.structs.replace(recipe.optimiser, steps=7, peak_rate=0.5)
    same = msgspec.structs.replace(found, optimiser=recipe.optimiser, refit=recipe.refit)
    assert same == recipe


def test_it_may_hear_other_rooms_and_sounds() -> None:
    quiet, sounds = Augmentation(reverb=Reverb(probability=0.1)), Sounds(share=0.5, as_noise=0.0)
    refit = Refit(steps=7, peak_rate=0.5, augmentation=quiet, sounds=sounds)
    found = msgspec.structs.replace(tiny_recipe(), refit=refit).for_refit()
    assert (found.augmentation, found.sounds) == (quiet, sounds)


def test_its_teacher_may_give_hints() -> None:
    plain = Teaching(teacher="nobody/tiny", licence="none")
    hinting = msgspec.structs.replace(plain, hints=Hints())
    refit = Refit(steps=7, peak_rate=0.5, teaching=hinting)
    recipe = msgspec.structs.replace(tiny_recipe(), teaching=plain, refit=refit)
    assert recipe.for_refit().teaching == hinting
    assert recipe.embedded_speeds == recipe.preparation.speeds
    assert msgspec.structs.replace(recipe, refit=None).embedded_speeds == (1.0,)
    early = msgspec.structs.replace(recipe, teaching=hinting, refit=None)
    assert early.embedded_speeds == recipe.preparation.speeds


def test_sounds_are_gathered_for_it_alone(
    synthetic_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setattr(material, "load_training_sounds", lambda *_: ["rain"])
    recipe = tiny_recipe()
    sounds = Sounds(share=0.5, as_noise=0.0)
    alone = msgspec.structs.replace(recipe, refit=Refit(steps=1, peak_rate=1.0, sounds=sounds))
    heard = [
        material.load_dataset(one, synthetic_corpora, cache=tmp_path, jobs=1).sounds
        for one in (recipe, alone)
    ]
    assert heard == [[], ["rain"]]


def test_who_teaches_is_the_same_in_it_as_before() -> None:
    plain = Teaching(teacher="nobody/tiny", licence="none")
    refit = Refit(steps=7, peak_rate=0.5, teaching=msgspec.structs.replace(plain, hints=Hints()))
    recipe = msgspec.structs.replace(tiny_recipe(), teaching=plain, refit=refit)

    def teachers(options: dict[str, object]) -> list[str | None]:
        found = changed(recipe, options)
        both = (found.teaching, found.for_refit().teaching)
        return [lesson.teacher if lesson is not None else None for lesson in both]

    assert teachers({}) == ["nobody/tiny", "nobody/tiny"]
    assert teachers({"teacher": "somebody/large"}) == ["somebody/large", "somebody/large"]
    assert teachers({"no_teacher": True}) == [None, None]
    other = changed(recipe, {"teacher": "somebody/large"}).for_refit().teaching
    assert other is not None
    assert other.hints == Hints()
    assert other.licence == "not stated"
