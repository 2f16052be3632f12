"""The figures of a model card as PNG and SVG; the same data gives the same files."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from training.plots import (
    INK,
    SERD,
    SOFT,
    corpus_colour_and_marker,
    figure,
    label_lines,
    matrix,
    save,
    style,
)
from training.report import household
from training.report.markdown import title

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.report.sources import Sources

_WIDTH = 7.5
"""Inches; shown at 750 pixels."""
_FEWEST = 10
_SEED_MARKERS = ("o", "s", "^", "D", "v", "P")


def draw_all(sources: Sources, folder: Path) -> list[Path]:
    """Draw every figure for which there is data.

    Args:
        sources: Results of the model.
        folder: Created if necessary.

    Returns:
        The files.
    """
    written = []
    about = f"figures {digest(sources)}"
    for name, draw in PICTURES.items():
        with style():
            drawn = draw(sources)
            if drawn is not None:
                written += save(drawn, folder / name, about=about)
    return written


def digest(sources: Sources) -> str:
    """Digest of the data, stored in each SVG to detect outdated figures."""
    text = json.dumps([sources.release, sources.folds, sources.probes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _panels(height: float, columns: int, lines: int = 1, **options: Any) -> tuple[Any, list[Any]]:
    """A figure and its axes, row by row."""
    made = figure(_WIDTH, height)
    return made, list(made.subplots(lines, columns, squeeze=False, **options).flatten())


def _folds(sources: Sources) -> Any:
    """UAR of each run, a column for each fold, a line for their mean."""
    if sources.folds is None:
        return None
    corpora = [name for name in sources.corpora if sources.crossed(name)]
    if not corpora:
        return None
    folds, seeds = sources.folds["folds"], sources.folds["seeds"]
    made, axes = _panels(3.0, len(corpora), sharey=True)
    for axis, corpus in zip(axes, corpora, strict=True):
        colour, marker = corpus_colour_and_marker(corpus)
        for run in sources.folds["runs"]:
            place = seeds.index(run["seed"])
            axis.plot(
                run["fold"] + 0.16 * (place - (len(seeds) - 1) / 2),
                100 * run["figures"][corpus]["uar"],
                marker if len(seeds) == 1 else _SEED_MARKERS[place % len(_SEED_MARKERS)],
                color=colour,
                markersize=6,
            )
        mean = 100 * sources.crossed(corpus)["figures"]["uar"]["mean"]
        axis.axhline(mean, color=SOFT, linewidth=1, linestyle="--")
        axis.set_title(f"{title(corpus)}\nmean {mean:.1f} %")
        axis.set_xlabel("fold of speakers")
        axis.set_xticks(folds)
        axis.set_xlim(min(folds) - 0.5, max(folds) + 0.5)
        axis.set_ylim(0, 100)
        axis.grid(visible=False, axis="x")
    axes[0].set_ylabel("UAR on speakers never heard, %")
    if len(seeds) > 1:
        handles = [
            axes[0].plot([], [], _SEED_MARKERS[i % 6], color=SOFT, label=f"seed {seed}")[0]
            for i, seed in enumerate(seeds)
        ]
        made.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return made


def _speakers(sources: Sources) -> Any:
    """Accuracy of each test speaker, sorted."""
    corpora = [name for name in sources.corpora if sources.crossed(name).get("speakers")]
    if not corpora:
        return None
    made, axes = _panels(3.0, len(corpora), sharey=True)
    for axis, corpus in zip(axes, corpora, strict=True):
        colour, marker = corpus_colour_and_marker(corpus)
        people = sources.crossed(corpus)["speakers"]
        values = 100 * np.sort(list(people["accuracy"].values()))
        places = np.arange(1, len(values) + 1)
        axis.vlines(places, 0, values, color=colour, linewidth=1, alpha=0.35)
        axis.plot(places, values, marker, color=colour, markersize=4.5)
        axis.axhline(100 * people["mean"], color=SOFT, linewidth=1, linestyle="--")
        axis.set_title(f"{title(corpus)}\nmean {100 * people['mean']:.1f} %")
        axis.set_xlabel(f"{len(values)} speakers,\nworst first")
        axis.set_xticks([1, len(values)])
        axis.set_xlim(0.3, len(values) + 0.7)
        axis.set_ylim(0, 100)
        axis.grid(visible=False, axis="x")
    axes[0].set_ylabel("accuracy, % of a speaker's clips")
    return made


def _confusion(sources: Sources) -> Any:
    """What was acted and what was predicted, in percent of what was acted; all folds together."""
    corpora = sources.corpora
    lines = -(-len(corpora) // 2)
    made, axes = _panels(3.7 * lines, 2, lines)
    for axis in axes[len(corpora) :]:
        axis.set_axis_off()
    for axis, corpus in zip(axes, corpora, strict=False):
        one = sources.crossed(corpus) or sources.shipped(corpus)
        labels = one["labels"]
        counts = np.array(one["confusion"], dtype=np.float64)
        acted = [place for place in range(len(labels)) if counts[place].sum()]
        matrix(axis, counts[acted], [labels[place] for place in acted], labels)
        axis.set_title(f"{title(corpus)}, {counts.sum():.0f} clips")
        axis.set_xlabel("predicted emotion")
        axis.set_ylabel("true emotion")
    made.suptitle("% of each true emotion's clips", fontsize=10, x=0.01, ha="left")
    return made


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
    made = figure(_WIDTH, 3.8)
    axes = made.subplots(
        2, len(tables), squeeze=False, sharex=True, sharey="row", height_ratios=(4, 1)
    )
    for place, (corpus, found) in enumerate(tables.items()):
        colour, marker = corpus_colour_and_marker(corpus)
        clips, right = np.array(found["clips"]), np.array(found["right"])
        some = clips >= _FEWEST
        sure = np.array(found["confidence"])[some] / clips[some]
        above, below = axes[0, place], axes[1, place]
        above.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle="--")
        above.plot(
            100 * sure, 100 * right[some] / clips[some], "-", marker=marker, color=colour,
            markersize=5,
        )  # fmt: skip
        error = np.abs(right - np.array(found["confidence"])).sum() / clips.sum()
        above.set_title(f"{title(corpus)}\nECE {error:.3f}")
        above.set_xlim(0, 100)
        above.set_ylim(0, 100)
        below.bar(np.arange(5, 100, 10), 100 * clips / clips.sum(), width=9, color=colour)
        below.set_xlabel("confidence, %")
    axes[0, 0].text(8, 16, "perfect", rotation=48, color=SOFT, fontsize=8.5)
    axes[0, 0].set_ylabel("accuracy, %")
    axes[1, 0].set_ylabel("clips, %")
    return made


def _risk_coverage(sources: Sources) -> Any:
    """Share of mistakes among the most confident answers."""
    curves = {
        name: found
        for name in sources.corpora
        if (found := (sources.crossed(name) or sources.shipped(name)).get("risk_coverage"))
    }
    if not curves:
        return None
    made, (axis,) = _panels(3.6, 1)
    ends = []
    for corpus, risks in curves.items():
        colour, marker = corpus_colour_and_marker(corpus)
        shares = 100 * np.arange(1, len(risks) + 1) / len(risks)
        axis.plot(
            shares, 100 * np.array(risks), color=colour, marker=marker, markevery=5, markersize=5
        )
        ends.append((shares[-1], 100 * risks[-1], title(corpus), colour))
    axis.set_xlim(0, 100)
    axis.set_ylim(bottom=0)
    label_lines(axis, ends, least=0.06 * axis.get_ylim()[1])
    coverage = 100 * sources.release["recipe"]["coverage"]
    axis.axvline(coverage, color=SOFT, linewidth=1, linestyle="--")
    axis.annotate(
        "as shipped", (coverage, axis.get_ylim()[1]), xytext=(-4, -2), textcoords="offset points",
        ha="right", va="top", color=SOFT, fontsize=9,
    )  # fmt: skip
    axis.set_xlabel("coverage: share of clips answered, the most confident first, %")
    axis.set_ylabel("errors among them, %")
    return made


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
    made, (axis,) = _panels(3.4, 1)
    ends = []
    for place, corpus in enumerate(corpora):
        colour, marker = corpus_colour_and_marker(corpus)
        found = [
            sources.probe("robustness", "corpora", corpus, "conditions", name, "accuracy")
            for name, _ in conditions
        ]
        values = [np.nan if one is None else 100 * one.value for one in found]
        spreads = [0.0 if one is None else 100 * (one.folds_sd or 0.0) for one in found]
        places = np.arange(len(values)) + 0.05 * (place - (len(corpora) - 1) / 2)
        axis.errorbar(
            places, values, yerr=spreads if any(spreads) else None, color=colour, marker=marker,
            capsize=3,
        )  # fmt: skip
        known = [at for at, value in enumerate(values) if not np.isnan(value)]
        if known:
            ends.append((places[known[-1]], values[known[-1]], title(corpus), colour))
    axis.set_xticks(range(len(conditions)), [words for _, words in conditions])
    axis.set_xlim(-0.3, len(conditions) - 0.5)
    axis.set_xlabel("signal-to-noise ratio with everyday sounds in the background, dB")
    axis.set_ylabel("accuracy, %")
    axis.set_ylim(0, 100)
    label_lines(axis, ends, least=6)
    return made


def _adaptation(sources: Sources) -> Any:
    """UAR of one speaker's clips after so many others of the same voice."""
    methods = sources.probed("adaptation", "methods")
    heard = [one for one in sources.numbers("adaptation", "heard") if one is not None]
    if not methods or not heard:
        return None
    made, axes = _panels(3.4, len(methods), sharey=True)
    for axis, (method, found) in zip(axes, methods.items(), strict=True):
        ends = []
        for corpus in found["test"]["speaker"]:
            colour, marker = corpus_colour_and_marker(corpus)
            path = ("adaptation", "methods", method, "test", "speaker", corpus, "uar")
            values = [100 * one.value for one in sources.numbers(*path) if one is not None]
            axis.plot(range(len(values)), values, color=colour, marker=marker)
            if values:
                ends.append((len(values) - 1, values[-1], title(corpus), colour))
        axis.set_xticks(range(len(heard)), [f"{one.value:.0f}" for one in heard])
        axis.set_xlabel("utterances heard before")
        axis.set_title(f"by {method}")
        if axis is axes[-1]:
            axis.set_ylim(0, 100)
            label_lines(axis, ends, least=5.5)
    axes[0].set_ylabel("UAR, %")
    return made


def _operating(sources: Sources) -> Any:
    """Emotions recognised against false events; a line for each corpus."""
    found = household.operating(sources)
    if not found:
        return None
    made, (axis,) = _panels(3.8, 1)
    ends = []
    for corpus, points in found["curve"].items():
        colour, marker = corpus_colour_and_marker(corpus)
        axis.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4.5)
        ends.append((*points[-1], title(corpus), colour))
    axis.set_xlim(left=0.0)
    axis.set_ylim(bottom=0.0)
    top = axis.get_ylim()[1]
    label_lines(axis, ends, least=0.065 * top)
    for name, rate in found["settings"].items():
        axis.axvline(rate, color=SERD, linewidth=1, linestyle="--", zorder=1)
        axis.annotate(
            name, (rate, top), xytext=(0, 2), textcoords="offset points", ha="center", va="bottom",
            color=SERD, fontsize=9, fontweight="bold" if name == "normal" else "normal",
        )  # fmt: skip
    axis.set_xlabel("false emotional events per hour of ordinary speech, mean over folds")
    axis.set_ylabel("emotional clips recognised, %", color=INK)
    axis.set_title("Acted emotions recognised at each decision.sensitivity", pad=20)
    return made


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
"""By file name; a function returns None if there is no data."""
