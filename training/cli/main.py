"""``serd-train``: from corpora to the packaged model, a command for each stage and one for all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from serd.errors import UsageError
from serd.version import VERSION
from training import REPOSITORY, RESULTS
from training.cli.baselines import baselines
from training.cli.console import Meter, changed, plain_errors, run_options, shared_options
from training.cli.crossval import folds
from training.cli.inspect import inspect
from training.cli.own import new, schema, tune
from training.cli.probe import probe
from training.corpora import corpora_root, read_corpora
from training.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Collection

    from training.corpora import Corpus
    from training.recipe import Recipe
    from training.report import Sources


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="serd-train")
def main() -> None:
    """Make a model for serd.

    `folds` evaluates and calibrates a recipe, and `release` then trains and packages the model; the
    other commands are single steps.
    """


main.add_command(folds)
main.add_command(probe)
main.add_command(baselines)
main.add_command(inspect)
main.add_command(new)
main.add_command(schema)
main.add_command(tune)


@main.command()
@shared_options
@plain_errors
def prepare(recipe: str, corpora: Path | None, cache: Path | None, jobs: int) -> None:
    """Decode, cut and analyse every clip, and keep the result."""
    from training.dataset import corpora_for, load_dataset

    with Meter().running() as meter:
        wanted = load_recipe(recipe)
        root = corpora_for(wanted, corpora)
        dataset = load_dataset(wanted, root, **_cache(cache), jobs=jobs, progress=meter)
    for name, corpus in dataset.corpora.items():
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
    """Compute a teacher's predictions for every training clip; `train` does this if needed."""
    _run_stages(("teach",), **options)


@main.command()
@shared_options
@run_options
@plain_errors
def train(**options: Any) -> None:
    """Train a network; an interrupted run continues."""
    _run_stages(("train",), **options)


@main.command()
@shared_options
@run_options
@plain_errors
def quantise(**options: Any) -> None:
    """Convert a run's network to int8, calibrate it and pack it."""
    _run_stages(("quantise",), **options)


@main.command()
@shared_options
@run_options
@plain_errors
def refit(**options: Any) -> None:
    """Continue training with the validation speakers, if the recipe says so."""
    _run_stages(("refit",), **options)


@main.command()
@click.option("--model", help="Evaluate this packed model, or `default`, instead of a run's.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@shared_options
@run_options
@plain_errors
def evaluate(*, model: str | None, as_json: bool, **options: Any) -> None:
    """Measure a model on speakers unknown to it, as `serd classify --whole` hears them."""
    if model is None:
        result = _run_stages(("evaluate",), **options)
        if not result:
            raise UsageError(
                f"{options['recipe']} is a recipe for homes, and this run has not been calibrated",
                remedy="serd-train folds calibrates each fold on the others",
            )
        result = {**result["test"], **result["cross_corpus"]}
    else:
        result = evaluate_model(
            model,
            changed(load_recipe(options["recipe"]), options),
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
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="default", show_default=True, help="A packed model, or its name.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@plain_errors
def ordinary(folder: Path, model: str, jobs: int, *, as_json: bool) -> None:
    """Count the emotions that a model reports in recordings of ordinary speech.

    FOLDER is searched recursively for audio files, which are cut into utterances as the daemon
    cuts them. Every emotion reported is a false alarm.
    """
    from tempfile import TemporaryDirectory

    from serd.model.model_file import ModelFile
    from training.evaluate.household import events_by_emotion
    from training.evaluate.predictions import folder_recordings, pack_uncalibrated, predict

    info = ModelFile.load(model).info
    if info.home is None:
        raise UsageError(
            f"{model} says nothing of homes, so it has no sensitivities to be measured",
            remedy="name a model that `serd-train folds` and `serd-train release` made with `home`",
        )
    recordings = folder_recordings(folder)
    with Meter().running() as meter, TemporaryDirectory() as place:
        bare = Path(place) / "bare.tflite"
        bare.write_bytes(pack_uncalibrated(model))
        done = 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            meter("listen", done, len(recordings))

        predictions = predict(bare, [], recordings, jobs=jobs, progress=step)
    found = events_by_emotion(predictions, info.temperature, info.home, info.home.agree)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    click.echo(
        f"{found['recordings']} recordings, {60 * found['hours']['of_recording']:.1f} minutes,"
        f" {found['utterances']} utterances"
    )
    for name, point in found["told"].items():
        words = ", ".join(f"{count} {emotion}" for emotion, count in point["events"].items())
        rate = point["per_hour"]
        click.echo(
            f"{name}: {rate['of_recording']:.1f} an hour of recording,"
            f" {rate['of_speech']:.1f} an hour of speech ({words or 'nothing told'})"
        )


@main.command()
@click.option("--name", default="default", show_default=True, help="Of a released model.")
@click.option("--figures", type=click.Path(path_type=Path), help="JSON of a run instead.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the card goes.")
@plain_errors
def report(name: str, figures: Path | None, out: Path | None) -> None:
    """Write a model's card and draw its figures; of the default model, quote them in README."""
    from training.report import load_sources, write_card

    sources = load_sources(figures or REPOSITORY / RESULTS / f"{name}.json")
    click.echo(write_card(sources, out or REPOSITORY / "docs" / _card(sources.name)))
    if out is None and sources.name == "default":
        _quote(sources, REPOSITORY)


@main.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=REPOSITORY,
    help="Put what is shipped below this folder.  [default: the repository]",
)
@shared_options
@run_options
@plain_errors
def release(*, into: Path, **options: Any) -> None:
    """Train, and package the model with the calibration of `folds`, its figures and its card.

    They are put where they are shipped from.
    """
    from training.report import load_sources, write_card

    recipe = changed(load_recipe(options["recipe"]), options)
    _check_not_own(recipe)
    _check_fold_of_release(recipe, into / RESULTS)
    _run_stages(("train", "quantise", "refit", "evaluate"), results=into / RESULTS, **options)
    folder = options["folder"] or Path("runs") / recipe.name
    shipped = into / "serd" / "model" / "data" / f"{recipe.name}.tflite"
    results = into / RESULTS / f"{recipe.name}.json"
    for source, target in (("model.tflite", shipped), ("metrics.json", results)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / source, target)
    sources = load_sources(results)
    for written in (shipped, results, write_card(sources, into / "docs" / _card(recipe.name))):
        click.echo(written)
    if recipe.name == "default":
        _quote(sources, into)


def _check_not_own(recipe: Recipe) -> None:
    """Check that a recipe is not one that only `serd-train tune` can measure.

    Raises:
        UsageError: It is.
    """
    if any(use.folder for use in recipe.corpora.values()):
        raise UsageError(
            f"The recipe of {recipe.name} is one of your own recordings",
            remedy="serd-train tune measures and packs it",
        )


def _check_fold_of_release(recipe: Recipe, results: Path) -> None:
    """Check, before hours of training, that a recipe's release can be calibrated and measured.

    Raises:
        UsageError: It cannot.
    """
    from training.run_folder import settled_crossval

    if recipe.home is None and not recipe.fold:
        raise UsageError(
            f"{recipe.name} holds nobody out on whom it could be measured",
            remedy="name the fold to hold out: --fold 1",
        )
    if recipe.home is not None and recipe.fold:
        raise UsageError(
            f"{recipe.name} is a recipe for homes: a cross-validation calibrates it, and everybody "
            "is trained on",
            remedy="hold nobody out: --fold 0",
        )
    if not recipe.fold:
        settled_crossval(results / f"{recipe.name}-folds.json", recipe)


def _card(name: str) -> str:
    return "model-card.md" if name == "default" else f"model-card-{name}.md"


def _quote(sources: Sources, repository: Path) -> None:
    from training.report import write_quote

    readme = repository / "README.md"
    if write_quote(sources, readme):
        click.echo(readme)


def evaluate_model(model: str, recipe: Recipe, root: Path, *, jobs: int = 2) -> dict[str, Any]:
    """Figures of a packed model on the test speakers of a recipe's fold.

    Args:
        model: File, or ``default``.
        recipe: For corpora and fold.
        root: Folder of the corpora.
        jobs: Processes.

    Returns:
        For each corpus the result of :func:`training.evaluate.classification.figures`; corpora of
        which the fold holds nobody out, or whose test speakers the model certainly knows, are left
        out, with a message.
    """
    from training.dataset import recipe_split
    from training.evaluate.classification import classify_clips, figures

    corpora = read_corpora(recipe.acted, root)
    split = recipe_split(recipe, corpora)
    chosen = {name: split.side(corpus.clips, "test") for name, corpus in corpora.items()}
    others = read_corpora(recipe.cross_corpora, root)
    chosen |= {name: list(corpus.clips) for name, corpus in others.items()}
    for name, corpus in (corpora | others).items():
        if chosen[name] and _knows(model, corpus, {clip.speaker for clip in chosen[name]}):
            del chosen[name]
    result = {}
    with Meter().running() as meter:
        for name, clips in chosen.items():
            if not clips:
                click.echo(
                    f"{name}: fold {recipe.fold} of {recipe.name} holds no speaker out",
                    err=True,
                )
                continue
            done = 0

            def step(count: int, name: str = name, whole: int = len(clips)) -> None:
                nonlocal done
                done += count
                meter(f"evaluate {name}", done, whole)

            answers = classify_clips(model, clips, jobs=jobs, progress=step)
            result[name] = figures(answers, coverage=recipe.coverage)
    return result


def _knows(model: str, corpus: Corpus, held_out: Collection[str]) -> bool:
    """Whether a model was trained on some of the speakers it would be tested on; says so.

    Its file says on how many speakers of a corpus it was trained, not on which. So it is certain
    only if the others here are too few; elsewhere, a warning has to do.
    """
    from serd.model.model_file import ModelFile

    count = sum(
        one.speakers for one in ModelFile.load(model).info.corpora if one.name == corpus.title
    )
    if not count:
        return False
    words = f"{corpus.name}: {model} was trained on {count} of its speakers"
    here = len(corpus.speakers)
    if count <= here < count + len(held_out):
        click.echo(
            f"{words}, some of these among them; --run measures a fold's own model", err=True
        )
        return True
    click.echo(f"{words}; make sure that these are others", err=True)
    return False


def _run_stages(
    stages: tuple[str, ...],
    *,
    results: Path = REPOSITORY / RESULTS,
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
    from training.dataset import check_fold, corpora_for
    from training.run import Run, run_stages

    wanted = changed(load_recipe(recipe), changes | {"teacher": teacher, "no_teacher": no_teacher})
    if "evaluate" in stages:
        _check_not_own(wanted)
    check_fold(wanted)
    root = corpora_for(wanted, corpora)
    run = Run(folder or Path("runs") / wanted.name, wanted)
    with Meter().running() as meter:
        result = run_stages(
            run,
            stages,
            root,
            **_cache(cache),
            teacher=teacher,
            jobs=jobs,
            threads=threads,
            results=results,
            progress=meter,
        )
    click.echo(f"run: {run.folder}", err=True)
    return result


def _cache(folder: Path | None) -> dict[str, Any]:
    return {} if folder is None else {"cache": folder}
