"""``serd bench``: how fast serd is on this machine."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all figures.")
@click.option(
    "--ordinary",
    is_flag=True,
    help="Count false alarms on ordinary speech here instead, at each sensitivity.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.01, 10_000),
    metavar="N",
    help="With --ordinary: stop after this many minutes of sound. Default: at Ctrl-C.",
)
@click.option(
    "--source",
    type=click.Path(),
    metavar="mic|PATH|URL|-",
    help="With --ordinary: what to listen to, instead of audio.command and all of sources, too; "
    "files are read at full speed.",
)
@click.option("--node", metavar="NAME", help="With --ordinary: which of several sources.")
@pass_invocation
def bench(
    invocation: Invocation,
    *,
    as_json: bool,
    ordinary: bool,
    minutes: float | None,
    source: str | None,
    node: str | None,
) -> int:
    """Measure serd on this machine, in less than a minute.

    Times the features, the network, the start, and the latency of a whole daemon that hears sample
    speech in real time. Prints a line to paste, and what it means for this machine; needs neither
    microphone nor broker. The model and the detection of speech are those of the configuration.

    With --ordinary it listens instead, to an evening without strong emotions, and counts the
    emotional events it would have published, all of them false alarms. No sound is kept and nothing
    is published.
    """
    import msgspec

    if ordinary:
        return _ordinary(invocation, as_json=as_json, minutes=minutes, source=source, node=node)
    for name, given in (("--minutes", minutes), ("--source", source), ("--node", node)):
        if given is not None:
            raise UsageError(f"{name} goes with --ordinary", remedy=f"serd bench --ordinary {name}")

    config = invocation.load().config.of(None)
    from serd.benchmark.figures import meaning, measure, one_line

    with _progress() as progress:
        figures = measure(config, progress=progress)
    if as_json:
        echo(msgspec.json.encode(figures).decode())
        return 0
    for sentence in (one_line(figures), *meaning(figures)):
        echo(sentence)
    return 0


def _ordinary(
    invocation: Invocation,
    *,
    as_json: bool,
    minutes: float | None,
    source: str | None,
    node: str | None,
) -> int:
    """Listen to ordinary speech, and count false alarms."""
    import msgspec

    invocation.override_source(source, node)
    invocation.override("audio.pace", "fast", "--ordinary")
    loaded = invocation.load().config
    config = loaded.of(node)
    from serd.audio.factory import make_source
    from serd.benchmark.ordinary import listen, page
    from serd.daemon.mute import why_closed

    heard = make_source(config.audio)
    if heard.live and config.audio.source != "-":
        reason = why_closed(config, alone=not loaded.sources)
        if reason is not None:
            raise UnavailableError(
                f"{config.node} {reason}, so its microphone stays closed",
                remedy="unmute it, or give a recording with --source",
            )
    if heard.live and sys.stderr.isatty():
        echo(f"serd: listening to {heard.name}; Ctrl-C stops and shows the counts", err=True)
    try:
        heard.open()
        evening = listen(config, heard, seconds=None if minutes is None else 60 * minutes)
    finally:
        heard.close()
    echo(msgspec.json.encode(evening).decode() if as_json else page(evening), lines=not as_json)
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on standard error, if it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _share: None
        return
    import threading

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:22}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True)
    ended = threading.Event()

    def update(what: str, share: float) -> None:
        bar.update(task, description=what, completed=max(share, bar.tasks[0].completed))

    def advance_slowly() -> None:
        # Most of the time is spent in one step, which runs in real time.
        while not ended.wait(1.0):
            if bar.tasks[0].completed < 0.97:
                bar.advance(task, 0.02)

    with bar:
        task = bar.add_task("", total=1.0)
        thread = threading.Thread(target=advance_slowly, daemon=True)
        thread.start()
        try:
            yield update
        finally:
            ended.set()
            thread.join()
