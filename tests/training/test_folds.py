from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import training
from serd.errors import UsageError
from training.corpora import Clip, Corpus, read_corpus
from training.dataset import Split, draw_folds, load_folds, make_split, recipe_split
from training.recipe import load_recipe


def corpus_of(name: str) -> Corpus:
    """A corpus with one clip of each speaker in its folds; every third is a woman."""
    speakers = sorted(speaker for fold in load_folds(name) for speaker in fold)
    clips = tuple(
        Clip(
            path=Path(f"{name}-{speaker}.wav"),
            corpus=name,
            speaker=speaker,
            emotion="sad",
            sex="f" if number % 3 == 0 else "m",
        )
        for number, speaker in enumerate(speakers)
    )
    return Corpus(name=name, title=name, licence="", source="", clips=clips)


RECIPES = sorted(file.stem for file in (Path(training.__file__).parent / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_train_validation_and_test_speakers_are_disjoint(fold: int, recipe: str) -> None:
    use = load_recipe(recipe).corpora
    corpora = {name: corpus_of(name) for name in use}
    validation = {name: use[name].validation_speakers for name in corpora}
    split = make_split(corpora, fold=fold, validation=validation)
    sides = [set(split.train), set(split.validation), set(split.test)]
    assert sides[0].isdisjoint(sides[1])
    assert sides[0].isdisjoint(sides[2])
    assert sides[1].isdisjoint(sides[2])
    voices = {clip.voice for corpus in corpora.values() for clip in corpus.clips}
    assert set().union(*sides) == voices
    held_out = {f"{name}/{speaker}" for name in corpora for speaker in load_folds(name)[fold - 1]}
    assert sides[2] == held_out
    assert len(split.validation) == sum(validation.values())
    clips = [clip for corpus in corpora.values() for clip in corpus.clips]
    parts = [split.side(clips, side) for side in ("train", "validation", "test")]
    assert sorted(clip.voice for part in parts for clip in part) == sorted(voices)
    assert split == make_split(corpora, fold=fold, validation=validation)


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_a_recipe_tests_the_speakers_of_its_fold(fold: int) -> None:
    """Also with some of its corpora only, as in a probe."""
    recipe = msgspec.structs.replace(load_recipe("permissive"), fold=fold)
    corpora = {name: corpus_of(name) for name in recipe.corpora}
    split = recipe_split(recipe, corpora)
    tested = {voice for voice in split.test if voice.startswith("crema_d/")}
    assert tested == {f"crema_d/{speaker}" for speaker in load_folds("crema_d")[fold - 1]}
    assert set(split.test).isdisjoint(split.train)
    parts = {"crema_d": corpora["crema_d"]}
    assert set(recipe_split(recipe, parts).test) == tested


def test_validation_speakers_are_balanced_by_sex_and_differ_by_fold() -> None:
    corpora = {"crema_d": corpus_of("crema_d")}
    chosen = [
        make_split(corpora, fold=fold, validation={"crema_d": 8}).validation for fold in (1, 2)
    ]
    assert chosen[0] != chosen[1]
    sex = {clip.voice: clip.sex for clip in corpora["crema_d"].clips}
    for speakers in chosen:
        assert [sex[speaker] for speaker in speakers].count("f") == 4


@pytest.mark.parametrize(("name", "people"), [("ravdess", 24), ("crema_d", 75)])
def test_every_speaker_is_tested_in_exactly_one_fold(name: str, people: int) -> None:
    folds = load_folds(name)
    speakers = [speaker for fold in folds for speaker in fold]
    assert len(folds) == 5
    assert len(speakers) == len(set(speakers)) == people


def test_ravdess_folds_are_unchanged() -> None:
    assert [[int(actor) for actor in fold] for fold in load_folds("ravdess")] == [
        [2, 5, 14, 15, 16],
        [3, 6, 7, 13, 18],
        [10, 11, 12, 19, 20],
        [8, 17, 21, 23, 24],
        [1, 4, 9, 22],
    ]


def test_a_split_with_overlapping_speakers_is_rejected() -> None:
    with pytest.raises(UsageError, match="two sides"):
        Split(train=("ravdess/01",), validation=(), test=("ravdess/01",))


def test_impossible_splits_are_rejected() -> None:
    corpora = {"ravdess": corpus_of("ravdess")}
    with pytest.raises(UsageError, match="folds 1 to 5"):
        make_split(corpora, fold=6, validation={})
    with pytest.raises(UsageError, match="no speaker is left"):
        make_split(corpora, fold=1, validation={"ravdess": 19})
    with pytest.raises(UsageError, match="no folds"):
        load_folds("emodb")


@pytest.mark.corpora
def test_crema_d_folds_are_drawn_as_documented(real_corpora: Path) -> None:
    corpus = read_corpus("crema_d", real_corpora)
    sexes = {clip.speaker: clip.sex or "?" for clip in corpus.clips}
    drawn = draw_folds(sexes, folds=5, seed=2026)
    assert drawn == [list(fold) for fold in load_folds("crema_d")]
    women = [sum(sexes[speaker] == "f" for speaker in fold) for fold in drawn]
    assert {len(fold) for fold in drawn} == {15}
    assert max(women) - min(women) <= 1
