"""What a run works on: the corpora of its recipe, ready and split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from serd.errors import InputError, shown
from serd.model.emotions import EMOTIONS
from training.batches import labels_of
from training.corpora import Corpus, corpora_root, folders, read_corpora, read_corpus
from training.folds import Split, load_own_folds, make_split
from training.prepare import CACHE, Prepared, prepare, usable
from training.refit import rejoined
from training.sounds import training_sounds

if TYPE_CHECKING:
    from training.recipe import Recipe

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def silent(_what: str, _done: int, _all: int) -> None:
    """Nobody hears of progress."""


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """The corpora of a recipe, ready and split."""

    corpora: dict[str, Corpus]
    """Those that are trained on, by name."""
    cross: dict[str, Corpus]
    """Those that are only tested on."""
    split: Split
    prepared: list[Prepared]
    """Clips of ``corpora``, of every side."""
    sounds: list[Any] = []
    """Mel power of sounds that are no speech, for training."""
    root: Path
    """Folder of the corpora."""

    def side(self, name: str) -> list[Prepared]:
        """The prepared clips of ``train``, ``validation`` or ``test``."""
        voices = set(getattr(self.split, name))
        return [one for one in self.prepared if self.split.has(one.clip, name, voices)]

    def rejoined(self) -> Material:
        """The same with the validation speakers among those who are trained on."""
        return msgspec.structs.replace(self, split=rejoined(self.split))


def gather(
    recipe: Recipe,
    root: Path,
    *,
    cache: Path = CACHE,
    jobs: int = 2,
    progress: Progress = silent,
) -> Material:
    """Read, prepare, clean and split the corpora that a recipe trains on.

    Args:
        recipe: Names them.
        root: Folder of the corpora.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Hears of it.
    """
    labels = labels_of(recipe)
    corpora, cross = (
        {name: _heard(corpus.of_classes(labels), recipe) for name, corpus in found.items()}
        for found in (read_own(recipe, root), read_corpora(recipe.cross_corpora, root))
    )
    prepared: list[Prepared] = []
    for name, corpus in corpora.items():
        done = 0

        def step(count: int, corpus: Corpus = corpus) -> None:
            nonlocal done
            done += count
            progress(f"prepare {corpus.title}", done, len(corpus.clips))

        ready = prepare(
            corpus.clips, recipe.preparation, recipe.features, cache=cache, jobs=jobs, progress=step
        )
        corpora[name], kept = usable(corpus, ready)
        prepared += kept
    validation = {name: use.validation_speakers for name, use in recipe.corpora.items()}
    within = {name: use.within for name, use in recipe.corpora.items() if use.within}
    own = {
        name: load_own_folds(Path(use.folds))
        for name, use in recipe.corpora.items()
        if use.folds is not None
    }
    split = make_split(corpora, fold=recipe.fold, validation=validation, within=within, own=own)
    listens = recipe.sounds or (recipe.refit and recipe.refit.sounds)
    sounds = training_sounds(root, recipe.features) if listens else []
    return Material(
        corpora=corpora, cross=cross, split=split, prepared=prepared, sounds=sounds, root=root
    )


def read_own(recipe: Recipe, root: Path) -> dict[str, Corpus]:
    """The corpora that a recipe trains on: from the folders that it names, or below ``root``."""
    return {
        name: read_corpus(name, root) if use.folder is None else own_corpus(name, Path(use.folder))
        for name, use in recipe.corpora.items()
    }


def own_corpus(name: str, folder: Path) -> Corpus:
    """Somebody's own recordings, those of more than a sentence to be cut into utterances.

    Raises:
        InputError: There is no such folder, or it holds no recording of a known emotion.
    """
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {shown(folder)}",
            remedy="name the folder in which the recordings are; a recipe says it in `folder`",
        )
    corpus = folders.read(folder, name)
    if not corpus.clips:
        raise InputError(_nothing_found(folder, corpus), remedy=_LAYOUT)
    cut = tuple(msgspec.structs.replace(clip, cut="auto") for clip in corpus.clips)
    return msgspec.structs.replace(corpus, clips=cut)


def _nothing_found(folder: Path, corpus: Corpus) -> str:
    found = ", ".join(f"{count} {reason}" for reason, count in corpus.left_out.items())
    words = f"{shown(folder)} holds no recording in a folder that is named after an emotion"
    return f"{words} (found: {found})" if found else words


_LAYOUT = (
    "put them into folders such as FOLDER/angry/one.wav or FOLDER/anna/angry/one.wav; names are"
    f" {', '.join(EMOTIONS)}, or what `emotions` in FOLDER/corpus.yaml says"
)


def corpora_for(recipe: Recipe, chosen: str | Path | None) -> Path:
    """The folder of the corpora, if a recipe needs any that is not its own.

    Raises:
        InputError: It does, and there is no such folder.
    """
    owns = all(use.folder is not None for use in recipe.corpora.values())
    if owns and not recipe.cross_corpora and recipe.sounds is None and recipe.refit is None:
        return Path(chosen or ".")
    return corpora_root(chosen)


def _heard(corpus: Corpus, recipe: Recipe) -> Corpus:
    """The corpus less the speakers that the recipe does not want to hear."""
    use = recipe.corpora.get(corpus.name)
    if use is None or not use.speakers:
        return corpus
    return corpus.without(
        {
            clip.name: f"{clip.speaker}: not in this recipe"
            for clip in corpus.clips
            if clip.speaker not in use.speakers
        }
    )
