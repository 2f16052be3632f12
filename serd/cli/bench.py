"""``serd bench``: how fast serd is on this machine."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from serd.cli.colour import echo
from serd.cli.invocation import Command, Invocation, pass_invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all figures.")
@pass_invocation
def bench(invocation: Invocation, as_json: bool) -> int:  # noqa: ARG001 - common options
    """Measure serd on this machine, in less than a minute.

    Times the features, the network, the start, and the latency of a whole daemon that hears sample
    speech in real time. Prints a line to paste; needs neither microphone nor broker.
    """
    import msgspec

    from serd.benchmark.figures import measure, one_line

    with _progress() as tell:
        figures = measure(tell=tell)
    echo(msgspec.json.encode(figures).decode() if as_json else one_line(figures))
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

    def tell(what: str, share: float) -> None:
        bar.update(task, description=what, completed=max(share, bar.tasks[0].completed))

    def creep() -> None:
        # Most of the time goes by in one step, at the pace of speech.
        while not ended.wait(1.0):
            if bar.tasks[0].completed < 0.97:
                bar.advance(task, 0.02)

    with bar:
        task = bar.add_task("", total=1.0)
        thread = threading.Thread(target=creep, daemon=True)
        thread.start()
        try:
            yield tell
        finally:
            ended.set()
            thread.join()
