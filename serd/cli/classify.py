"""``serd classify``: the utterances of recordings."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serd.cli.colour import echo
from serd.cli.invocation import Command, Invocation, pass_invocation
from serd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from serd.offline import Finding


@click.command(cls=Command)
@click.argument("paths", type=click.Path(), metavar="PATH...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each utterance.")
@click.option(
    "--whole",
    is_flag=True,
    help="Each file is one utterance: trimmed to its speech, of that the first 3 seconds.",
)
@click.option(
    "--personal",
    is_flag=True,
    help="Hear with the corrections on this machine, as the daemon does (docs/personal.md).",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Processes. Default: as many as there are cores, fewer for few files.",
)
@pass_invocation
def classify(
    invocation: Invocation,
    *,
    paths: Sequence[str],
    as_json: bool,
    whole: bool,
    personal: bool,
    jobs: int | None,
) -> int:
    """Tell the emotion of each utterance in recordings, in the order given.

    Folders are searched for recordings. A line has the path, when the utterance begins and ends
    (seconds), the emotion, its confidence, and the score of every emotion. A file that cannot be
    read is named on standard error; the others are classified, and the exit code is 66.
    """
    config = invocation.load().config
    from serd import offline

    complaints: list[InputError] = []
    files: list[Path] = []
    for path in paths:
        try:
            files += offline.recordings(Path(path))
        except InputError as error:
            complaints.append(error)
            _complain(error)
    line = _json_line if as_json else _text_line
    jobs = jobs or offline.sensible_jobs(len(files))
    examinations = (
        offline.examine_all(files, config, whole=whole, personal=personal, jobs=jobs)
        if files
        else ()
    )
    with _progress(len(files)) as advance:
        for examination in examinations:
            advance()
            if examination.error is not None:
                complaints.append(examination.error)
                _complain(examination.error)
            elif not examination.findings:
                echo(f"serd: {examination.path}: nothing spoken", err=True)
            for finding in examination.findings:
                echo(line(finding))
    return InputError.exit_code if complaints else 0


def _complain(error: InputError) -> None:
    echo(f"serd: {error.message}", err=True)


def _json_line(finding: Finding) -> str:
    import msgspec

    return json.dumps(msgspec.to_builtins(finding), ensure_ascii=False)


def _text_line(finding: Finding) -> str:
    scores = " ".join(f"{name}={score:.2f}" for name, score in finding.scores.items())
    return (
        f"{finding.path}  {finding.start_s:8.2f} {finding.end_s:8.2f}  "
        f"{finding.emotion:<9} {finding.confidence:.2f}  {scores}"
    )


@contextmanager
def _progress(files: int) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, if somebody looks at it and at nothing else."""
    if files < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Standard output is data and goes elsewhere: rich must not take it over.
    bar = Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True)
    with bar:
        task = bar.add_task("", total=files)
        yield lambda: bar.advance(task)
