"""Output on the terminal: safe, coloured and as wide as it is, and events as one line each.

`rich` is imported only where a line is formatted, so that commands that print none start fast.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, Self

import click

from serd.escaping import escape_controls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.text import Text

    from serd.config import Config
    from serd.events.event import Event
    from serd.language import Catalogue

STYLES: Final = {
    "neutral": "white",
    "calm": "cyan",
    "happy": "bold yellow",
    "sad": "blue",
    "angry": "bold red",
    "fearful": "magenta",
    "disgust": "green",
    "surprised": "bold cyan",
    "uncertain": "dim",
}
"""`rich` style of each emotion. The word is always printed too: nothing depends on colour alone."""

QUEUE_MAX: Final = 256
"""Events that wait for a paused terminal (Ctrl-S); further ones are not shown."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_LOWEST_DBFS: Final = -60
_NODES_MAX: Final = 2000
_WIDE: Final = 100
"""Columns from which there is room for bars beside the other scores."""

_JOIN_S: Final = 2.0


def colour_wanted() -> bool:
    """Whether standard output is a terminal that supports colour, and the user allows it.

    ``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` turn colour off.
    """
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in {None, "", "dumb"}
    return sys.stdout.isatty() and not plain


def echo(
    text: str = "", *, err: bool = False, lines: bool = False, nl: bool = True, lead: str = ""
) -> None:
    """Print text, with its control characters escaped.

    Every command prints with this, or with `rich` text made by the classes below.

    Args:
        text: A single line, unless `lines` is set.
        err: Print to standard error.
        lines: The text has several lines.
        nl: End with a line feed.
        lead: Printed first and unchanged, for coloured words of our own.
    """
    click.echo(lead + escape_controls(text, lines=lines), err=err, nl=nl)


def wrapped(text: str, indent: int, *, least: int) -> list[str]:
    """Break a sentence into lines that fit the terminal; without a terminal it stays one line.

    Args:
        text: The sentence.
        indent: Columns taken by what stands beside it.
        least: Columns used in any case, however narrow the terminal.
    """
    if not sys.stdout.isatty():
        return [text] if text else []
    import shutil
    import textwrap

    columns = max(least, shutil.get_terminal_size().columns - indent)
    return textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False)


def bar(share: float, cells: int, *, ascii_only: bool = False) -> str:
    """A bar that fills a share (0..1) of so many cells, to an eighth of a cell."""
    share = min(1.0, max(0.0, share))
    if ascii_only:
        return ("#" * round(share * cells)).ljust(cells)
    full, rest = divmod(round(share * cells * 8), 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def height(level_dbfs: float) -> str:
    """A level as one cell filled from below: empty at -60 dBFS, full at 0."""
    share = 1 - level_dbfs / _LOWEST_DBFS
    return _HEIGHTS[max(0, min(len(_HEIGHTS) - 1, int(share * len(_HEIGHTS))))]


def cut(name: str, width: int, *, front: bool = False) -> str:
    """Shorten a name to a width, marking the cut with ``~``: at its end, or at its front."""
    if len(name) <= width:
        return name
    return f"~{name[len(name) - width + 1 :]}" if front else f"{name[: width - 1]}~"


class Classified(Protocol):
    """An utterance with its scores: an event, or a result of `serd classify`."""

    @property
    def emotion(self) -> str:
        """The emotion, or ``uncertain``."""

    @property
    def confidence(self) -> float:
        """Probability of that emotion, 0..1."""

    @property
    def scores(self) -> dict[str, float]:
        """Probability of every emotion."""

    @property
    def level_dbfs(self) -> float:
        """RMS level."""


class LineFormatter:
    """Formats an utterance as one line, never wider than the terminal.

    Args:
        ascii_only: Draw bars with ASCII characters only.
        words: Translates the emotions.
    """

    def __init__(self, *, ascii_only: bool = False, words: Catalogue | None = None) -> None:
        self._ascii_only = ascii_only
        self._tr = words.gettext if words else str
        self._widest = max(9, *(len(self._tr(emotion)) for emotion in STYLES))

    def format(self, head: str, result: Classified, width: int, *, dim: bool = False) -> Text:
        """The emotion, its confidence, the next likely emotions, and the level.

        Args:
            head: Start of the line: when and where.
            result: What was heard.
            width: Columns of the terminal.
            dim: Print faintly, because it is past.
        """
        from rich.text import Text

        wide = width >= _WIDE
        line = Text(no_wrap=True, overflow="crop", end="", style="dim" if dim else "")
        line.append(head)
        emotion, widest = result.emotion, self._widest
        style = STYLES.get(emotion, "")
        line.append(f"  {self._tr(escape_controls(emotion)):<{widest}}", style)
        line.append(f" {result.confidence:4.0%} ")
        line.append(self._bar(result.confidence, 12 if wide else 6), style)
        level = f" {result.level_dbfs:4.0f} dB"
        if wide and not self._ascii_only:
            level = f" {height(result.level_dbfs)}{level}"
        others = sorted(
            (item for item in result.scores.items() if item[0] != emotion),
            key=lambda item: -item[1],
        )
        for name, score in others[:4]:
            if line.cell_len + widest + (11 if wide else 5) + len(level) > width:
                break
            line.append(f"  {self._tr(escape_controls(name)):<{widest}} ", "dim")
            if wide:
                line.append(self._bar(score, 5) + " ", STYLES.get(name, "") if not dim else "")
            line.append(f"{min(99, 100 * score):2.0f}", "dim")
        if line.cell_len + len(level) <= width:
            line.append(" " * (width - line.cell_len - len(level)) + level, "dim")
        line.truncate(width)
        return line

    def _bar(self, share: float, cells: int) -> str:
        return bar(share, cells, ascii_only=self._ascii_only)


class EventFormatter(LineFormatter):
    """Formats events; names their nodes once there are several.

    Args:
        dates: Print dates too, not only times.
        ascii_only: Draw bars with ASCII characters only.
        words: Translates the emotions.
    """

    def __init__(
        self, *, dates: bool = False, ascii_only: bool = False, words: Catalogue | None = None
    ) -> None:
        super().__init__(ascii_only=ascii_only, words=words)
        self._dates = dates
        self._nodes: dict[str, str] = {}

    def add_node(self, node: str, title: str | None = None) -> None:
        """Reserve space for a node's name.

        Args:
            node: Its id.
            title: Its friendly name, if known.
        """
        if node in self._nodes or len(self._nodes) < _NODES_MAX:
            self._nodes[node] = title or self._nodes.get(node, node)

    def format_event(self, event: Event, width: int, *, dim: bool = False) -> Text:
        """When, where, the emotion, its confidence, the next likely emotions, and the level.

        Args:
            event: The event.
            width: Columns of the terminal.
            dim: Print faintly, because it is past.
        """
        self.add_node(event.node)
        moment = datetime.fromisoformat(event.started_at).astimezone()
        head = moment.strftime("%Y-%m-%d %H:%M:%S" if self._dates else "%H:%M:%S")
        if len(self._nodes) > 1:
            widest = min(max(map(len, self._nodes.values())), 16 if width >= _WIDE else 12)
            title = escape_controls(self._nodes.get(event.node, event.node))
            head += f"  {cut(title, widest):<{widest}}"
        return self.format(head, event, width, dim=dim)


class EventPrinter:
    """Prints events on standard output as coloured lines.

    Args:
        words: Translates the emotions.
        titles: Friendly names by node id, for the nodes of this machine's configuration.
        correctable: After the first event, say on standard error how to correct it.
    """

    def __init__(
        self, words: Catalogue, titles: Mapping[str, str | None], *, correctable: bool = False
    ) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._lines = EventFormatter(ascii_only=self._console.options.ascii_only, words=words)
        self._titles = titles
        self._correctable = correctable

    def past(self, event: Event) -> None:
        """Print an event from the journal, faintly."""
        self.add_node(event.node)
        self._console.print(self._lines.format_event(event, self._console.width, dim=True))

    def add_node(self, node: str, title: str | None = None) -> None:
        """Reserve space for a node's name; see :meth:`EventFormatter.add_node`."""
        self._lines.add_node(node, title or self._titles.get(node))

    def event(self, event: Event) -> None:
        """Print a new event."""
        self._console.print(self._lines.format_event(event, self._console.width))
        if self._correctable:
            self._correctable = False
            where = "" if event.node in self._titles else f" --node {event.node}"
            text = (
                f"serd: wrong? `serd correct happy{where}` or `serd correct not{where}` teaches it"
            )
            echo(text, err=True)


class BackgroundPrinter:
    """Prints a daemon's events from a thread of its own; the daemon never waits for the terminal.

    A context manager that is called with each event while it is open.

    Args:
        config: The configuration, for names and language.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._events: queue.Queue[Event | None] = queue.Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._print, name="serd-live", daemon=True)
        self._dropped = 0

    def __call__(self, event: Event) -> None:
        """Queue an event; drops it if the queue is full."""
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._dropped += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        from serd.language import many

        try:
            self._events.put(None, timeout=_JOIN_S)
        except queue.Full:
            return  # the terminal is still paused
        self._thread.join(_JOIN_S)
        if self._dropped:
            dropped = many(self._dropped, "event was", "events were")
            echo(f"serd: {dropped} not shown: the terminal was paused", err=True)

    def _print(self) -> None:
        from serd import language

        each = self._config.each()
        words = language.chosen(self._config.language)
        printer = EventPrinter(words, {single.node: single.name for single in each})
        for single in each:
            printer.add_node(single.node)
        while (event := self._events.get()) is not None:
            printer.event(event)
