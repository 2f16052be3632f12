"""ESC-10: ten kinds of everyday sound, 5 s each (Piczak, 2015; CC BY 3.0).

No speech. What is heard of it in training and what in a test are different recordings: the first
number of a file's name is the fold in which its author put it, and all takes of one recording are
in one fold. Training may use :data:`TRAINING_FOLDS`; every measurement uses :data:`TEST_FOLDS`.
"""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003 - msgspec looks types up

import msgspec

from serd.errors import InputError
from training.corpora.clip import audio_files

TRAINING_FOLDS = (1, 2)
"""Folds that augmentation may take noise from."""

TEST_FOLDS = (3, 4, 5)
"""Folds that only measurements hear. A copy of the corpus without some of them will do."""

_NAME = re.compile(r"([1-5])-(\d+)-([A-Z])(?:-(\d+))?")

# Classes of ESC-10 by the number that the file names of ESC-50 end in.
_KIND_BY_TARGET = {
    "0": "dog_bark",
    "1": "rooster",
    "10": "rain",
    "11": "sea_waves",
    "12": "fire_crackling",
    "20": "baby_cry",
    "21": "person_sneeze",
    "38": "clock_tick",
    "40": "helicopter",
    "41": "chainsaw",
}


class Sound(msgspec.Struct, frozen=True, kw_only=True):
    """One recording of no speech."""

    path: Path
    """The audio file."""
    kind: str
    """What it is, such as ``baby_cry``."""
    fold: int
    """1 to 5."""


def read_sounds(root: Path, folds: tuple[int, ...] = TEST_FOLDS) -> list[Sound]:
    """The sounds of some folds.

    Args:
        root: The folder that holds the corpora; ESC-10 is in ``esc10`` (or ``ESC-10``), with a
            folder for each kind, or as its files are called in ESC-50.
        folds: Which.

    Returns:
        In the order of kinds and names.

    Raises:
        InputError: There is no such folder, or it holds none of these sounds.
    """
    folders = [entry for entry in root.iterdir() if entry.is_dir() and _plain(entry) == "esc10"]
    if not folders:
        raise InputError(
            f"The sounds of ESC-10 have no folder in {root}",
            remedy="docs/training.md says where they come from",
        )
    found = []
    for path in audio_files(folders[0]):
        match = _NAME.fullmatch(path.stem)
        if match is not None and int(match[1]) in folds:
            kind = _kind(path, match[4])
            if kind is not None:
                found.append(Sound(path=path, kind=kind, fold=int(match[1])))
    if not found:
        raise InputError(f"{folders[0]} holds no sound of ESC-10 in folds {folds}")
    return sorted(found, key=lambda sound: (sound.kind, sound.path.name))


def _kind(path: Path, target: str | None) -> str | None:
    if target is not None:
        return _KIND_BY_TARGET.get(target)
    # "001 - Dog bark" is how the author calls the folder.
    return re.sub(r"^\d+ - ", "", path.parent.name).strip().lower().replace(" ", "_")


def _plain(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]", "", folder.name.lower())
