"""Pictures without a screen: what `serd-train inspect` and `serd-train baselines` draw with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

DPI = 100


def figure(width: float, height: float) -> Any:
    """An empty ``matplotlib.figure.Figure`` of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot: nothing global, no window system, and nothing to close.
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made: Any, path: Path) -> list[Path]:
    """Write a figure as PNG and as SVG; the same figure gives the same PNG.

    Args:
        made: What :func:`figure` gave, drawn on.
        path: Without an ending.

    Returns:
        The files written.
    """
    import matplotlib as mpl
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    png, svg = path.parent / f"{path.name}.png", path.parent / f"{path.name}.svg"
    made.savefig(png, dpi=DPI, metadata={"Software": None})
    # Of 256 colours: a quarter of the bytes, and nobody sees it.
    with Image.open(png) as picture:
        few = picture.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(png, optimize=True, dpi=(DPI, DPI))
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        made.savefig(svg, dpi=DPI, metadata={"Date": None, "Creator": None})
    return [png, svg]
