"""``serd-train inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from serd.errors import UsageError
from training.cli.console import plain_errors


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("inspect"),
    show_default=True,
    help="Folder for the pictures.",
)
@click.option("--model", default="default", show_default=True, help="Whose answers are drawn.")
@click.option("--from", "start_s", type=float, default=0.0, help="Draw from this second.")
@click.option("--to", "end_s", type=float, help="Draw until this second.")
@click.option("--corpus", "names", multiple=True, help="Draw a corpus's classes and speakers.")
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora.")
@click.option("--run", type=click.Path(path_type=Path), help="Draw a run's curves and confusions.")
@plain_errors
def inspect(
    *,
    files: tuple[Path, ...],
    out: Path,
    model: str,
    start_s: float,
    end_s: float | None,
    names: tuple[str, ...],
    corpora: Path | None,
    run: Path | None,
) -> None:
    """Draw clips, corpora and runs, each as PNG and SVG.

    A clip: its waveform with what the voice detector marks and the utterances that serd finds, log
    spectrogram, mel spectrogram, MFCCs, chromagram, and the model's probabilities over time.
    """
    from training import inspection

    if not files and not names and run is None:
        raise UsageError("Nothing to draw", remedy="name a file, a --corpus or a --run")
    stems = [file.stem for file in files]
    if len(set(stems)) < len(stems):
        raise UsageError(
            "Two of the files have the same name, and so would their pictures",
            remedy="draw them one at a time, each with its own --out",
        )
    written = []
    for file in files:
        view = inspection.view_clip(file, model, start_s=start_s, end_s=end_s)
        written += inspection.draw(view, out / file.stem)
    if names:
        from training.corpora import corpora_root, read_corpora

        for name, corpus in read_corpora(names, corpora_root(corpora)).items():
            written += inspection.draw_corpus(corpus, out / f"corpus-{name}")
    if run is not None:
        from training.run import Run

        written += inspection.draw_run(Run.open(run), out)
    for path in written:
        click.echo(path)
