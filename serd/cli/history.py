"""``serd history``: past events, from the journal."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click

from serd import language
from serd.cli.command import Command, Invocation, as_milliseconds, pass_invocation
from serd.cli.terminal import echo
from serd.config.schema import Emotion
from serd.errors import UsageError
from serd.language import many

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serd.config import Config
    from serd.events.event import Event

_PIPE_WIDTH = 140
_EMOTIONS: Final = get_args(Emotion)


@click.command(cls=Command)
@click.option(
    "--since",
    callback=as_milliseconds,
    default="24h",
    show_default=True,
    metavar="TIME",
    help="Start: 90s, 15m, 24h, 7d ago; 14:30 today; yesterday; 2026-03-01T08:15.",
)
@click.option(
    "--until",
    callback=as_milliseconds,
    metavar="TIME",
    help="End, in the same form. Default: now.",
)
@click.option("--node", metavar="NAME", help="Only events of this node.")
@click.option(
    "--emotion",
    "emotions",
    multiple=True,
    type=click.Choice(_EMOTIONS),
    metavar="NAME",
    help=f"Only this emotion ({', '.join(_EMOTIONS)}); may be repeated.",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Only events at least this confident, 0 to 1.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the latest N of these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--csv", "as_csv", is_flag=True, help="A CSV table for spreadsheets.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Draw them to a file instead (.png, .svg or .pdf); needs the extra serd-emotion[plot].",
)
@pass_invocation
def history(
    invocation: Invocation,
    *,
    since: int,
    until: int | None,
    node: str | None,
    emotions: tuple[str, ...],
    min_confidence: float,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    plot: Path | None,
) -> None:
    """Show past events from this machine's journal, oldest first."""
    if as_json + as_csv + (plot is not None) > 1:
        raise UsageError("--json, --csv and --plot exclude each other")
    config = invocation.load().config
    from serd.events.history import History

    if plot is not None:
        from serd.cli.plot import check_target

        check_target(plot)
    titles = {single.name: single.node for single in config.each() if single.name}
    with History(Path(config.journal.path)) as journal:
        if node is not None:
            node = _known(titles.get(node, node), journal.nodes(), config)
        events: Iterable[Event] = journal.query(
            since_ms=since,
            until_ms=until,
            node=node,
            emotion=emotions[0] if len(emotions) == 1 else None,
            min_confidence=min_confidence,
            newest_first=limit is not None,
        )
        if len(emotions) > 1:
            events = (event for event in events if event.emotion in emotions)
        if limit is not None:
            events = [*islice(events, limit)][::-1]
        if plot is not None:
            _draw(list(events), plot, config.mood.half_life_s)
        elif as_json:
            _print_json(events)
        elif as_csv:
            _print_csv(events)
        else:
            _print_lines(events, config, journal.nodes() if node is None else [node])


def _known(node: str, journalled: list[str], config: Config) -> str:
    """Check that a node exists, and return its name."""
    from serd.config.validation import nearest

    nodes = sorted({*journalled, *(single.node for single in config.each())})
    if node in nodes:
        return node
    suggestion = nearest(node, nodes)
    raise UsageError(
        f"there is no room called {node!r} in this journal",
        remedy=f"did you mean {suggestion}?" if suggestion else f"there are: {', '.join(nodes)}",
    )


def _draw(events: list[Event], path: Path, half_life_s: float) -> None:
    from serd.cli.plot import draw

    if not events:
        echo("serd: no events in that time, so there is nothing to draw", err=True)
        return
    draw(events, path, half_life_s=half_life_s)
    echo(f"serd: {path} shows {many(len(events), 'event', 'events')}", err=True)


def _print_json(events: Iterable[Event]) -> None:
    from serd.events.event import encode

    for event in events:
        echo(encode(event).decode())


def _print_csv(events: Iterable[Event]) -> None:
    from serd.events.history import csv_lines

    for line in csv_lines(events):
        echo(line, lines=True, nl=False)


def _print_lines(events: Iterable[Event], config: Config, nodes: list[str]) -> None:
    from rich.console import Console

    from serd.cli.terminal import EventFormatter

    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else _PIPE_WIDTH)
    words = language.chosen(config.language)
    lines = EventFormatter(dates=True, ascii_only=console.options.ascii_only, words=words)
    titles = {single.node: single.name for single in config.each()}
    for node in nodes:
        lines.add_node(node, titles.get(node))
    count = 0
    for event in events:
        console.print(lines.format_event(event, console.width))
        count += 1
    if not count:
        echo("serd: no events in that time", err=True)
