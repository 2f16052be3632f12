"""The data set of a run: its corpora, prepared, and split by speaker.

Speakers never cross: whoever is heard in a test is never heard in training or in the choice of
anything. The test speakers of each fold are fixed, as JSON in ``training/folds``. The folds of
RAVDESS are those that several papers share; those of CREMA-D were drawn once (:func:`draw_folds`),
balanced by sex.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from serd.errors import InputError, UsageError, shown
from serd.model.emotions import EMOTIONS
from training.augment import load_training_sounds
from training.corpora import Corpus, corpora_root, folders, read_corpora, read_corpus
from training.document import read_document
from training.prepare import CACHE, Prepared, prepare, usable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from training.corpora import Clip, Corpus
    from training.recipe import Recipe

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage, the amount done, and the total."""


def no_progress(_what: str, _done: int, _all: int) -> None:
    """Report no progress."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """The corpora of a recipe, prepared and split."""

    corpora: dict[str, Corpus]
    """Training corpora by name."""
    cross: dict[str, Corpus]
    """Corpora that are only tested on."""
    split: Split
    prepared: list[Prepared]
    """Clips of ``corpora``, of every side."""
    sounds: list[Any] = []
    """Mel power of sounds without speech, for training."""
    root: Path
    """Folder of the corpora."""

    def side(self, name: str) -> list[Prepared]:
        """The prepared clips of ``train``, ``validation`` or ``test``."""
        voices = set(getattr(self.split, name))
        return [one for one in self.prepared if self.split.has(one.clip, name, voices)]

    def with_validation_speakers(self) -> Dataset:
        """The same data set with the validation speakers among the training speakers."""
        return msgspec.structs.replace(self, split=self.split.with_validation_speakers())

    def of_corpora(self, names: Collection[str]) -> Dataset:
        """The same data set with only some of the training corpora."""
        return msgspec.structs.replace(
            self,
            corpora={name: corpus for name, corpus in self.corpora.items() if name in names},
            prepared=[one for one in self.prepared if one.clip.corpus in names],
            split=self.split.of_corpora(names),
        )


def load_dataset(
    recipe: Recipe,
    root: Path,
    *,
    cache: Path = CACHE,
    jobs: int = 2,
    progress: Progress = no_progress,
) -> Dataset:
    """Read, prepare, clean and split the corpora that a recipe trains on.

    Args:
        recipe: The recipe.
        root: Folder of the corpora.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.
    """
    labels = recipe.classes
    corpora, cross = (
        {
            name: _select_speakers(corpus.of_classes(labels), recipe)
            for name, corpus in found.items()
        }
        for found in (read_training_corpora(recipe, root), read_corpora(recipe.cross_corpora, root))
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
    split = recipe_split(recipe, corpora)
    uses_sounds = recipe.sounds or (recipe.refit and recipe.refit.sounds)
    sounds = load_training_sounds(root, recipe.features) if uses_sounds else []
    return Dataset(
        corpora=corpora, cross=cross, split=split, prepared=prepared, sounds=sounds, root=root
    )


def read_training_corpora(recipe: Recipe, root: Path) -> dict[str, Corpus]:
    """The training corpora of a recipe: from the folders that it names, or below ``root``."""
    return {
        name: read_corpus(name, root)
        if use.folder is None
        else read_recordings_folder(name, Path(use.folder))
        for name, use in recipe.corpora.items()
    }


def read_recordings_folder(name: str, folder: Path) -> Corpus:
    """The user's own recordings; long ones are cut into utterances.

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
    """The folder of the corpora, if a recipe uses more than the user's own recordings.

    Raises:
        InputError: There is no such folder.
    """
    owns = all(use.folder is not None for use in recipe.corpora.values())
    if owns and not recipe.cross_corpora and recipe.sounds is None and recipe.refit is None:
        return Path(chosen or ".")
    return corpora_root(chosen)


def _select_speakers(corpus: Corpus, recipe: Recipe) -> Corpus:
    """The corpus with the speakers that the recipe selects."""
    use = recipe.corpora.get(corpus.name)
    if use is None or not use.speakers:
        return corpus
    if missing := sorted(set(use.speakers) - set(corpus.speakers)):
        raise InputError(
            f"{corpus.name} has no recordings of {', '.join(missing)}, which the recipe trains on",
            remedy=f"add them, or take them out of corpora.{corpus.name}.speakers in a recipe of "
            "your own",
        )
    return corpus.without(
        {
            clip.name: f"{clip.speaker}: not in this recipe"
            for clip in corpus.clips
            if clip.speaker not in use.speakers
        }
    )


_FOLDS = Path(__file__).parent / "folds"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The voices (``corpus/speaker``) of each side of a split."""

    train: tuple[str, ...]
    """For training, representative data and feature statistics."""
    validation: tuple[str, ...]
    """For choosing: temperature, abstain threshold, anything else."""
    test: tuple[str, ...]
    """For the final measurement only."""
    clips: dict[str, str] = {}
    """Side of single clips (``corpus/name``), where clips are held out and not speakers."""

    def __post_init__(self) -> None:
        sides = [set(self.train), set(self.validation), set(self.test)]
        if len(set().union(*sides)) != sum(len(side) for side in sides):
            raise UsageError("A speaker is on two sides of a split")

    def side(self, clips: Iterable[Clip], name: str) -> list[Clip]:
        """The clips whose speakers are on one side (``train``, ``validation`` or ``test``)."""
        voices = set(getattr(self, name))
        return [clip for clip in clips if self.has(clip, name, voices)]

    def with_validation_speakers(self) -> Split:
        """The same split with the validation speakers among the training speakers."""
        return msgspec.structs.replace(self, train=(*self.train, *self.validation), validation=())

    def of_corpora(self, names: Collection[str]) -> Split:
        """The same split without the voices of other corpora."""

        def kept(voices: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(voice for voice in voices if voice.partition("/")[0] in names)

        return msgspec.structs.replace(
            self,
            train=kept(self.train),
            validation=kept(self.validation),
            test=kept(self.test),
        )

    def has(self, clip: Clip, name: str, voices: Collection[str]) -> bool:
        """Whether a clip is on one side, whose voices are given."""
        # The utterances of a long recording stay on its side.
        side = (
            self.clips.get(f"{clip.corpus}/{clip.name.partition('#')[0]}") if self.clips else None
        )
        return clip.voice in voices if side is None else side == name


class HeldOutFolds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The folds of the user's own recordings, in a file beside the recipe: one of the two lists."""

    about: str = ""
    """How they were made."""
    test_speakers: tuple[tuple[str, ...], ...] = ()
    """The speakers that each fold holds out."""
    test_clips: tuple[tuple[str, ...], ...] = ()
    """The clips that each fold holds out, by their path below the corpus's folder, without ending;
    for recordings of too few speakers."""


def load_held_out_folds(file: Path) -> HeldOutFolds:
    """Read a file of folds.

    Raises:
        InputError: It is not there.
        ConfigError: It holds no folds; the message names line and key.
    """
    return read_document(file, HeldOutFolds, "a file of folds")


def load_folds(corpus: str) -> tuple[tuple[str, ...], ...]:
    """The test speakers of each fold of a corpus.

    Raises:
        UsageError: There are no folds for that corpus.
    """
    file = _FOLDS / f"{corpus}.json"
    if not file.is_file():
        raise UsageError(
            f"There are no folds for the corpus {corpus!r}",
            remedy=f"name a file of folds in the recipe: corpora.{corpus}.folds (docs/recipe.md)",
        )
    folds = json.loads(file.read_text(encoding="utf-8"))["test_speakers"]
    return tuple(tuple(fold) for fold in folds)


def check_fold(recipe: Recipe) -> None:
    """Check, before anything is prepared, that every corpus of a recipe has its fold.

    Raises:
        UsageError: One has no such fold, or no folds at all.
        InputError: A file of folds is missing.
    """
    for name, use in recipe.corpora.items():
        if use.folds is None:
            held_out(name, fold=recipe.fold)
        else:
            folds = load_held_out_folds(Path(use.folds))
            _of_fold(name, folds.test_clips or folds.test_speakers, recipe.fold)


def recipe_split(recipe: Recipe, corpora: Mapping[str, Corpus]) -> Split:
    """Split corpora as a recipe says: who is trained on, validated on and tested.

    Args:
        recipe: The recipe.
        corpora: Some or all of its corpora, by name.

    Raises:
        UsageError: There is no such fold, or too few speakers are left to train.
    """
    used = {name: use for name, use in recipe.corpora.items() if name in corpora}
    return make_split(
        corpora,
        fold=recipe.fold,
        validation={name: use.validation_speakers for name, use in used.items()},
        own={
            name: load_held_out_folds(Path(use.folds))
            for name, use in used.items()
            if use.folds is not None
        },
    )


def make_split(
    corpora: Mapping[str, Corpus],
    *,
    fold: int,
    validation: Mapping[str, int],
    own: Mapping[str, HeldOutFolds] | None = None,
) -> Split:
    """Split several corpora by speaker.

    Args:
        corpora: By name; a corpus without folds is refused.
        fold: 1-based; held out as test in each corpus. 0: none.
        validation: Number of the remaining speakers of each corpus for validation.
        own: Folds of corpora that have none in ``training/folds``.

    Raises:
        UsageError: There is no such fold, or too few speakers are left to train.
    """
    train: list[str] = []
    inner: list[str] = []
    test: list[str] = []
    clips: dict[str, str] = {}
    for name, corpus in corpora.items():
        folds = (own or {}).get(name)
        if folds is not None and folds.test_clips:
            train += [f"{name}/{speaker}" for speaker in corpus.speakers]
            clips |= {f"{name}/{clip}": "test" for clip in _of_fold(name, folds.test_clips, fold)}
            continue
        if not corpus.knows_speakers:
            raise UsageError(
                f"Nobody knows who speaks in {name}, so it cannot be split by speaker",
                remedy="name it under cross_corpora, to be tested on only",
            )
        if folds is not None:
            tested = _of_fold(name, folds.test_speakers, fold)
        else:
            tested = held_out(name, fold=fold)
        if folds is not None and tested and tested.isdisjoint(corpus.speakers):
            raise UsageError(
                f"{name} has no recording of anybody whom fold {fold} holds out: "
                f"{', '.join(sorted(tested))}",
                remedy="write the folds anew: serd-train new --again",
            )
        rest = [speaker for speaker in corpus.speakers if speaker not in tested]
        chosen = set(choose_speakers(corpus, rest, validation.get(name, 0), salt=f"fold {fold}"))
        if len(chosen) >= len(rest):
            raise UsageError(f"{name}: no speaker is left to train on in fold {fold}")
        test += [f"{name}/{speaker}" for speaker in corpus.speakers if speaker in tested]
        inner += [f"{name}/{speaker}" for speaker in rest if speaker in chosen]
        train += [f"{name}/{speaker}" for speaker in rest if speaker not in chosen]
    return Split(train=tuple(train), validation=tuple(inner), test=tuple(test), clips=clips)


def _of_fold(name: str, folds: Sequence[Sequence[str]], fold: int) -> frozenset[str]:
    """The speakers or clips that a fold holds out; none for fold 0."""
    if not 0 <= fold <= len(folds):
        raise UsageError(f"{name} has folds 1 to {len(folds)}, not {fold}")
    return frozenset(folds[fold - 1]) if fold else frozenset()


def held_out(name: str, *, fold: int) -> frozenset[str]:
    """The test speakers of a corpus in one fold.

    Args:
        name: Of the corpus.
        fold: 1-based; 0: none.

    Raises:
        UsageError: There is no such fold.
    """
    return _of_fold(name, load_folds(name), fold)


def choose_speakers(
    corpus: Corpus, candidates: Sequence[str], count: int, *, salt: str
) -> list[str]:
    """Pick speakers, women and men in turn; the same arguments give the same speakers.

    The order comes from a hash of name and salt, not from a random generator whose stream may
    change with the library version.
    """
    sex = {clip.speaker: clip.sex or "?" for clip in corpus.clips}
    queues = {
        letter: sorted(
            (speaker for speaker in candidates if sex[speaker] == letter),
            key=lambda speaker: hashlib.sha256(
                f"{salt}/{corpus.name}/{speaker}".encode()
            ).hexdigest(),
        )
        for letter in sorted({sex[speaker] for speaker in candidates})
    }
    picked: list[str] = []
    while len(picked) < count and any(queues.values()):
        picked += [queue.pop(0) for queue in queues.values() if queue]
    return sorted(picked[:count])


def draw_folds(sexes: Mapping[str, str], *, folds: int, seed: int) -> list[list[str]]:
    """Deal speakers into folds, each sex shuffled and dealt in turn.

    How ``crema_d.json`` was made: ``draw_folds(sexes, folds=5, seed=2026)``.
    """
    random_ = random.Random(seed)
    dealt: list[list[str]] = [[] for _ in range(folds)]
    order: list[str] = []
    for sex in sorted(set(sexes.values())):
        same = sorted(speaker for speaker, value in sexes.items() if value == sex)
        random_.shuffle(same)
        order += same
    for place, speaker in enumerate(order):
        dealt[place % folds].append(speaker)
    return [sorted(one) for one in dealt]
