"""The committed figures: every result of every system, as JSON."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from serd.errors import InputError
from training.baselines.runner import Result  # noqa: TC001 - the type of a struct's field

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PACKAGES = ("keras", "librosa", "numpy", "scikit-learn", "soxr", "tensorflow_cpu", "tensorflow")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What ``training/results/baselines.json`` holds."""

    corpus: str
    """Its name for people."""
    clips: int
    versions: dict[str, str]
    """Of Python and of what computed, when the file was last written."""
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
    """Write results together with those of other tasks that the file had before.

    Args:
        file: The JSON file.
        results: New or found again.
        old: What the file held.
        corpus: Its name for people.
        clips: How many it has.
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
    # A line for each result: what another run adds is then seen in a diff.
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
