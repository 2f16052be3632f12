"""Shared by the commands of ``serd-train``: options, progress, and error messages."""

from __future__ import annotations

import errno
import functools
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
import msgspec

from serd.errors import SerdError, UnavailableError, shown
from training.recipe.teaching import Teaching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.recipe import Recipe

P = ParamSpec("P")
T = TypeVar("T")

_COUNT = click.IntRange(min=1)


class Meter:
    """Progress: a bar on a terminal, otherwise a line for every tenth of a stage."""

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
        """Show the progress of a stage."""
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
        """Show progress while the block runs."""
        with self._bars:
            yield self


def plain_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Report serd's own errors without a traceback, and exit with their exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SerdError as error:
            raise _exit_with(error) from error
        except OSError as error:
            # Of a file: a full disk, a folder that may not be written. Anything else is a fault.
            if error.filename is None and error.errno != errno.ENOSPC:
                raise
            where = f"{shown(error.filename)}: " if error.filename is not None else ""
            raise _exit_with(SerdError(f"{where}{error.strerror}")) from error
        except ModuleNotFoundError as error:
            if (missing := missing_extra(error)) is None:
                raise
            raise _exit_with(missing) from error

    return guarded


def _exit_with(error: SerdError) -> SystemExit:
    """Print an error; the returned exception exits with its code."""
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
    """The error for a missing package that one of serd's extras installs; None for others."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in _EXTRAS.items():
        if package in packages:
            return UnavailableError(
                f"This needs {package}, which is not installed",
                remedy=f"in serd's source tree: pip install -e '.[{extra}]'",
            )
    return None


def need(*packages: str) -> None:
    """Check at once, and not after minutes of work, that packages are installed.

    Raises:
        UnavailableError: One is missing.
    """
    from importlib.util import find_spec

    for package in packages:
        try:
            there = find_spec(package) is not None
        except ValueError:  # in sys.modules without a spec
            there = False
        if not there:
            error = missing_extra(ModuleNotFoundError(name=package))
            raise error or UnavailableError(f"This needs {package}, which is not installed")


def shared_options(command: Callable[P, T]) -> Callable[P, T]:
    """Options of every command that reads corpora."""
    for option in (
        click.option("--recipe", default="default", show_default=True, help="Name or YAML file."),
        click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora."),
        click.option("--cache", type=click.Path(path_type=Path), help="Folder of the cache."),
        click.option("--jobs", type=_COUNT, default=2, show_default=True, help="Processes."),
    ):
        command = option(command)
    return command


def run_options(command: Callable[P, T]) -> Callable[P, T]:
    """Options that select a run and override its recipe."""
    for option in (
        click.option("--run", "folder", type=click.Path(path_type=Path), help="The run's folder."),
        click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's."),
        click.option("--fold", type=click.IntRange(min=0), help="Instead of the recipe's."),
    ):
        command = option(command)
    return training_options(command)


def training_options(command: Callable[P, T]) -> Callable[P, T]:
    """Options of every command that trains."""
    for option in (
        click.option("--steps", type=_COUNT, help="Instead of the recipe's."),
        click.option("--teacher", help="Folder or hub name of a speech encoder that teaches."),
        click.option("--no-teacher", is_flag=True, help="Train on labels alone."),
        click.option("--threads", type=_COUNT, default=1, show_default=True, help="Of TensorFlow."),
    ):
        command = option(command)
    return command


def changed(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """A recipe with the changes of :func:`run_options`."""
    replace = msgspec.structs.replace
    if options.get("steps") is not None:
        optimiser = replace(recipe.optimiser, steps=options["steps"])
        recipe = replace(recipe, optimiser=optimiser)
    teacher: str | None = options.get("teacher")
    if teacher and all(stage.teaching is None for stage in recipe.stages.values()):
        recipe = replace(recipe, teaching=Teaching(teacher=teacher, licence="not stated"))
    recipe = replace(recipe, teaching=_teaching_with(recipe.teaching, options))
    if recipe.refit is not None and recipe.refit.teaching is not None:
        last = _teaching_with(recipe.refit.teaching, options)
        recipe = replace(recipe, refit=replace(recipe.refit, teaching=last))
    if recipe.start is not None and (stage := recipe.start.pretraining) is not None:
        stage = replace(stage, teaching=_teaching_with(stage.teaching, options))
        recipe = replace(recipe, start=replace(recipe.start, pretraining=stage))
    changes = {key: options[key] for key in ("seed", "fold") if options.get(key) is not None}
    return replace(recipe, **changes)


def _teaching_with(teaching: Teaching | None, options: dict[str, Any]) -> Teaching | None:
    """A stage's teaching with the teacher of the command line; None: no teacher."""
    teacher: str | None = options.get("teacher")
    if teaching is None or options.get("no_teacher"):
        return None
    if not teacher or teacher == teaching.teacher:
        return teaching
    if Path(teacher).is_dir():
        # Where it lies says nothing, and what it is called says which one it is.
        teacher = Path(teacher).resolve().name
        if teacher == teaching.teacher.rpartition("/")[2]:
            return teaching
    return msgspec.structs.replace(teaching, teacher=teacher, licence="not stated")
