"""Events as lines for people: aligned, coloured by emotion, as wide as the terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from rich.text import Text

from serd.harmless import harmless

if TYPE_CHECKING:
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


def height(level_dbfs: float) -> str:
    """A level as one cell, filled from below: empty at -60 dBFS, full at 0."""
    share = 1 - level_dbfs / _LOWEST_DBFS
    return _HEIGHTS[max(0, min(len(_HEIGHTS) - 1, int(share * len(_HEIGHTS))))]


class Judgement(Protocol):
    """What events and the findings in recordings have in common."""

    @property
    def emotion(self) -> str:
        """The emotion, or ``uncertain``."""

    @property
    def confidence(self) -> float:
        """How sure that is, 0..1."""

    @property
    def scores(self) -> dict[str, float]:
        """Of every emotion."""

    @property
    def level_dbfs(self) -> float:
        """RMS level."""


class Lines:
    """Makes a line of each judgement, never longer than the terminal is wide.

    Args:
        ascii_only: Draw with what every terminal has.
        words: In whose language emotions are told.
    """

    def __init__(self, *, ascii_only: bool = False, words: Catalogue | None = None) -> None:
        self._ascii_only = ascii_only
        self._tr = words.gettext if words else str
        self._widest = max(9, *(len(self._tr(emotion)) for emotion in STYLES))

    def judged(self, head: str, judgement: Judgement, width: int, *, dim: bool = False) -> Text:
        """What was heard: the emotion, how sure, the next likely emotions, how loud.

        Args:
            head: What comes before it: when and where.
            judgement: What was heard.
            width: Columns of the terminal.
            dim: Print it faintly, because it is past.
        """
        wide = width >= _WIDE
        line = Text(no_wrap=True, overflow="crop", end="", style="dim" if dim else "")
        line.append(head)
        emotion, widest = judgement.emotion, self._widest
        style = STYLES.get(emotion, "")
        line.append(f"  {self._tr(harmless(emotion)):<{widest}}", style)
        line.append(f" {judgement.confidence:4.0%} ")
        line.append(self._bar(judgement.confidence, 12 if wide else 6), style)
        level = f" {judgement.level_dbfs:4.0f} dB"
        if wide and not self._ascii_only:
            level = f" {height(judgement.level_dbfs)}{level}"
        others = sorted(
            (item for item in judgement.scores.items() if item[0] != emotion),
            key=lambda item: -item[1],
        )
        for name, score in others[:4]:
            if line.cell_len + widest + (11 if wide else 5) + len(level) > width:
                break
            line.append(f"  {self._tr(harmless(name)):<{widest}} ", "dim")
            if wide:
                line.append(self._bar(score, 5) + " ", STYLES.get(name, "") if not dim else "")
            line.append(f"{min(99, 100 * score):2.0f}", "dim")
        if line.cell_len + len(level) <= width:
            line.append(" " * (width - line.cell_len - len(level)) + level, "dim")
        line.truncate(width)
        return line

    def _bar(self, share: float, cells: int) -> str:
        return bar(share, cells, ascii_only=self._ascii_only)


class EventLines(Lines):
    """Makes a line of each event.

    Args:
        dates: Write dates too, not only times.
        ascii_only: Draw with what every terminal has.
        words: In whose language emotions are told.
    """

    def __init__(
        self, *, dates: bool = False, ascii_only: bool = False, words: Catalogue | None = None
    ) -> None:
        super().__init__(ascii_only=ascii_only, words=words)
        self._dates = dates
        self._nodes: dict[str, str] = {}

    def expect(self, node: str, title: str | None = None) -> None:
        """Make room for a node's name; it is only shown where there are several.

        Args:
            node: Its name.
            title: What people call it; None if that is not known.
        """
        if node in self._nodes or len(self._nodes) < _NODES_MAX:
            self._nodes[node] = title or self._nodes.get(node, node)

    def line(self, event: Event, width: int, *, dim: bool = False) -> Text:
        """When, where, the emotion, how sure, the next likely emotions, how loud.

        Args:
            event: The event.
            width: Columns of the terminal.
            dim: Print it faintly, because it is past.
        """
        self.expect(event.node)
        head = self._moment(event.started_at)
        if len(self._nodes) > 1:
            widest = min(max(map(len, self._nodes.values())), 16 if width >= _WIDE else 12)
            title = harmless(self._nodes.get(event.node, event.node))
            head += f"  {cut(title, widest):<{widest}}"
        return self.judged(head, event, width, dim=dim)

    def _moment(self, timestamp: str) -> str:
        local = datetime.fromisoformat(timestamp).astimezone()
        return local.strftime("%Y-%m-%d %H:%M:%S" if self._dates else "%H:%M:%S")


def cut(name: str, width: int, *, front: bool = False) -> str:
    """A name that is too long, with a mark where it was cut: at its end, or at its front."""
    if len(name) <= width:
        return name
    return f"~{name[len(name) - width + 1 :]}" if front else f"{name[: width - 1]}~"
