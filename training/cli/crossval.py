"""``serd-train folds``: cross-validation (:mod:`training.crossval`)."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serd.errors import SerdError
from training import REPOSITORY, RESULTS
from training.cli.console import Meter, changed, plain_errors, shared_options, training_options
from training.corpora import corpora_root
from training.prepare import CACHE
from training.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.crossval import Outcome, Task

_PARTS = ("robustness", "environment", "adaptation")


def _number_list(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    """``1-5`` or ``1,2,3`` or ``1,3-5``, each number once."""
    found: list[int] = []
    try:
        for part in value.split(","):
            first, dash, last = part.partition("-")
            found += range(int(first), int(last if dash else first) + 1)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not like 1-5 or 1,2,3") from error
    if not found:
        raise click.BadParameter(f"{value!r} names none")
    return tuple(dict.fromkeys(found))


@click.command()
@click.option("--folds", callback=_number_list, default="1-5", show_default=True, help="Which.")
@click.option("--seeds", callback=_number_list, default="1,2,3", show_default=True, help="Which.")
@click.option(
    "--probe",
    "probes",
    multiple=True,
    type=click.Choice(_PARTS),
    help="Then put each model through this part of `serd-train probe`; may be repeated.",
)
@click.option("--cluster", help="Address of a Dask scheduler (tcp://...) whose workers do it.")
@click.option(
    "--runs", "home", type=click.Path(path_type=Path), help="Folder of the runs.  [runs/NAME-folds]"
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=REPOSITORY,
    help="Put the figures below this folder.  [default: the repository]",
)
@shared_options
@training_options
@plain_errors
def folds(
    *,
    folds: tuple[int, ...],
    seeds: tuple[int, ...],
    probes: tuple[str, ...],
    cluster: str | None,
    home: Path | None,
    into: Path,
    **options: Any,
) -> None:
    """Cross-validate: train and measure each fold with each seed, and write what they say together.

    Finished runs are skipped, and interrupted ones continue. After each run, NAME-folds.json in the
    folder of the runs has the figures of all that are finished; once all of these runs are, it is
    copied to training/results.
    """
    from training.crossval import Task, folder_of, plan, run_all, warm_up
    from training.crossval_summary import summarise, write_summary
    from training.probes import check_parts

    recipe = changed(load_recipe(options["recipe"]), options)
    check_parts(probes, recipe)
    home = (home or Path("runs") / f"{recipe.name}-folds").absolute()
    planned = plan(recipe, folds=folds, seeds=seeds, home=home)
    tasks = [
        Task(
            recipe=one,
            folder=str(folder_of(home, one)),
            root=str(corpora_root(options["corpora"]).absolute()),
            cache=str((options["cache"] or CACHE).absolute()),
            teacher=_absolute(options["teacher"]),
            threads=options["threads"],
            probes=probes,
        )
        for one in planned
    ]
    written = into / RESULTS / f"{recipe.name}-folds.json"
    waiting = [task for task in tasks if not task.done]
    failed: list[Outcome] = []

    def finished(outcome: Outcome) -> None:
        if outcome.error:
            failed.append(outcome)
        done = sum(task.done for task in tasks)
        what = outcome.error or f"{outcome.seconds:.0f} s"
        click.echo(f"{Path(outcome.folder).name}: {what} ({done} of {len(tasks)} done)", err=True)
        write_summary(summarise(planned, home), home / written.name)

    with Meter().running() as meter:
        if untrained := [task for task in waiting if not task.trained]:
            warm_up(untrained, jobs=options["jobs"], progress=meter)
        with _showing_steps(tasks, meter):
            run_all(waiting, jobs=options["jobs"], cluster=cluster, finished=finished)
    settled: dict[str, Any] = {}
    complete = all(task.done for task in tasks)
    if complete and recipe.home is not None and len(set(folds)) < 2:
        complete = False
        click.echo(
            "not calibrated: that takes the other folds; call again with all of them", err=True
        )
    elif complete and recipe.home is not None:
        from training.crossval import calibrate_all

        with Meter().running() as meter:
            settled = calibrate_all(
                planned,
                home,
                corpora_root(options["corpora"]),
                cache=options["cache"] or CACHE,
                progress=meter,
            )
    summary = summarise(planned, home, settled)
    write_summary(summary, home / written.name)
    if complete:
        write_summary(summary, written)
    click.echo(written if complete else home / written.name)
    if failed:
        raise SerdError(
            f"{len(failed)} of {len(waiting)} runs failed: "
            + ", ".join(Path(outcome.folder).name for outcome in failed),
            remedy=f"why is in each one's log.txt in {home}; call again to go on",
        )


def _absolute(teacher: str | None) -> str | None:
    """A folder as absolute path, for workers with another working directory; or a hub name."""
    return str(Path(teacher).absolute()) if teacher and Path(teacher).is_dir() else teacher


@contextmanager
def _showing_steps(tasks: Sequence[Task], meter: Meter) -> Iterator[None]:
    """Show the training steps of all runs, from the curves that they write."""
    stop = threading.Event()
    whole = sum(task.steps for task in tasks)

    def watch() -> None:
        while not stop.wait(2.0):
            meter("folds", sum(task.steps_done for task in tasks), whole)

    watcher = threading.Thread(target=watch, daemon=True, name="watch folds")
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
