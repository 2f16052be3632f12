"""``serd-train``: from corpora to the packaged model, a command for each step and one for all."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
import msgspec

from serd.errors import SerdError
from training.corpora import corpora_root, read_corpora
from training.recipe import Recipe, Teaching, load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_REPOSITORY = Path(__file__).parents[1]
RESULTS = Path("training") / "results"
"""Where a released model's figures are kept, seen from the repository."""


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
            click.echo(f"serd-train: {error.message}", err=True)
            if error.remedy:
                click.echo(f"  {error.remedy}", err=True)
            raise SystemExit(error.exit_code) from error

    return guarded


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
        click.option("--steps", type=int, help="Instead of the recipe's."),
        click.option("--seed", type=int, help="Instead of the recipe's."),
        click.option("--fold", type=int, help="Instead of the recipe's."),
        click.option("--teacher", help="Folder or hub name of a speech encoder that teaches."),
        click.option("--no-teacher", is_flag=True, help="Train on labels alone."),
        click.option("--threads", default=1, show_default=True, help="Of TensorFlow."),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="serd")
def main() -> None:
    """Make a model for serd: prepare, train, quantise, evaluate, report; release does it all."""


@main.command()
@shared_options
@plain_errors
def prepare(recipe: str, corpora: Path | None, cache: Path | None, jobs: int) -> None:
    """Decode, cut and analyse every clip, and keep the result."""
    from training import runs

    with Meter().running() as meter:
        material = runs.gather(
            load_recipe(recipe), corpora_root(corpora), **_cache(cache), jobs=jobs, progress=meter
        )
    for name, corpus in material.corpora.items():
        left_out = ", ".join(f"{count} {reason}" for reason, count in corpus.left_out.items())
        click.echo(
            f"{name}: {len(corpus.clips)} clips of {len(corpus.speakers)} speakers"
            f" (left out: {left_out or 'none'})"
        )


@main.command()
@shared_options
@run_options
@plain_errors
def teach(**options: Any) -> None:
    """Let a teacher answer to every training clip; `train` does it too if need be."""
    _steps(("teach",), **options)


@main.command()
@shared_options
@run_options
@plain_errors
def train(**options: Any) -> None:
    """Train a network; goes on where it was broken off."""
    _steps(("train",), **options)


@main.command()
@shared_options
@run_options
@plain_errors
def quantise(**options: Any) -> None:
    """Convert a run's network to int8, calibrate it and pack it."""
    _steps(("quantise",), **options)


@main.command()
@click.option("--model", help="Evaluate this packed model, or `default`, instead of a run's.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@shared_options
@run_options
@plain_errors
def evaluate(*, model: str | None, as_json: bool, **options: Any) -> None:
    """Measure a model on speakers that it never heard, as `serd classify --whole` hears them."""
    if model is None:
        result = _steps(("evaluate",), **options)
        result = {**result["test"], **result["cross_corpus"]}
    else:
        result = evaluate_model(
            model,
            _changed(load_recipe(options["recipe"]), options),
            corpora_root(options["corpora"]),
            jobs=options["jobs"],
        )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result)).decode())
    else:
        for name, figures in result.items():
            click.echo(
                f"{name}: accuracy {figures['accuracy']:.4f}, UAR {figures['uar']:.4f}"
                f" ({figures['clips']} clips of {len(figures['speakers'])} speakers)"
            )


@main.command()
@click.option("--figures", type=click.Path(path_type=Path), help="JSON of a run or a release.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the card goes.")
@plain_errors
def report(figures: Path | None, out: Path | None) -> None:
    """Write the model card from a run's figures, and quote them in README."""
    from training.report import write_card

    source = figures or _REPOSITORY / RESULTS / "default.json"
    click.echo(write_card(source, out or _REPOSITORY / "docs" / "model-card.md"))
    if out is None:
        _quote(source, _REPOSITORY)


@main.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=_REPOSITORY,
    help="Put what is shipped below this folder.  [default: the repository]",
)
@shared_options
@run_options
@plain_errors
def release(*, into: Path, **options: Any) -> None:
    """Do all of it, and put the model, its figures and its card where they are shipped from."""
    from training.report import write_card

    _steps(("train", "quantise", "evaluate"), **options)
    recipe = _changed(load_recipe(options["recipe"]), options)
    folder = options["folder"] or Path("runs") / recipe.name
    shipped = into / "serd" / "model" / "data" / f"{recipe.name}.tflite"
    results = into / RESULTS / f"{recipe.name}.json"
    for source, target in (("model.tflite", shipped), ("metrics.json", results)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / source, target)
    card = "model-card.md" if recipe.name == "default" else f"model-card-{recipe.name}.md"
    for written in (shipped, results, write_card(results, into / "docs" / card)):
        click.echo(written)
    if recipe.name == "default":
        _quote(results, into)


def _quote(figures: Path, repository: Path) -> None:
    from training.report import write_quote

    readme = repository / "README.md"
    if write_quote(json.loads(figures.read_text(encoding="utf-8")), readme):
        click.echo(readme)


def evaluate_model(model: str, recipe: Recipe, root: Path, *, jobs: int = 2) -> dict[str, Any]:
    """Figures of a packed model on the test speakers of a recipe's fold.

    Args:
        model: File, or ``default``.
        recipe: Names corpora and fold.
        root: Folder of the corpora.
        jobs: Processes.

    Returns:
        For each corpus what :func:`training.evaluate.figures` gives.
    """
    from serd.model.model_file import ModelFile
    from training.evaluate import classify_clips, figures
    from training.folds import make_split

    info = ModelFile.load(model).info
    corpora = read_corpora(recipe.corpora, root)
    validation = {name: use.validation_speakers for name, use in recipe.corpora.items()}
    split = make_split(corpora, fold=recipe.fold, validation=validation)
    chosen = {name: split.side(corpus.clips, "test") for name, corpus in corpora.items()}
    others = read_corpora(recipe.cross_corpora, root)
    chosen |= {name: list(corpus.clips) for name, corpus in others.items()}
    result = {}
    with Meter().running() as meter:
        for name, clips in chosen.items():
            done = 0

            def step(count: int, name: str = name, whole: int = len(clips)) -> None:
                nonlocal done
                done += count
                meter(f"evaluate {name}", done, whole)

            answers = classify_clips(model, clips, jobs=jobs, progress=step)
            result[name] = figures(
                answers, coverage=recipe.coverage, threshold=info.abstain_threshold
            )
    return result


def _steps(
    stages: tuple[str, ...],
    *,
    recipe: str,
    corpora: Path | None,
    cache: Path | None,
    jobs: int,
    folder: Path | None,
    threads: int,
    teacher: str | None,
    no_teacher: bool,
    **changes: Any,
) -> dict[str, Any]:
    from training import runs

    wanted = _changed(load_recipe(recipe), changes | {"teacher": teacher, "no_teacher": no_teacher})
    run = runs.Run(folder or Path("runs") / wanted.name, wanted)
    result: dict[str, Any] = {}
    with Meter().running() as meter:
        root = corpora_root(corpora)
        material = runs.gather(wanted, root, **_cache(cache), jobs=jobs, progress=meter)
        if "teach" in stages or "train" in stages:
            taught = run.teach(material, source=teacher, **_cache(cache), jobs=jobs, progress=meter)
        if "train" in stages:
            run.train(material, threads=threads, soft_targets=taught, progress=meter)
        if "quantise" in stages:
            run.quantise(material, jobs=jobs, progress=meter)
        if "evaluate" in stages:
            result = run.evaluate(material, jobs=jobs, progress=meter)
    click.echo(f"run: {run.folder}", err=True)
    return result


def _changed(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    replace = msgspec.structs.replace
    if options.get("steps") is not None:
        optimiser = replace(recipe.optimiser, steps=options["steps"])
        recipe = replace(recipe, optimiser=optimiser)
    teacher: str | None = options.get("teacher")
    if options.get("no_teacher"):
        recipe = replace(recipe, teaching=None)
    elif recipe.teaching is None and teacher:
        recipe = replace(recipe, teaching=Teaching(teacher=teacher, licence="not stated"))
    elif (
        recipe.teaching is not None
        and teacher
        and not Path(teacher).is_dir()
        and teacher != recipe.teaching.teacher
    ):
        other = replace(recipe.teaching, teacher=teacher, licence="not stated")
        recipe = replace(recipe, teaching=other)
    changes = {key: options[key] for key in ("seed", "fold") if options.get(key) is not None}
    return replace(recipe, **changes)


def _cache(folder: Path | None) -> dict[str, Any]:
    return {} if folder is None else {"cache": folder}
