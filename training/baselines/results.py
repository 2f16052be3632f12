"""The results of the baselines: every training of every system, kept as JSON."""

from __future__ import annotations

import platform
from collections import defaultdict
from importlib import metadata
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from serd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_PACKAGES = ("keras", "librosa", "numpy", "scikit-learn", "soxr", "tensorflow_cpu", "tensorflow")


Protocol = Literal["random", "speakers"]


PROTOCOLS: tuple[Protocol, ...] = ("random", "speakers")


class Task(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One training of one system."""

    system: str
    protocol: Protocol
    number: int
    """The seed, counted from 0, or the fold, from 1."""

    @property
    def name(self) -> str:
        """``cnn2d, random 1`` counts from 1."""
        return f"{self.system}, {self.protocol} {self.number + (self.protocol == 'random')}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a task."""

    task: Task
    settings: str
    """Of the system (:func:`training.baselines.system.settings_of`)."""
    seed: int
    """Of the split (or the fold's number) and of the network."""
    accuracy: float
    uar: float
    train_accuracy: float
    clips: dict[str, int]
    """On each side (``train``, ``watched`` for validation, ``test``), counting copies."""
    leaked: int
    """Test items that are copies of training clips."""
    speakers: dict[str, list[str]]
    """Voices on each side, by the same keys."""
    labels: list[str]
    confusion: list[list[int]]
    by_group: dict[str, float]
    """Accuracy for women, men, normal and strong intensity, where the corpus states them."""
    by_speaker: dict[str, float]
    """Accuracy."""
    variants: dict[str, dict[str, float]]
    """Accuracy and UAR of the same training, used in another way."""
    curves: dict[str, list[float]]
    minutes: float
    """Processor time of the training."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What ``training/results/baselines.json`` holds."""

    corpus: str
    """Its title."""
    clips: int
    versions: dict[str, str]
    """Of Python and the libraries, when the file was last written."""
    results: list[Result]


def read_figures(file: Path) -> Figures | None:
    """The figures in a file; None where there is none.

    Raises:
        InputError: The file holds something else.
    """
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=Figures)
    except msgspec.DecodeError as error:
        raise InputError(f"{file} does not hold figures of baselines: {error}") from error


def write_figures(
    file: Path, results: Iterable[Result], old: Figures | None, corpus: str, clips: int
) -> Figures:
    """Write results, and keep those of other tasks that the file held before.

    Args:
        file: The JSON file.
        results: New ones, or those found in the folder of runs.
        old: The previous content of the file.
        corpus: Its title.
        clips: Number of its clips.
    """
    both = {one.task: one for one in (old.results if old else [])}
    both |= {one.task: one for one in results}
    figures = Figures(
        corpus=corpus,
        clips=clips,
        versions=_versions(),
        results=[both[task] for task in sorted(both)],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (msgspec.json.encode(one).decode() for one in figures.results)
    head = msgspec.json.encode(msgspec.structs.replace(figures, results=[])).decode()
    # One line for each result, so that a diff shows what another run adds.
    body = ",\n".join(lines)
    file.write_text(head.removesuffix("[]}") + f"[\n{body}\n]}}\n", encoding="utf-8")
    return figures


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


Grouped = dict[tuple[str, str], list[Result]]
"""Results by system and protocol."""


def group(figures: Figures) -> Grouped:
    """Results by system and protocol, in the order of their numbers."""
    found: Grouped = defaultdict(list)
    for one in figures.results:
        found[one.task.system, one.task.protocol].append(one)
    return dict(found)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and the standard deviation of a sample; None of a single value."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), spread
