"""Pictures of the published systems' figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.baselines import SYSTEMS
from training.baselines.table import group, mean_and_spread
from training.pictures import (
    INK,
    OTHERS,
    SERD,
    SOFT,
    TRAINING,
    VALIDATION,
    figure,
    matrix,
    save,
    style,
)

if TYPE_CHECKING:
    from pathlib import Path

    from training.baselines.results import Figures
    from training.baselines.table import Grouped

_SERD = "serd"


@style()
def draw(figures: Figures, folder: Path) -> list[Path]:
    """Accuracies, confusion matrices and curves, each as PNG and SVG.

    Returns:
        The files written.
    """
    grouped = group(figures)
    written = _accuracies(grouped, folder)
    written += _confusions(grouped, folder)
    return written + _curves(grouped, folder)


def _accuracies(grouped: Grouped, folder: Path) -> list[Path]:
    """A pair of bars for each system, the best on new speakers first; serd in its colour."""
    names = [name for name in SYSTEMS if any(key[0] == name for key in grouped)]
    means = {
        (name, protocol): mean_and_spread([100 * one.accuracy for one in results])
        for name, protocol in grouped
        if (results := grouped[name, protocol])
    }
    names.sort(key=lambda name: -means.get((name, "speakers"), (0.0, 0.0))[0])
    chart = figure(8.5, 1.4 + 0.46 * len(names))
    axes = chart.subplots()
    for place, name in enumerate(names):
        for protocol, offset, filled in (("random", 0.2, False), ("speakers", -0.2, True)):
            if (name, protocol) not in means:
                continue
            mean, some = means[name, protocol]
            spread = some or 0.0
            colour = SERD if name == _SERD else OTHERS
            axes.barh(
                place + offset, mean, 0.38, color=colour if filled else "white", edgecolor=colour,
                hatch=None if filled else "////", linewidth=1,
                xerr=spread, error_kw={"lw": 1, "ecolor": INK},
            )  # fmt: skip
            stated = SYSTEMS[name].about.published if protocol == "random" else None
            clear = max(mean + spread, 100 * (stated or 0.0))
            axes.text(
                clear + 1, place + offset, f"{mean:.0f}", va="center", fontsize=8,
                color=INK, fontweight="bold" if filled else "normal",
            )  # fmt: skip
        if (stated := SYSTEMS[name].about.published) is not None:
            axes.plot(100 * stated, place + 0.2, "|", ms=12, mew=2.5, color=INK)
        chance = 100 / len(SYSTEMS[name].about.emotions)
        axes.vlines(chance, place - 0.45, place + 0.45, color=INK, linestyle=":", linewidth=1.4)
    axes.annotate(
        "chance", (12.5, -0.47), xytext=(0, 3), textcoords="offset points", ha="center",
        fontsize=9, color=INK,
    )  # fmt: skip
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == _SERD:
            label.set(color=SERD, fontweight="bold")
    axes.set(xlim=(0, 100), xlabel="accuracy on RAVDESS, % (mean; whiskers: standard deviation)")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    chart.legend(handles=_keys(), loc="outside upper left", ncols=3, fontsize=9)
    return save(chart, folder / "baselines-accuracy")


def _keys() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=OTHERS, edgecolor=OTHERS, label="speakers never heard"),
        Patch(facecolor="white", edgecolor=OTHERS, hatch="////",
              label="random split: speakers on both sides"),
        Line2D([], [], ls="", marker="|", ms=12, mew=2.5, color=INK, label="published"),
    ]  # fmt: skip


def _label(name: str) -> str:
    classes = len(SYSTEMS[name].about.emotions)
    return name if classes == 8 else f"{name}\n({classes} classes)"


def _confusions(grouped: Grouped, folder: Path) -> list[Path]:
    names = [name for name in SYSTEMS if (name, "speakers") in grouped]
    columns = 3
    rows = -(-len(names) // columns)
    if not rows:
        return []
    chart = figure(3.3 * columns, 3.2 * rows)
    grid = chart.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        counts = np.sum([one.confusion for one in grouped[name, "speakers"]], axis=0)
        labels = list(SYSTEMS[name].about.emotions)
        matrix(axes, counts, labels, labels, small=7)
        axes.set_title(name, color=SERD if name == _SERD else INK)
        axes.set_xlabel("predicted emotion", fontsize=8)
        axes.set_ylabel("true emotion", fontsize=8)
    chart.suptitle("% of each true emotion's clips", fontsize=10, x=0.01, ha="left")
    return save(chart, folder / "baselines-confusion")


def _curves(grouped: Grouped, folder: Path) -> list[Path]:
    first = {
        name: grouped[name, "random"][0].curves
        for name in SYSTEMS
        if grouped.get((name, "random")) and grouped[name, "random"][0].curves
    }
    if not first:
        return []
    columns = 4
    rows = -(-len(first) // columns)
    chart = figure(2.6 * columns, 2.3 * rows)
    grid = chart.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(first) :]:
        axes.set_axis_off()
    for axes, (name, curves) in zip(grid.flat, first.items(), strict=False):
        _one_curve(axes, curves)
        axes.set_title(name, color=SERD if name == _SERD else INK)
        axes.tick_params(labelsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("share", fontsize=9)
    handles = [
        _line(TRAINING, "-", "training clips"),
        _line(VALIDATION, "-", "validation clips"),
        _line(SOFT, "-", "accuracy"),
        _line(SOFT, ":", "loss, as a share of its highest"),
    ]
    chart.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    return save(chart, folder / "baselines-curves")


def _one_curve(axes: Any, curves: Any) -> None:
    highest = max((max(values) for key, values in curves.items() if key == "loss"), default=1.0)
    for key, values in curves.items():
        colour = VALIDATION if key.startswith("val_") else TRAINING
        loss = key.endswith("loss")
        shown = np.minimum(np.array(values) / highest, 1.0) if loss else np.array(values)
        place = np.linspace(1 / len(values), 1.0, len(values))
        axes.plot(100 * place, shown, ls=":" if loss else "-", color=colour, lw=1.1)
    axes.set(ylim=(0, 1.02))
    axes.set_xlabel("training done, %", fontsize=9)


def _line(colour: str, style: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, ls=style, label=label)
