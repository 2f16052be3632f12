"""Who trains and who tests: lists of speakers, fixed once and kept as JSON beside this file.

Speakers never cross: whoever is heard in a test is never heard in training, nor in the choice of
anything. The folds of RAVDESS are those that several papers share; those of CREMA-D were drawn
once (:func:`draw_folds`), balanced by sex.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from serd.errors import UsageError
from training.document import read_document

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from training.corpora import Clip, Corpus

_HERE = Path(__file__).parent


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The voices (``corpus/speaker``) of each side of a split."""

    train: tuple[str, ...]
    """Trained on; the only source of representative data and of feature statistics."""
    validation: tuple[str, ...]
    """Used to choose: temperature, abstain threshold, anything else."""
    test: tuple[str, ...]
    """Looked at once, at the end."""
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

    def has(self, clip: Clip, name: str, voices: Collection[str]) -> bool:
        """Whether a clip is on one side, whose voices are given."""
        # What a long recording was cut into stays on the recording's side.
        side = (
            self.clips.get(f"{clip.corpus}/{clip.name.partition('#')[0]}") if self.clips else None
        )
        return clip.voice in voices if side is None else side == name


class OwnFolds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The folds of somebody's own recordings, in a file beside the recipe: one of the two lists."""

    about: str = ""
    """How they were made."""
    test_speakers: tuple[tuple[str, ...], ...] = ()
    """The speakers whom each fold holds out."""
    test_clips: tuple[tuple[str, ...], ...] = ()
    """The clips that each fold holds out, by their path below the corpus's folder, without ending;
    for recordings of too few speakers."""


def load_own_folds(file: Path) -> OwnFolds:
    """Read a file of folds.

    Raises:
        InputError: It is not there.
        ConfigError: It holds no folds; the message names line and key.
    """
    return read_document(file, OwnFolds, "a file of folds")


def load_folds(corpus: str) -> tuple[tuple[str, ...], ...]:
    """The test speakers of each fold of a corpus.

    Raises:
        UsageError: No folds are kept for that corpus.
    """
    file = _HERE / f"{corpus}.json"
    if not file.is_file():
        raise UsageError(f"There are no folds for the corpus {corpus!r}")
    folds = json.loads(file.read_text(encoding="utf-8"))["test_speakers"]
    return tuple(tuple(fold) for fold in folds)


def make_split(
    corpora: Mapping[str, Corpus],
    *,
    fold: int,
    validation: Mapping[str, int],
    within: Mapping[str, int] | None = None,
    own: Mapping[str, OwnFolds] | None = None,
) -> Split:
    """Split several corpora by speaker.

    Args:
        corpora: By name; a corpus without kept folds is refused.
        fold: 1-based; held out as test in each corpus. 0: nobody is held out.
        within: For a corpus the fold (1-based) whose test speakers are dealt into shares, one of
            which each fold holds out, instead of all of a fold's.
        validation: How many of the remaining speakers of each corpus are set aside to choose with.
        own: Folds of corpora for which none are kept here.

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
            tested = held_out(name, fold=fold, within=(within or {}).get(name))
        rest = [speaker for speaker in corpus.speakers if speaker not in tested]
        chosen = set(choose_speakers(corpus, rest, validation.get(name, 0), salt=f"fold {fold}"))
        if len(chosen) >= len(rest):
            raise UsageError(f"{name}: no speaker is left to train on in fold {fold}")
        test += [f"{name}/{speaker}" for speaker in corpus.speakers if speaker in tested]
        inner += [f"{name}/{speaker}" for speaker in rest if speaker in chosen]
        train += [f"{name}/{speaker}" for speaker in rest if speaker not in chosen]
    return Split(train=tuple(train), validation=tuple(inner), test=tuple(test), clips=clips)


def _of_fold(name: str, folds: Sequence[Sequence[str]], fold: int) -> frozenset[str]:
    """What one fold holds out; 0: nothing."""
    if not 0 <= fold <= len(folds):
        raise UsageError(f"{name} has folds 1 to {len(folds)}, not {fold}")
    return frozenset(folds[fold - 1]) if fold else frozenset()


def held_out(name: str, *, fold: int, within: int | None = None) -> frozenset[str]:
    """The test speakers of a corpus in one fold.

    Args:
        name: Of the corpus.
        fold: 1-based; 0: nobody.
        within: See :func:`make_split`.

    Raises:
        UsageError: There is no such fold.
    """
    folds = load_folds(name)
    if within is not None:
        dealt = folds[within - 1]
        folds = tuple(dealt[first :: len(folds)] for first in range(len(folds)))
    return _of_fold(name, folds, fold)


def choose_speakers(
    corpus: Corpus, candidates: Sequence[str], count: int, *, salt: str
) -> list[str]:
    """Pick speakers, women and men in turn, always the same ones for the same question.

    The order comes from a hash of name and salt, not from a random generator whose stream another
    library version may change.
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
    """Deal speakers out to folds, each sex shuffled and dealt in turn.

    How ``crema_d.json`` was made: ``draw_folds(sexes, folds=5, seed=2026)``.
    """
    dealer = random.Random(seed)
    hands: list[list[str]] = [[] for _ in range(folds)]
    deck: list[str] = []
    for sex in sorted(set(sexes.values())):
        same = sorted(speaker for speaker, value in sexes.items() if value == sex)
        dealer.shuffle(same)
        deck += same
    for place, speaker in enumerate(deck):
        hands[place % folds].append(speaker)
    return [sorted(hand) for hand in hands]
