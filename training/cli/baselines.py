"""``serd-train baselines``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from training import REPOSITORY, RESULTS
from training.cli.console import Meter, plain_errors

if TYPE_CHECKING:
    from training.baselines.results import Result
    from training.baselines.system import Source
    from training.corpora import Corpus


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Only this system; may be repeated.")
@click.option(
    "--protocol",
    type=click.Choice(["random", "speakers", "all"]),
    default="all",
    show_default=True,
    help="The authors' random split, the speaker-independent folds, or both.",
)
@click.option("--seeds", default=5, show_default=True, help="Random splits of each system.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of the cache.")
@click.option("--teacher", help="Folder or hub name of the encoder for `transfer`.")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("runs") / "baselines",
    show_default=True,
    help="Folder of the results; those in it are not repeated.",
)
@click.option(
    "--table", is_flag=True, help="Train nothing; write the table from the existing results."
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=REPOSITORY / RESULTS / "baselines.json",
    help="JSON of all results.  [default: training/results/baselines.json]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=REPOSITORY / "docs" / "baselines.md",
    help="The table; figures go beside it.  [default: docs/baselines.md]",
)
@plain_errors
def baselines(
    *,
    only: tuple[str, ...],
    protocol: str,
    seeds: int,
    jobs: int,
    corpora: Path | None,
    cache: Path | None,
    teacher: str | None,
    folder: Path,
    results: Path,
    out: Path,
    table: bool,
) -> None:
    """Train the published systems and serd's network on the same splits, and table them.

    An interrupted run continues where it stopped.
    """
    from training.baselines.results import PROTOCOLS, read_figures, write_figures
    from training.baselines.runner import check_names, kept, make_tasks, run_all, valid
    from training.baselines.system import Source
    from training.corpora import corpora_root, read_corpus
    from training.prepare import CACHE

    names = check_names(only)
    old = read_figures(results)
    found: list[Result] = [one for one in kept(folder) if valid(one)]
    if table:
        if old is None and not found:
            raise click.UsageError("There are no results yet: leave out --table")
        title, count = (old.corpus, old.clips) if old else ("RAVDESS (speech)", 1439)
    else:
        corpus: Corpus = read_corpus("ravdess", corpora_root(corpora))
        title, count = corpus.title, len(corpus.clips)
        protocols = tuple(one for one in PROTOCOLS if protocol in {one, "all"})
        with Meter().running() as meter:
            source: Source = Source(
                cache=cache or CACHE, jobs=jobs, teacher=teacher, progress=meter
            )
            found = run_all(
                make_tasks(names, protocols, seeds),
                corpus,
                source,
                folder,
                known=old.results if old else [],
                jobs=jobs,
            )
    figures = write_figures(results, found, old, title, count)
    click.echo(results)
    from training.baselines.page import write_table

    for written in write_table(figures, out):
        click.echo(written)
