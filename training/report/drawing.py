"""The card's pictures: PNG to look at and SVG to enlarge, the same files from the same figures.

Colours are those of Okabe and Ito (2008), which people who see few colours can tell apart; beside
colour there is always a second difference, a marker or a place.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from training.report import household
from training.report.tables import title

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.report.sources import Sources

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_GREY = "#6b6b6b"
_FEWEST = 10
_STYLE: Any = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "serd",
    "svg.fonttype": "path",
    "path.sketch": None,
}


def draw_all(sources: Sources, folder: Path) -> list[Path]:
    """Draw every picture for which there are figures.

    Args:
        sources: What is known of the model.
        folder: Made if it is not there.

    Returns:
        The files.
    """
    import matplotlib as mpl

    written = []
    for name, draw in PICTURES.items():
        with mpl.rc_context(_STYLE):
            figure = draw(sources)
            if figure is not None:
                written += _save(figure, folder, name, digest(sources))
    return written


def digest(sources: Sources) -> str:
    """Of the figures; stands in each SVG, so that it shows whether a picture is out of date."""
    text = json.dumps([sources.release, sources.folds, sources.probes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _save(figure: Any, folder: Path, name: str, stamp: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    figure.savefig(png, dpi=200, metadata={"Software": None})
    about = {"Date": None, "Creator": None, "Description": f"figures {stamp}"}
    figure.savefig(svg, metadata=about)
    return [png, svg]


def _canvas(height: float, panels: int = 1, **options: Any) -> tuple[Any, list[Any]]:
    """A figure 7 inches wide, shown at 700 pixels, with panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False, **options)
    return figure, list(axes[0])


def _legend(figure: Any, axis: Any) -> None:
    """Below the panels, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _folds(sources: Sources) -> Any:
    """UAR of each run, a column for each fold, a line for their mean."""
    if sources.folds is None:
        return None
    corpora = [name for name in sources.corpora if sources.crossed(name)]
    if not corpora:
        return None
    figure, axes = _canvas(3.2, len(corpora), sharey=True)
    for axis, corpus in zip(axes, corpora, strict=True):
        for run in sources.folds["runs"]:
            place = sources.folds["seeds"].index(run["seed"])
            axis.plot(
                run["fold"] + 0.16 * (place - (len(sources.folds["seeds"]) - 1) / 2),
                100 * run["figures"][corpus]["uar"],
                _MARKERS[place % 6],
                color=_COLOURS[place % 6],
                markersize=5,
            )
        mean = 100 * sources.crossed(corpus)["figures"]["uar"]["mean"]
        axis.axhline(mean, color=_GREY, linewidth=1)
        axis.set_title(f"{title(corpus)}: mean {mean:.1f}")
        axis.set_xlabel("fold")
        axis.set_xticks(sources.folds["folds"])
        axis.grid(visible=False, axis="x")
    axes[0].set_ylabel("UAR, %")
    handles = [
        axes[0].plot([], [], _MARKERS[i % 6], color=_COLOURS[i % 6], label=f"seed {seed}")[0]
        for i, seed in enumerate(sources.folds["seeds"])
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _speakers(sources: Sources) -> Any:
    """Accuracy of each test speaker, sorted."""
    corpora = [name for name in sources.corpora if sources.crossed(name).get("speakers")]
    if not corpora:
        return None
    figure, axes = _canvas(3.2, len(corpora), sharey=True)
    for place, (axis, corpus) in enumerate(zip(axes, corpora, strict=True)):
        people = sources.crossed(corpus)["speakers"]
        values = 100 * np.sort(list(people["accuracy"].values()))
        axis.plot(
            np.arange(1, len(values) + 1), values, _MARKERS[place], color=_COLOURS[place], ms=4
        )
        axis.axhline(100 * people["mean"], color=_GREY, linewidth=1)
        axis.set_title(f"{title(corpus)}: {len(values)} people")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("speakers, worst first")
        axis.set_ylim(0, 100)
    axes[0].set_ylabel("accuracy, %")
    return figure


def _confusion(sources: Sources) -> Any:
    """What was acted and what was heard, in percent of what was acted; all folds together."""
    corpora = sources.corpora
    columns = 2
    lines = -(-len(corpora) // columns)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.6 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axis in axes[len(corpora) :]:
        axis.set_axis_off()
    for axis, corpus in zip(axes, corpora, strict=False):
        one = sources.crossed(corpus) or sources.shipped(corpus)
        labels = one["labels"]
        counts = np.array(one["confusion"], dtype=np.float64)
        acted = [place for place in range(len(labels)) if counts[place].sum()]
        shares = 100 * counts[acted] / counts[acted].sum(axis=1, keepdims=True)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for row, values in enumerate(shares):
            for column, value in enumerate(values):
                if value >= 0.5:
                    colour = "white" if value > 55 else "black"
                    axis.text(
                        column,
                        row,
                        f"{value:.0f}",
                        ha="center",
                        va="center",
                        color=colour,
                        size=8.5,
                    )
        axis.set_xticks(range(len(labels)), labels, rotation=45, ha="right", size=9)
        axis.set_yticks(range(len(acted)), [labels[place] for place in acted], size=9)
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        axis.set_title(f"{title(corpus)}, % of each row")
    return figure


def _reliability(sources: Sources) -> Any:
    """How often the model is right at each confidence; bars below say how often it is so sure.

    Confidences that fewer than ten clips have are left out above: of one clip 0 or 100 % are right.
    """
    tables = {
        name: found
        for name in sources.corpora
        if (found := (sources.crossed(name) or sources.shipped(name)).get("reliability"))
    }
    if not tables:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        2, len(tables), squeeze=False, sharex=True, sharey="row", height_ratios=(4, 1)
    )
    for place, (corpus, found) in enumerate(tables.items()):
        clips, right = np.array(found["clips"]), np.array(found["right"])
        some = clips >= _FEWEST
        sure = np.array(found["confidence"])[some] / clips[some]
        above, below = axes[0, place], axes[1, place]
        above.plot([0, 100], [0, 100], color=_GREY, linewidth=1, linestyle="--")
        above.plot(
            100 * sure, 100 * right[some] / clips[some], "-", marker=_MARKERS[place],
            color=_COLOURS[place], markersize=5,
        )  # fmt: skip
        error = np.abs(right - np.array(found["confidence"])).sum() / clips.sum()
        above.set_title(f"{title(corpus)}\nerror {error:.3f}")
        above.set_xlim(0, 100)
        above.set_ylim(0, 100)
        below.bar(np.arange(5, 100, 10), 100 * clips / clips.sum(), width=9, color=_COLOURS[place])
        below.set_xlabel("confidence, %")
    axes[0, 0].set_ylabel("right, %")
    axes[1, 0].set_ylabel("clips, %")
    return figure


def _risk_coverage(sources: Sources) -> Any:
    """Share of mistakes among the most confident answers."""
    curves = {
        name: found
        for name in sources.corpora
        if (found := (sources.crossed(name) or sources.shipped(name)).get("risk_coverage"))
    }
    if not curves:
        return None
    figure, (axis,) = _canvas(3.6)
    for place, (corpus, risks) in enumerate(curves.items()):
        shares = 100 * np.arange(1, len(risks) + 1) / len(risks)
        axis.plot(
            shares, 100 * np.array(risks), color=_COLOURS[place], marker=_MARKERS[place],
            markevery=5, markersize=5, label=title(corpus),
        )  # fmt: skip
    axis.axvline(100 * sources.release["recipe"]["coverage"], color=_GREY, linewidth=1, ls="--")
    axis.set_xlim(0, 100)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("share of clips decided, the surest first, %  (dashed: as shipped)")
    axis.set_ylabel("mistakes among them, %")
    _legend(figure, axis)
    return figure


def _noise(sources: Sources) -> Any:
    """Accuracy against the signal-to-noise ratio."""
    corpora = list(sources.probed("robustness", "corpora"))
    conditions = (
        ("clean", "clean"),
        ("noise-20db", "20"),
        ("noise-10db", "10"),
        ("noise-5db", "5"),
    )
    if not corpora:
        return None
    figure, (axis,) = _canvas(3.4)
    for place, corpus in enumerate(corpora):
        found = [
            sources.probe("robustness", "corpora", corpus, "conditions", name, "accuracy")
            for name, _ in conditions
        ]
        values = [np.nan if one is None else 100 * one.value for one in found]
        spreads = [0.0 if one is None else 100 * (one.folds_sd or 0.0) for one in found]
        axis.errorbar(
            np.arange(len(values)) + 0.05 * (place - (len(corpora) - 1) / 2), values, yerr=spreads,
            color=_COLOURS[place], marker=_MARKERS[place], capsize=3, label=title(corpus),
        )  # fmt: skip
    axis.set_xticks(range(len(conditions)), [words for _, words in conditions])
    axis.set_xlabel("everyday sounds in the background, SNR in dB")
    axis.set_ylabel("accuracy, %")
    axis.set_ylim(0, 100)
    _legend(figure, axis)
    return figure


def _adaptation(sources: Sources) -> Any:
    """UAR of one speaker's clips after so many others of the same voice."""
    methods = sources.probed("adaptation", "methods")
    heard = [one for one in sources.numbers("adaptation", "heard") if one is not None]
    if not methods or not heard:
        return None
    figure, axes = _canvas(3.4, len(methods), sharey=True)
    for axis, (method, found) in zip(axes, methods.items(), strict=True):
        for place, corpus in enumerate(found["test"]["speaker"]):
            path = ("adaptation", "methods", method, "test", "speaker", corpus, "uar")
            values = [100 * one.value for one in sources.numbers(*path) if one is not None]
            axis.plot(
                range(len(values)), values, color=_COLOURS[place], marker=_MARKERS[place],
                label=title(corpus),
            )  # fmt: skip
        axis.set_xticks(range(len(heard)), [f"{one.value:.0f}" for one in heard])
        axis.set_xlabel("utterances heard before")
        axis.set_title(f"by {method}")
    axes[0].set_ylabel("UAR, %")
    _legend(figure, axes[0])
    return figure


def _operating(sources: Sources) -> Any:
    return household.draw(sources, _canvas, _COLOURS, _MARKERS)


PICTURES: dict[str, Callable[[Sources], Any]] = {
    "operating": _operating,
    "folds": _folds,
    "speakers": _speakers,
    "confusion": _confusion,
    "reliability": _reliability,
    "risk-coverage": _risk_coverage,
    "noise": _noise,
    "adaptation": _adaptation,
}
"""Each by its file's name; None is returned where there are no figures."""
