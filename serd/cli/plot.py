"""A picture of past events: valence and arousal over time, and a strip of emotions.

matplotlib draws it; it is large, so it comes with the extra ``serd-emotion[plot]`` and is imported
only when a picture is asked for.
"""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from serd.errors import UnavailableError, UsageError
from serd.model.emotions import EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from serd.events.event import Event

COLOURS: Final = {
    "neutral": "#6e6e6e",
    "calm": "#1b9aaa",
    "happy": "#e0a100",
    "sad": "#2457b0",
    "angry": "#c8202f",
    "fearful": "#8e3fa8",
    "disgust": "#4b8b2b",
    "surprised": "#ef7d00",
    "uncertain": "#b9b9b9",
}
"""For a white background; every emotion also has its own row, so that colour is not needed."""

VALENCE: Final = "#2457b0"
AROUSAL: Final = "#c8502f"

NODES_MAX: Final = 6
"""Nodes drawn below each other; more would not be legible."""

FORMATS: Final = ("png", "svg", "pdf")

_SMOOTHINGS: Final = 60
"""The lines follow the events over this part of the time shown (at least the mood's half-life)."""

_GAP: Final = 8
"""A line breaks where nothing was heard for so many half-lives: it knows nothing there."""


def check_target(path: Path) -> None:
    """Complain about what cannot be drawn, before anything is read.

    Raises:
        UsageError: The name does not end in a format that can be drawn.
        UnavailableError: matplotlib is not installed.
    """
    if path.suffix.lower().lstrip(".") not in FORMATS:
        raise UsageError(
            f"--plot {path}: cannot draw {path.suffix or 'a file without an ending'}",
            remedy=f"let the name end in .{', .'.join(FORMATS)}",
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise UnavailableError(
            "--plot needs matplotlib, which is not installed",
            remedy="pip install 'serd-emotion[plot]'",
        )


def draw(events: Sequence[Event], path: Path, *, half_life_s: float) -> None:
    """Draw events into a file.

    Args:
        events: At least one, the oldest first.
        path: PNG, SVG or PDF, by its ending; replaced if it is there.
        half_life_s: Of the mood, in seconds: the lines are at least so smooth.

    Raises:
        UnavailableError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    nodes = [node for node, _ in Counter(event.node for event in events).most_common(NODES_MAX)]
    nodes.sort()
    figure = Figure(figsize=(12, 1.1 + 4.6 * len(nodes)), layout="constrained")
    heights = [3, 2.4] * len(nodes)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    moments = [_moment(event) for event in events]
    span = max(1.0, (moments[-1] - moments[0]).total_seconds())
    smooth = max(half_life_s, span / _SMOOTHINGS)
    for place, node in enumerate(nodes):
        own = [event for event in events if event.node == node]
        _draw_lines(axes[2 * place][0], own, node, smooth)
        _draw_strip(axes[2 * place + 1][0], own)
    _draw_times(axes[-1][0], moments)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="choose another place for --plot",
        ) from None


def _moment(event: Event) -> datetime:
    return datetime.fromisoformat(event.started_at).astimezone()


def _draw_lines(axes: Any, events: Sequence[Event], node: str, half_life_s: float) -> None:
    moments = [_moment(event) for event in events]
    sizes = [6 + 24 * event.confidence for event in events]
    for name, colour in (("valence", VALENCE), ("arousal", AROUSAL)):
        values = [getattr(event, name) for event in events]
        axes.scatter(moments, values, s=sizes, color=colour, alpha=0.25, linewidths=0)
        smoothed = _smoothed(moments, values, half_life_s)
        axes.plot(moments, smoothed, color=colour, linewidth=1.8, label=name)
    axes.axhline(0, color="#999999", linewidth=0.8)
    axes.set_ylim(-1, 1)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes.set_ylabel("-1 unpleasant or sleepy, 1 pleasant or aroused", fontsize=8)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", ncols=2, frameon=False)
    many = f"{len(events)} utterance{'' if len(events) == 1 else 's'}"
    axes.set_title(f"{node}: {many}", loc="left", fontsize=11, fontweight="bold")


def _draw_strip(axes: Any, events: Sequence[Event]) -> None:
    """A row for each emotion, a mark for each utterance."""
    rows = (*EMOTIONS, UNCERTAIN)
    counts = Counter(event.emotion for event in events)
    for row, emotion in enumerate(rows):
        moments = [_moment(event) for event in events if event.emotion == emotion]
        axes.plot(
            moments, [row] * len(moments), "|", color=COLOURS[emotion], markersize=9,
            markeredgewidth=1.6,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{emotion}  {counts[emotion]}" for emotion in rows])
    for label, emotion in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(COLOURS[emotion] if emotion != UNCERTAIN else "#777777")
        label.set_fontsize(9)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    axes.grid(axis="y", alpha=0.15)


def _draw_times(axes: Any, moments: Sequence[datetime]) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # it has no types
    zone = moments[0].tzinfo
    locator = dates.AutoDateLocator(tz=zone)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
    if moments[0] == moments[-1]:
        axes.set_xlim(moments[0] - timedelta(minutes=1), moments[0] + timedelta(minutes=1))
    axes.set_xlabel(f"local time ({moments[0].tzname()})", fontsize=9)


def _smoothed(
    moments: Sequence[datetime], values: Sequence[float], half_life_s: float
) -> list[float]:
    """Mean of what came before, an event counting half after the half-life; NaN after a gap."""
    smoothed: list[float] = []
    total = weight = 0.0
    before: datetime | None = None
    for moment, value in zip(moments, values, strict=True):
        past = 0.0 if before is None else (moment - before).total_seconds() / half_life_s
        fade = 0.5**past
        total, weight = total * fade + value, weight * fade + 1
        smoothed.append(math.nan if past > _GAP else total / weight)
        before = moment
    return smoothed
