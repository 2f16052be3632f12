"""What the commands of ``serd-train`` share: options, progress, and errors for people."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
import msgspec

from serd.errors import SerdError, UnavailableError
from training.recipe import Recipe, Teaching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")


class Meter:
    """Progress: a bar on a terminal, a line for each step of work elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._terminal = sys.stderr.isatty()
        self._bars = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._terminal,
        )
        self._task: Any = None
        self._what = ""
        self._tenth = -1

    def __call__(self, what: str, done: int, whole: int) -> None:
        """Show how far something is."""
        stage = what.split(" (", maxsplit=1)[0]
        if stage != self._what:
            self._what, self._tenth = stage, -1
            self._task = self._bars.add_task(what, total=whole)
        self._bars.update(self._task, completed=done, total=whole, description=what)
        tenth = 10 * done // max(1, whole)
        if not self._terminal and (tenth > self._tenth or what != stage):
            self._tenth = tenth
            click.echo(f"{what}: {done} of {whole}", err=True)

    @contextmanager
    def running(self) -> Iterator[Meter]:
        """Show while the block runs."""
        with self._bars:
            yield self


def plain_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Print serd's own errors as lines for a person and leave with their exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SerdError as error:
            raise _left(error) from error
        except ModuleNotFoundError as error:
            if (missing := missing_extra(error)) is None:
                raise
            raise _left(missing) from error

    return guarded


def _left(error: SerdError) -> SystemExit:
    """Say an error, and what leaves with its exit code."""
    click.echo(f"serd-train: {error.message}", err=True)
    if error.remedy:
        click.echo(f"  {error.remedy}", err=True)
    return SystemExit(error.exit_code)


_EXTRAS = {
    "train": ("tensorflow", "keras", "joblib", "librosa", "matplotlib", "scipy", "sklearn"),
    "teacher": ("torch", "transformers", "safetensors", "huggingface_hub"),
    "cluster": ("dask", "distributed"),
}


def missing_extra(error: ModuleNotFoundError) -> UnavailableError | None:
    """What to say of a package that one of serd's extras would have brought; None: it is none."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in _EXTRAS.items():
        if package in packages:
            return UnavailableError(
                f"This needs {package}, which is not installed",
                remedy=f"in serd's source tree: pip install -e '.[{extra}]'",
            )
    return None


def need(*packages: str) -> None:
    """See at once, and not after minutes of work, whether packages are there.

    Raises:
        UnavailableError: One is not.
    """
    from importlib.util import find_spec

    for package in packages:
        try:
            there = find_spec(package) is not None
        except ValueError:  # in sys.modules without a specification
            there = False
        if not there:
            error = missing_extra(ModuleNotFoundError(name=package))
            raise error or UnavailableError(f"This needs {package}, which is not installed")


def shared_options(command: Callable[P, T]) -> Callable[P, T]:
    """Options of every command that touches corpora."""
    for option in (
        click.option("--recipe", default="default", show_default=True, help="Name or YAML file."),
        click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora."),
        click.option("--cache", type=click.Path(path_type=Path), help="Folder of the cache."),
        click.option("--jobs", default=2, show_default=True, help="Processes."),
    ):
        command = option(command)
    return command


def run_options(command: Callable[P, T]) -> Callable[P, T]:
    """Options that say which run is meant and what it changes in its recipe."""
    for option in (
        click.option("--run", "folder", type=click.Path(path_type=Path), help="The run's folder."),
        click.option("--seed", type=int, help="Instead of the recipe's."),
        click.option("--fold", type=int, help="Instead of the recipe's."),
    ):
        command = option(command)
    return training_options(command)


def training_options(command: Callable[P, T]) -> Callable[P, T]:
    """Options of every command that trains."""
    for option in (
        click.option("--steps", type=int, help="Instead of the recipe's."),
        click.option("--teacher", help="Folder or hub name of a speech encoder that teaches."),
        click.option("--no-teacher", is_flag=True, help="Train on labels alone."),
        click.option("--threads", default=1, show_default=True, help="Of TensorFlow."),
    ):
        command = option(command)
    return command


def changed(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """A recipe with what :func:`run_options` change in it."""
    replace = msgspec.structs.replace
    if options.get("steps") is not None:
        optimiser = replace(recipe.optimiser, steps=options["steps"])
        recipe = replace(recipe, optimiser=optimiser)
    recipe = replace(recipe, teaching=_taught_by(recipe.teaching, options))
    if recipe.refit is not None and recipe.refit.teaching is not None:
        last = _taught_by(recipe.refit.teaching, options)
        recipe = replace(recipe, refit=replace(recipe.refit, teaching=last))
    changes = {key: options[key] for key in ("seed", "fold") if options.get(key) is not None}
    return replace(recipe, **changes)


def _taught_by(teaching: Teaching | None, options: dict[str, Any]) -> Teaching | None:
    """A recipe's teaching by whom the command line names; None: nobody."""
    teacher: str | None = options.get("teacher")
    if options.get("no_teacher"):
        return None
    if teaching is None:
        return Teaching(teacher=teacher, licence="not stated") if teacher else None
    if teacher and not Path(teacher).is_dir() and teacher != teaching.teacher:
        return msgspec.structs.replace(teaching, teacher=teacher, licence="not stated")
    return teaching
