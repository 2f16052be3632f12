"""A lesson: what a teacher has to say of each training clip, and the file that keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.prepare import Prepared


class Lesson(NamedTuple):
    """By a clip's path, what its teacher says of it."""

    answers: dict[str, NDArray[np.float32]]
    """Class probabilities, ``[classes]``."""
    hints: dict[str, NDArray[np.float16]]
    """What it hears in each copy, ``[copies, components]`` (:mod:`training.hints`); empty if the
    recipe does without."""


def keep(
    file: Path,
    clips: Sequence[Prepared],
    answers: NDArray[np.float32],
    hints: NDArray[np.float16] | None,
) -> None:
    """Write a lesson.

    Args:
        file: Where.
        clips: Those that are taught.
        answers: ``[clips, classes]``.
        hints: ``[clips, copies, components]``, if there are any.
    """
    arrays = {} if hints is None else {"hints": hints}
    names = np.array([_name(one) for one in clips])
    with file.open("wb") as opened:
        np.savez(opened, allow_pickle=False, names=names, answers=answers, **arrays)


def read(file: Path, clips: Sequence[Prepared]) -> Lesson:
    """The lesson of some clips; those that the file does not know are not taught."""
    with np.load(file) as kept:
        names, answers = kept["names"].tolist(), kept["answers"]
        hints = kept.get("hints")
    places = {name: place for place, name in enumerate(names)}
    known = {str(one.clip.path): places[_name(one)] for one in clips if _name(one) in places}
    return Lesson(
        answers={path: answers[place] for path, place in known.items()},
        hints={} if hints is None else {path: hints[place] for path, place in known.items()},
    )


def _name(one: Prepared) -> str:
    return f"{one.clip.corpus}/{one.clip.name}"
