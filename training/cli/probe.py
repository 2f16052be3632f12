"""``serd-train probe``: see :mod:`training.probes`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serd.errors import UsageError
from training import REPOSITORY
from training.cli.console import Meter, plain_errors, shared_options
from training.corpora import corpora_root
from training.files import write_json
from training.prepare import CACHE
from training.probes.conditions import CONDITIONS
from training.recipe import load_recipe

if TYPE_CHECKING:
    from training.probes import Part
    from training.recipe import Recipe

_PARTS: tuple[Part, ...] = ("robustness", "environment", "adaptation")
_ENGINES = ("webrtc", "silero")


@click.command()
@click.option("--model", help="This packed model, or `default`.  [default: default]")
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="The model of this run's folder."
)
@click.option(
    "--only", multiple=True, type=click.Choice(_PARTS), help="Only this part; may be repeated."
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(_ENGINES),
    help="Only this voice detector for the everyday sounds.  [default: both]",
)
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    type=click.Choice(tuple(CONDITIONS)),
    help="Only this condition, besides the clean clips; may be repeated.  [default: all]",
)
@click.option(
    "--personal",
    is_flag=True,
    help="Simulate households that correct it, and nothing else (with --run).",
)
@click.option(
    "--table",
    is_flag=True,
    help="With --personal: measure nothing; write the table and the picture of what is measured.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where the figures go, as JSON.")
@shared_options
@plain_errors
def probe(
    *,
    model: str | None,
    folder: Path | None,
    only: tuple[str, ...],
    engines: tuple[str, ...],
    conditions: tuple[str, ...],
    personal: bool,
    table: bool,
    out: Path | None,
    recipe: str,
    corpora: Path | None,
    cache: Path | None,
    jobs: int,
) -> None:
    """Test a finished model: noise, rooms, telephone; sounds without speech; adaptation to voices.

    The figures go to probes.json in the run's folder, those of a packed model to
    training/results/NAME-probes.json. Parts that are not measured again stay as they are there.
    """
    from training.probes import possible_parts, run_probes

    if folder is not None and model is not None:
        raise UsageError("--run and --model both name a model", remedy="leave one of them out")
    chosen: Path | str
    wanted: Recipe
    if folder is not None:
        from training.run import Run

        run = Run.open(folder)
        chosen, wanted, target = run.model, run.recipe, folder / "probes.json"
        if not run.model.is_file():
            raise UsageError(f"{folder} holds no model yet", remedy="serd-train quantise")
    else:
        from serd.model.model_file import ModelFile

        chosen, wanted = model or "default", load_recipe(recipe)
        name = ModelFile.load(chosen).info.name
        target = REPOSITORY / "training" / "results" / f"{name}-probes.json"
    if table and not personal:
        raise UsageError("--table goes with --personal", remedy="serd-train report draws the rest")
    if table:
        _write_personal(_measured_personal(target))
        return
    if personal:
        _probe_personal(
            chosen, wanted, corpora_root(corpora), out=out, cache=cache or CACHE, jobs=jobs
        )
        return
    parts = [part for part in _PARTS if part in (only or possible_parts(wanted))]
    target = out or target
    with Meter().running() as meter:
        found = run_probes(
            chosen,
            wanted,
            corpora_root(corpora),
            parts=parts,
            conditions=conditions or tuple(CONDITIONS),
            engines=engines or _ENGINES,
            cache=cache or CACHE,
            jobs=jobs,
            progress=meter,
        )
    found = _kept(target, found) | found
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, found)
    for line in _lines(found):
        click.echo(line)
    click.echo(target, err=True)


def _probe_personal(
    model: Path | str, recipe: Recipe, root: Path, *, out: Path | None, cache: Path, jobs: int
) -> None:
    """Simulate households, and write the results."""
    from serd.model.model_file import ModelFile
    from training.corpora import read_corpora, read_corpus
    from training.dataset import recipe_split
    from training.probes import personal
    from training.report import personal as report

    file = ModelFile.load(model)
    if not recipe.fold and recipe.acted:
        raise UsageError(
            f"{recipe.name} holds no speaker out, so its households would be people it knows",
            remedy="name the run of a fold: --run RUNS/fold1-seed1",
        )
    corpora, cross = (
        {name: one.of_classes(file.labels) for name, one in read_corpora(names, root).items()}
        for names in (recipe.corpora, recipe.cross_corpora)
    )
    split = recipe_split(recipe, corpora)
    sides = {
        side: [
            clip
            for name, one in corpora.items()
            if name != "ordinary"  # without acted emotions: it has a row of its own
            for clip in split.side(one.clips, side)
        ]
        for side in ("validation", "test")
    }
    test = sides["test"] + [clip for one in cross.values() for clip in one.clips]
    if "nemo" not in {*recipe.corpora, *recipe.cross_corpora} and (root / "nemo").is_dir():
        test += sorted(read_corpus("nemo", root).clips, key=lambda clip: clip.path)
    ordinary = root / "ordinary"
    sources = None  # all, for a recipe that is trained on none of them
    if "ordinary" in corpora:
        sources = {voice.split("/")[1] for voice in split.test if voice.startswith("ordinary/")}
    with Meter().running() as meter:
        found = personal.probe_personal(
            model,
            validation=sides["validation"],
            test=test,
            ordinary=ordinary if (ordinary / "manifest.csv").is_file() else None,
            sources=sources,
            cache=cache,
            jobs=jobs,
            progress=meter,
        )
    found = {
        "model": {
            "name": file.info.name,
            "version": file.info.version,
            "network_sha256": hashlib.sha256(file.network).hexdigest(),
        },
        "fold": recipe.fold,
        **found,
    }
    target = out or REPOSITORY / "training" / "results" / f"{file.info.name}-personal.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, found)
    for line in report.lines(found):
        click.echo(line)
    click.echo(target, err=True)
    if out is None:
        _write_personal(found)


def _measured_personal(probes: Path) -> dict[str, Any]:
    """The results of `--personal` for a released model."""
    path = probes.with_name(probes.name.replace("-probes", "-personal"))
    if not path.is_file():
        raise UsageError(f"{path} is not there yet", remedy="leave out --table")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write_personal(found: dict[str, Any]) -> None:
    """The table and the picture of docs/personal.md."""
    from training.report import personal

    page = REPOSITORY / "docs" / "personal.md"
    page.write_text(personal.in_page(page.read_text("utf-8"), found), "utf-8")
    for path in (page, *personal.draw(found, page.parent / "figures" / "personal")):
        click.echo(path, err=True)


def _kept(target: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Previous results in the file for the same network and speakers."""
    try:
        before: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    same = all(before.get(key) == found[key] for key in ("model", "fold"))
    return before if same else {}


def _lines(found: dict[str, Any]) -> list[str]:
    """The key figures, a line each, for the terminal."""
    lines = []
    for corpus, of_corpus in found.get("robustness", {}).get("corpora", {}).items():
        for name, figures in of_corpus["conditions"].items():
            lines.append(
                f"{corpus}, {name}: accuracy {figures['accuracy']:.4f}, UAR {figures['uar']:.4f}"
            )
    for engine, counts in found.get("environment", {}).get("engines", {}).items():
        lines += [
            f"{engine}, {words}, {which.replace('_', ' ')}: {figures['events']} events"
            f" in {figures['seconds']:.0f} s, {figures['events_per_hour']:.0f} an hour"
            for sums, words in (("sounds", "things and animals"), ("human", "crying and sneezing"))
            for which in ("all", "held_out")
            if (figures := counts[which].get(sums))
        ]
    for method, of_method in found.get("adaptation", {}).get("methods", {}).items():
        for situation, by_corpus in of_method["test"].items():
            for corpus, figures in by_corpus.items():
                curve = " ".join(f"{value:.3f}" for value in figures["uar"])
                lines.append(f"{corpus}, adapted {method}, {situation}: UAR {curve}")
    return lines
