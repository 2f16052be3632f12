"""What a run works on: the corpora of its recipe, ready and split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path  # noqa: TC003 - msgspec reads the annotation
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from training.batches import labels_of
from training.corpora import Corpus, read_corpora
from training.folds import Split, make_split
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
        return [one for one in self.prepared if one.clip.voice in voices]

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
        {
            name: _heard(corpus.of_classes(labels), recipe)
            for name, corpus in read_corpora(names, root).items()
        }
        for names in (tuple(recipe.corpora), recipe.cross_corpora)
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
    split = make_split(corpora, fold=recipe.fold, validation=validation, within=within)
    listens = recipe.sounds or (recipe.refit and recipe.refit.sounds)
    sounds = training_sounds(root, recipe.features) if listens else []
    return Material(
        corpora=corpora, cross=cross, split=split, prepared=prepared, sounds=sounds, root=root
    )


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
