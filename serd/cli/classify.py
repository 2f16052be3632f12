"""``serd classify``: the utterances of recordings."""

from __future__ import annotations

import json
import os
import stat
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.errors import InputError, UsageError, shown
from serd.escaping import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import Progress

    from serd.config import Config
    from serd.recordings import ClassifiedUtterance

_LARGE = 5_000_000
"""Bytes from which a single file gets a progress bar."""


@click.command(cls=Command)
@click.argument("paths", type=click.Path(), metavar="PATH...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each utterance.")
@click.option(
    "--whole",
    is_flag=True,
    help="Treat each file as one utterance: the first 3 seconds of its speech.",
)
@click.option(
    "--personal",
    is_flag=True,
    help="Apply the corrections made on this machine, as the daemon does (docs/personal.md).",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Number of processes. Default: one per core, fewer for few files.",
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
    """Classify each utterance in recordings, in the order given.

    Folders are searched for recordings; - is standard input. Each line has the path, the start and
    end of the utterance in seconds, the emotion, its confidence, and the score of every emotion; on
    a terminal only the likeliest, drawn as in `serd history`. Files that cannot be read are named
    on standard error; the others are classified, and the exit code is 66. M4A, WebM and other
    containers need ffmpeg.
    """
    config = invocation.load().config
    from serd import recordings

    _check(paths)
    complaints: list[InputError] = []
    files: list[Path] = []
    for path in paths:
        try:
            files += recordings.find_recordings(recordings.path_of(path))
        except InputError as error:
            complaints.append(error)
            _complain(error)
    drawn = sys.stdout.isatty()
    line = _json_line if as_json else _lines_for(files, config) if drawn else _plain
    # Another process has no standard input.
    jobs = 1 if "-" in paths else jobs or recordings.default_jobs(len(files))
    with _progress(files) as progress:
        results = recordings.classify_all(
            files,
            config,
            whole=whole,
            personal=personal,
            jobs=jobs,
            progress=progress.within,
        )
        for result in results if files else ():
            progress.advance()
            silent = result.utterances and not result.warnings
            with nullcontext() if silent and not drawn else progress.aside():
                for warning in result.warnings:
                    echo(f"serd: {warning}", err=True)
                if result.error is not None:
                    complaints.append(result.error)
                    _complain(result.error)
                elif not result.utterances:
                    echo(f"serd: {shown(result.path)}: nothing spoken", err=True)
                for utterance in result.utterances:
                    echo(lead=line(utterance))
    if len(files) > len(paths) and complaints:
        echo(f"serd: {len(complaints)} of {len(files)} recordings were not read", err=True)
    return InputError.exit_code if complaints else 0


def _check(paths: Sequence[str]) -> None:
    """Refuse paths that cannot be meant.

    Raises:
        UsageError: One is empty, or standard input is given twice.
    """
    if "" in paths:  # pathlib takes it for the current folder
        raise UsageError(
            "a PATH is empty", remedy="write . for this folder, or set the variable it came from"
        )
    if paths.count("-") > 1:
        raise UsageError("standard input (-) can be read only once")


def _complain(error: InputError) -> None:
    from serd.audio.ffmpeg import REMEDY

    remedy = f" ({error.remedy})" if error.remedy == REMEDY else ""
    echo(f"serd: {error.message}{remedy}", err=True)


def _json_line(utterance: ClassifiedUtterance) -> str:
    import msgspec

    return escape_controls(json.dumps(msgspec.to_builtins(utterance), ensure_ascii=False))


def _plain(utterance: ClassifiedUtterance) -> str:
    """A line for pipes and files: the full path, every score."""
    scores = " ".join(f"{name}={score:.2f}" for name, score in utterance.scores.items())
    return escape_controls(
        f"{utterance.path}  {utterance.start_s:8.2f} {utterance.end_s:8.2f}  "
        f"{utterance.emotion:<9} {utterance.confidence:.2f}  {scores}"
    )


def _lines_for(files: Sequence[Path], config: Config) -> Callable[[ClassifiedUtterance], str]:
    """Lines for people: as `serd history` prints events, with the file's name and seconds."""
    import io

    from rich.console import Console

    from serd import language
    from serd.cli.terminal import LineFormatter, colour_wanted, cut

    screen = Console(highlight=False)
    lines = LineFormatter(
        ascii_only=screen.options.ascii_only, words=language.chosen(config.language)
    )
    names = {
        path: shown(name) for path, name in _short_names([str(path) for path in files]).items()
    }
    widest = min(max(map(len, names.values()), default=0), max(12, screen.width // 4))

    def line(utterance: ClassifiedUtterance) -> str:
        name = cut(names.get(utterance.path, shown(utterance.path)), widest, front=True)
        head = f"{name:<{widest}} {utterance.start_s:7.2f}-{utterance.end_s:<7.2f}"
        buffer = io.StringIO()
        console = Console(
            file=buffer, width=screen.width, highlight=False, force_terminal=colour_wanted(),
            no_color=not colour_wanted(), legacy_windows=False,
        )  # fmt: skip
        console.print(lines.format(head, utterance, screen.width), end="")
        return buffer.getvalue()

    return line


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths without the folders that all of them share."""
    if len(paths) == 1:
        return {paths[0]: Path(paths[0]).name}
    alike = len({Path(path).is_absolute() for path in paths}) == 1
    common = os.path.commonpath([str(Path(path).parent) for path in paths]) if alike else ""
    return {path: os.path.relpath(path, common) if common else path for path in paths}


class _Bar:
    """Progress of the work; this one shows nothing."""

    def advance(self) -> None:
        """A file is done."""

    def within(self, share: float) -> None:
        """A share of the next file is done."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while something else is printed."""
        yield


class _ShownBar(_Bar):
    def __init__(self, bar: Progress, weights: Sequence[int]) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=sum(weights))
        self._weights = list(weights)
        self._done = self._at = 0

    def advance(self) -> None:
        self._done += self._weights[self._at]
        self._at += 1
        self._bar.update(self._task, completed=self._done)

    def within(self, share: float) -> None:
        self._bar.update(self._task, completed=self._done + share * self._weights[self._at])

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._bar.stop()  # removes the bar
        yield
        sys.stdout.flush()
        if self._at < len(self._weights):
            self._bar.start()


@contextmanager
def _progress(files: Sequence[Path]) -> Iterator[_Bar]:
    """A progress bar on standard error with the time left, if that is a terminal.

    None if standard output is a pipe: its reader (`head`, `less`) writes to the terminal, too.
    """
    weights = [_size(path) for path in files]
    wanted = len(files) > 1 or sum(weights) > _LARGE
    if not wanted or not sys.stderr.isatty() or _piped():
        yield _Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # Standard output is data and goes elsewhere: rich must not take it over.
    bar = Progress(
        *columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False,
        transient=True,
    )  # fmt: skip
    with bar:
        yield _ShownBar(bar, weights)


def _piped() -> bool:
    """Whether standard output is a pipe."""
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _size(path: Path) -> int:
    """Size of a file in bytes, a good estimate of the time it takes; at least 1."""
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1
