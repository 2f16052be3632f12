"""``serd-train new`` and ``serd-train tune``: a model from the user's own recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from serd.errors import UsageError, shown
from training.cli.console import Meter, need, plain_errors
from training.recipe import OWN, load_recipe
from training.recipe.corpora import Preparation

if TYPE_CHECKING:
    from training.own.plan import Plan, Survey
    from training.recipe import Recipe

_SHOWN = 5
"""Most names that are listed."""


@click.command()
@click.argument("name")
@click.argument("recordings", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), help="Folder to write.  [default: ./NAME]")
@click.option("--base", default="default", show_default=True, help="Model to begin with.")
@click.option("--again", is_flag=True, help="Write recipe and folds anew, over those there.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
@plain_errors
def new(
    name: str, recordings: Path, *, into: Path | None, base: str, again: bool, jobs: int
) -> None:
    """Check the recordings in a folder and plan a model of your own.

    RECORDINGS holds a folder for each emotion, or one for each speaker with those in it. Reports
    what these recordings can and cannot achieve, and writes what `serd-train tune` needs to a
    folder called NAME.
    """
    need("joblib", "tensorflow")
    from training.own import plan as own

    own.check_name(name)
    folder = into or Path(name)
    if (folder / OWN).exists() and not again:
        raise UsageError(
            f"{shown(folder / OWN)} is there already",
            remedy="serd-train tune goes on with it; --again writes it anew",
        )
    labels = own.base_model(base).labels
    if Path(base).suffix:
        base = str(Path(base).expanduser().resolve())
    preparation = Preparation(speeds=own.SPEEDS)
    with Meter().running() as meter:
        found = own.survey(
            recordings,
            labels,
            preparation,
            cache=folder / own.WORK / "prepared",
            jobs=jobs,
            progress=meter,
        )
    wanted = own.plan(found, base)
    own.write(found, wanted, name, folder)
    _describe(found, own.not_recordings(recordings))
    _say_plan(wanted)
    click.echo(f"\nwritten: {folder / OWN}, {folder / own.FOLDS}")
    click.echo(f"next:    serd-train tune {folder}    (about {_minutes(wanted.minutes)})")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--everyday",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Recordings of everyday speech, in which nobody feels strongly, to choose thresholds by.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Of TensorFlow."
)
@plain_errors
def tune(
    folder: Path, *, everyday: Path | None, steps: int | None, jobs: int, threads: int
) -> None:
    """Fine-tune with your recordings, evaluate the result, and pack the model.

    FOLDER is what `serd-train new` wrote. An interrupted run continues where it stopped.
    """
    need("joblib", "tensorflow", "scipy")
    from training.own import plan as own
    from training.own import report as own_report
    from training.own import tune as tuning

    recipe = _own_recipe(folder)
    if steps is not None:
        optimiser = msgspec.structs.replace(recipe.optimiser, steps=steps)
        recipe = msgspec.structs.replace(recipe, optimiser=optimiser)
    assert recipe.start is not None
    assert recipe.start.model is not None
    own.base_model(recipe.start.model)
    with Meter().running() as meter:
        found = own.survey(
            Path(recipe.corpora[own.CORPUS].folder or ""),
            recipe.labels,
            recipe.preparation,
            cache=folder / own.WORK / "prepared",
            jobs=jobs,
            progress=meter,
        )
        wanted = own.plan(found, recipe.start.model)
        late = tuning.unmeasured(recipe, found)
        made = tuning.tune(
            folder,
            recipe,
            found,
            everyday=everyday,
            jobs=jobs,
            threads=threads,
            progress=meter,
        )
    (folder / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(made.figures)))
    text = own_report.report(made, wanted, left_out=_left_out(found))
    (folder / "report.md").write_text(text, encoding="utf-8")
    for sentence in own_report.in_words(made):
        click.echo(sentence)
    if late:
        click.echo(
            f"{len(late)} recordings came after `serd-train new` ({_some(late)}): they were "
            "trained on and not measured. `serd-train new ... --again` deals them in."
        )
    click.echo(f"\nreport:  {folder / 'report.md'}")
    click.echo(f"model:   {made.model}")
    click.echo("use it:  in serd's configuration, model.path: " + str(made.model.resolve()))


@click.command()
@plain_errors
def schema() -> None:
    """Print the page that explains every key of a recipe: docs/recipe.md."""
    from training.recipe_page import markdown

    click.echo(markdown(), nl=False)


def _own_recipe(folder: Path) -> Recipe:
    from training.own import plan as own

    file = folder / OWN if folder.is_dir() else folder
    if not file.is_file():
        raise UsageError(
            f"{shown(folder)} is no folder that `serd-train new` wrote",
            remedy="begin one: serd-train new NAME RECORDINGS",
        )
    recipe = load_recipe(file)
    use = recipe.corpora.get(own.CORPUS)
    whole = (
        use is not None
        and use.folder
        and use.folds
        and recipe.start
        and recipe.start.model
        and recipe.labels
    )
    if not whole or set(recipe.corpora) != {own.CORPUS} or recipe.fold:
        raise UsageError(
            f"{shown(file)} is not a recipe of one's own recordings",
            remedy=f"it needs start, labels, fold: 0, and corpora.{own.CORPUS} alone, with folder "
            "and folds; serd-train new writes such a recipe",
        )
    return recipe


def _describe(found: Survey, others: int) -> None:
    """Print the contents of the folder."""
    corpus = found.corpus
    counts = ", ".join(f"{emotion} {count}" for emotion, count in found.counts.most_common())
    voices = "nobody knows whose voices"
    if corpus.knows_speakers:
        number = len(corpus.speakers)
        voices = f"{number} speaker{'s' if number > 1 else ''} ({_some(corpus.speakers)})"
    click.echo(
        f"{shown(found.folder)}: {len(corpus.clips)} recordings, {len(found.prepared)} utterances, "
        f"{found.seconds / 60:.1f} minutes of speech, {voices}"
    )
    click.echo(f"  {counts}")
    if left_out := _left_out(found):
        click.echo(f"  left out: {left_out}")
    for name, why in list(found.unreadable.items())[:_SHOWN]:
        click.echo(f"  cannot be read: {shown(name)}: {shown(why)}")
    if found.lost_speakers:
        click.echo(f"  of these speakers no recording is left: {_some(found.lost_speakers)}")
    if others:
        click.echo(f"  passed over: {others} other file{'s' if others > 1 else ''}")


def _say_plan(wanted: Plan) -> None:
    click.echo("\nWhat you get")
    for sentence in wanted.can:
        click.echo(f"  - {sentence}")
    if wanted.cannot:
        click.echo("What these recordings cannot give")
        for sentence in wanted.cannot:
            click.echo(f"  - {sentence}")


def _left_out(found: Survey) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in found.corpus.left_out.items())


def _some(names: tuple[str, ...] | list[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:_SHOWN])
    return f"{listed} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else listed


def _minutes(count: int) -> str:
    return f"{count} minute{'s' if count > 1 else ''} on two cores"
