"""How figures look, those of serd, its training and its benchmarks: colours and settings."""

from __future__ import annotations

from typing import Any, Final

COLOURS: Final = {
    "neutral": "#737982",
    "calm": "#17858a",
    "happy": "#bd7d00",
    "sad": "#3f63bd",
    "angry": "#c43d38",
    "fearful": "#8a49ab",
    "disgust": "#558428",
    "surprised": "#cc5f14",
    "uncertain": "#85868a",
}
"""Colour of each emotion in every figure, as in the dashboard's light theme. The word always stands
beside it: nothing depends on colour alone."""

INK: Final = "#20242a"
SOFT: Final = "#5a616c"
LINE: Final = "#e1e2e5"

STYLE: Final[Any] = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    # The same data give the same file, which looks the same whatever fonts are installed.
    "svg.hashsalt": "serd",
    "svg.fonttype": "path",
}
"""matplotlib settings for every figure of serd, its training and its benchmarks."""
