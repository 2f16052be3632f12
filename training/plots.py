"""Figures without a screen: what `serd-train` and the benchmarks draw with.

One style (:data:`serd.style.STYLE`) and one meaning for each colour: the emotions have those of
:data:`serd.style.COLOURS`, and what is compared has those below. No colour is used for anything
else, and a marker, a dash or a word beside it always says the same.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from serd.style import COLOURS, INK, LINE, SOFT, STYLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["COLOURS", "INK", "LINE", "SOFT", "STYLE"]

DPI = 150
"""Dots an inch of every PNG."""

SERD, OTHERS = "#0072b2", "#9aa0a8"
"""serd against others."""

TRAINING, VALIDATION = INK, "#009e73"
"""Training and validation clips."""

CORPUS_COLOURS = {
    "ravdess": "#882255",
    "crema_d": "#332288",
    "nemo": "#44aa99",
    "emodb": "#999933",
    "tess": "#cc6677",
    "savee": "#88ccee",
}
"""Colours of the corpora: P. Tol's muted scheme, which is safe for colour-blind readers."""

CORPUS_MARKERS = {
    "ravdess": "D", "crema_d": "o", "nemo": "^", "emodb": "s", "tess": "v", "savee": "P",
}  # fmt: skip

HELPFUL, HARMFUL = ("#3d2080", "#5d3a9b", "#7f5fc0", "#9a7fd6"), ("#b34a00", "#d97b2b")
"""Right corrections, from many to few, and wrong ones."""


def corpus_colour_and_marker(corpus: str) -> tuple[str, str]:
    """Colour and marker of a corpus, the same in every figure; unknown ones are grey."""
    return CORPUS_COLOURS.get(corpus, SOFT), CORPUS_MARKERS.get(corpus, "X")


@contextmanager
def style() -> Iterator[None]:
    """Context for drawing and saving; matplotlib reads some settings only on saving."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def figure(width: float, height: float) -> Any:
    """An empty ``matplotlib.figure.Figure`` of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style():
        # Without pyplot: no global state, no window system, nothing to close.
        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        return made


def save(made: Any, path: Path, *, about: str = "") -> list[Path]:
    """Write a figure as PNG and SVG; the same figure gives the same files.

    Args:
        made: A figure from :func:`figure`.
        path: Without a suffix.
        about: Description in the SVG.

    Returns:
        The files written.
    """
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    png, svg = path.parent / f"{path.name}.png", path.parent / f"{path.name}.svg"
    with style():
        made.savefig(png, dpi=DPI, metadata={"Software": None})
        told = {"Description": about} if about else {}
        made.savefig(svg, metadata={"Date": None, "Creator": None, **told})
    # 256 colours take a quarter of the bytes, without a visible difference.
    with Image.open(png) as picture:
        few = picture.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(png, optimize=True, dpi=(DPI, DPI))
    return [png, svg]


def apart(heights: Sequence[float], least: float) -> list[float]:
    """Heights for labels that would cover each other, moved apart by at least so much.

    Args:
        heights: Where the labels belong.
        least: Of the distance between two.

    Returns:
        Where to put them, in the same order.
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for _ in range(50):
        for low, high in pairwise(order):
            short = least - (moved[high] - moved[low])
            if short > 1e-9:
                moved[low] -= short / 2
                moved[high] += short / 2
    return moved


def label_lines(
    axes: Any, ends: Sequence[tuple[float, float, str, str]], *, least: float, size: float = 9.0
) -> None:
    """Write each line's name beside its end, in its colour, none over another.

    Args:
        axes: Where the lines are.
        ends: Of each line: x, y, its name, its colour.
        least: Distance between two names, in units of y.
        size: Of the letters, in points.
    """
    for (x, _, name, colour), y in zip(ends, apart([one[1] for one in ends], least), strict=True):
        axes.annotate(
            name, (x, y), xytext=(7, 0), textcoords="offset points", va="center", color=colour,
            fontsize=size, fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def matrix(
    axes: Any, counts: Any, rows: Sequence[str], columns: Sequence[str], *, small: float = 8.0
) -> None:
    """A confusion matrix: every cell filled and labelled in percent of its row.

    Args:
        axes: Where it goes.
        counts: ``[rows, columns]``.
        rows: True emotions.
        columns: Predicted ones.
        small: Size of the figures in points.
    """
    import numpy as np

    counts = np.asarray(counts, dtype=np.float64)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, values in enumerate(shares):
        for column, value in enumerate(values):
            same = rows[row] == columns[column]
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=small,
                fontweight="bold" if same else "normal",
                color="white" if value > 55 else INK if value >= 0.5 else OTHERS,
            )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=small)
    axes.set_yticks(range(len(rows)), rows, fontsize=small)
    for labels, names in ((axes.get_xticklabels(), columns), (axes.get_yticklabels(), rows)):
        for label, name in zip(labels, names, strict=True):
            label.set_color(COLOURS.get(name, INK))
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(visible=True, which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
