"""A plot of past events: valence and arousal over time, and a strip of emotions.

matplotlib is large, so it comes with the extra ``serd-emotion[plot]`` and is imported only when a
plot is drawn.
"""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from serd.errors import UnavailableError, UsageError
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.style import COLOURS, INK, SOFT, STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from serd.events.event import Event

NODES_MAX: Final = 6
"""Nodes drawn at most; more would not be legible."""

_DPI: Final = 100
_SCREEN: Final = 8.4
"""Total height in inches, to fit on a screen of 1080 lines."""

_ROOMY: Final = 3
"""Nodes up to which there is space for larger text."""

FORMATS: Final = ("png", "svg", "pdf")

_SMOOTHINGS: Final = 60
"""The lines are smoothed over this fraction of the time shown (at least the mood's half-life)."""

_GAP: Final = 8
"""A line breaks after this many half-lives without an event."""


def check_target(path: Path) -> None:
    """Check, before anything is read, that a plot can be drawn.

    Raises:
        UsageError: The file's suffix is not a supported format.
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
    """Plot events to a file.

    Args:
        events: At least one, the oldest first.
        path: PNG, SVG or PDF, by its suffix; overwritten if it exists.
        half_life_s: Half-life of the mood in seconds, the minimum smoothing of the lines.

    Raises:
        UnavailableError: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    nodes = [node for node, _ in Counter(event.node for event in events).most_common(NODES_MAX)]
    nodes.sort()
    moments = [_moment(event) for event in events]
    span = max(1.0, (moments[-1] - moments[0]).total_seconds())
    smooth = max(half_life_s, span / _SMOOTHINGS)
    occurring = {event.emotion for event in events}
    rows = [emotion for emotion in (*EMOTIONS, UNCERTAIN) if emotion in occurring]
    with mpl.rc_context(STYLE):
        height = 0.6 + min(4.0, _SCREEN / len(nodes)) * len(nodes)
        figure = Figure(figsize=(12, height), layout="constrained")
        engine: Any = figure.get_layout_engine()
        engine.set(h_pad=0.02, hspace=0.02)
        heights = [2, 3] * len(nodes)
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        small = 9.0 if len(nodes) <= _ROOMY else 6.5
        for place, node in enumerate(nodes):
            own = [event for event in events if event.node == node]
            _draw_lines(axes[2 * place][0], own, node, smooth, small)
            _draw_strip(axes[2 * place + 1][0], own, rows, small)
        _draw_times(axes[-1][0], moments)
        try:
            figure.savefig(path, dpi=_DPI)
        except OSError as error:
            raise UnavailableError(
                f"{path} cannot be written: {error.strerror or error}",
                remedy="choose another place for --plot",
            ) from None


def _moment(event: Event) -> datetime:
    return datetime.fromisoformat(event.started_at).astimezone()


def _draw_lines(
    axes: Any, events: Sequence[Event], node: str, half_life_s: float, small: float
) -> None:
    """Valence and arousal, distinguished by line style and label."""
    moments = [_moment(event) for event in events]
    for name, colour, dashes, marker in (
        ("valence", INK, "-", "o"),
        ("arousal", SOFT, (0, (4, 2)), "^"),
    ):
        values = [getattr(event, name) for event in events]
        axes.scatter(moments, values, s=9, color=colour, marker=marker, alpha=0.25, linewidths=0)
        smoothed = _smoothed(moments, values, half_life_s)
        axes.plot(moments, smoothed, color=colour, linestyle=dashes, linewidth=1.5, label=name)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set_ylim(-1.1, 1.1)
    axes.set_yticks([-1, 0, 1])
    axes.tick_params(axis="y", labelsize=small)
    axes.set_ylabel("-1 to 1", fontsize=small)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, fontsize=9, borderpad=0)
    many = f"{len(events)} utterance{'' if len(events) == 1 else 's'}"
    axes.set_title(f"{node}: {many}", pad=4)


def _draw_strip(axes: Any, events: Sequence[Event], rows: Sequence[str], small: float) -> None:
    """A row for each emotion, a mark for each utterance."""
    counts = Counter(event.emotion for event in events)
    for row, emotion in enumerate(rows):
        moments = [_moment(event) for event in events if event.emotion == emotion]
        axes.plot(
            moments, [row] * len(moments), "|", color=COLOURS[emotion], markersize=small,
            markeredgewidth=1.6,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{emotion}  {counts[emotion]}" for emotion in rows])
    for label, emotion in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(COLOURS[emotion])
        label.set_fontsize(small)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _draw_times(axes: Any, moments: Sequence[datetime]) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # it has no types
    zone = moments[0].tzinfo
    locator = dates.AutoDateLocator(tz=zone)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
    if moments[0] == moments[-1]:
        axes.set_xlim(moments[0] - timedelta(minutes=1), moments[0] + timedelta(minutes=1))
    axes.set_xlabel(f"local time ({moments[0].tzname()})")


def _smoothed(
    moments: Sequence[datetime], values: Sequence[float], half_life_s: float
) -> list[float]:
    """Exponentially weighted mean, halving every half-life; NaN after a gap."""
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
