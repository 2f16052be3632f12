"""Events as lines for people: aligned, coloured by emotion, as wide as the terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.text import Text

from serd.harmless import harmless

if TYPE_CHECKING:
    from serd.events.event import Event

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
"""How each emotion is printed. The word is always there: colour says nothing by itself."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_LOWEST_DBFS: Final = -60
_NODES_MAX: Final = 2000
_WIDE: Final = 100
"""Columns from which there is room for bars beside the other scores."""


def bar(share: float, cells: int, *, ascii_only: bool = False) -> str:
    """A bar of a share (0..1) of so many cells, drawn to an eighth of a cell."""
    share = min(1.0, max(0.0, share))
    if ascii_only:
        return ("#" * round(share * cells)).ljust(cells)
    full, rest = divmod(round(share * cells * 8), 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def many(count: int, one: str, more: str) -> str:
    """A number of things, in the singular or the plural."""
    return f"{count:,} {one if count == 1 else more}"


def height(level_dbfs: float) -> str:
    """A level as one cell, filled from below: empty at -60 dBFS, full at 0."""
    share = 1 - level_dbfs / _LOWEST_DBFS
    return _HEIGHTS[max(0, min(len(_HEIGHTS) - 1, int(share * len(_HEIGHTS))))]


class EventLines:
    """Makes a line of each event.

    Args:
        dates: Write dates too, not only times.
        ascii_only: Draw with what every terminal has.
    """

    def __init__(self, *, dates: bool = False, ascii_only: bool = False) -> None:
        self._dates = dates
        self._ascii_only = ascii_only
        self._nodes: set[str] = set()

    def expect(self, node: str) -> None:
        """Make room for a node's name; it is only shown where there are several."""
        if len(self._nodes) < _NODES_MAX:
            self._nodes.add(node)

    def line(self, event: Event, width: int, *, dim: bool = False) -> Text:
        """One line, never longer than the terminal is wide.

        When, where, the emotion, how sure, the next likely emotions, how loud.

        Args:
            event: The event.
            width: Columns of the terminal.
            dim: Print it faintly, because it is past.
        """
        self.expect(event.node)
        wide = width >= _WIDE
        line = Text(no_wrap=True, overflow="crop", end="", style="dim" if dim else "")
        line.append(self._moment(event.started_at))
        if len(self._nodes) > 1:
            widest = min(max(map(len, self._nodes)), 16 if wide else 12)
            line.append(f"  {_shortened(harmless(event.node), widest):<{widest}}")
        style = STYLES.get(event.emotion, "")
        line.append(f"  {harmless(event.emotion):<9}", style)
        line.append(f" {event.confidence:4.0%} ")
        line.append(self._bar(event.confidence, 12 if wide else 6), style)
        level = f" {event.level_dbfs:4.0f} dB"
        if wide and not self._ascii_only:
            level = f" {height(event.level_dbfs)}{level}"
        others = sorted(
            (item for item in event.scores.items() if item[0] != event.emotion),
            key=lambda item: -item[1],
        )
        for name, score in others[:4]:
            if line.cell_len + (20 if wide else 14) + len(level) > width:
                break
            line.append(f"  {harmless(name):<9} ", "dim")
            if wide:
                line.append(self._bar(score, 5) + " ", STYLES.get(name, "") if not dim else "")
            line.append(f"{min(99, 100 * score):2.0f}", "dim")
        if line.cell_len + len(level) <= width:
            line.append(" " * (width - line.cell_len - len(level)) + level, "dim")
        line.truncate(width)
        return line

    def _bar(self, share: float, cells: int) -> str:
        return bar(share, cells, ascii_only=self._ascii_only)

    def _moment(self, timestamp: str) -> str:
        local = datetime.fromisoformat(timestamp).astimezone()
        return local.strftime("%Y-%m-%d %H:%M:%S" if self._dates else "%H:%M:%S")


def _shortened(name: str, width: int) -> str:
    """A name that is too long, with a mark where it was cut."""
    return name if len(name) <= width else name[: width - 1] + "~"
