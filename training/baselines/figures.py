"""Pictures of the published systems' figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.baselines import SYSTEMS
from training.baselines.table import group, mean_and_spread
from training.pictures import figure, save

if TYPE_CHECKING:
    from pathlib import Path

    from training.baselines.results import Figures
    from training.baselines.table import Grouped

RANDOM, SPEAKERS, PUBLISHED = "#b9c6d3", "#1f5f8b", "#c0392b"


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
    names = [name for name in SYSTEMS if any(key[0] == name for key in grouped)]
    chart = figure(8.5, 0.9 + 0.46 * len(names))
    axes = chart.subplots()
    for place, name in enumerate(names):
        for protocol, offset, colour, label in (
            ("random", -0.2, RANDOM, "random split: speakers on both sides"),
            ("speakers", 0.2, SPEAKERS, "speakers never heard"),
        ):
            results = grouped.get((name, protocol))
            if results:
                mean, spread = mean_and_spread([100 * one.accuracy for one in results])
                axes.barh(
                    place + offset,
                    mean,
                    0.38,
                    color=colour,
                    xerr=spread,
                    error_kw={"lw": 1, "ecolor": "#444444"},
                    label=label,
                )
        if (stated := SYSTEMS[name].about.published) is not None:
            axes.plot(100 * stated, place - 0.2, "|", ms=14, mew=2.5, color=PUBLISHED,
                      label="published")  # fmt: skip
    axes.axvline(12.5, color="#777777", lw=0.8, ls=":")
    axes.text(12.9, -0.42, "chance", fontsize=7, color="#777777")
    axes.set(yticks=range(len(names)), yticklabels=[_label(name) for name in names])
    axes.set(xlim=(0, 100), xlabel="accuracy, per cent (whiskers: standard deviation)")
    axes.invert_yaxis()
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", lw=0.4)
    axes.set_axisbelow(True)
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    chart.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=3, fontsize=8, frameon=False
    )
    return save(chart, folder / "baselines-accuracy")


def _label(name: str) -> str:
    classes = len(SYSTEMS[name].about.emotions)
    return name if classes == 8 else f"{name}\n({classes} classes)"


def _confusions(grouped: Grouped, folder: Path) -> list[Path]:
    names = [name for name in SYSTEMS if (name, "speakers") in grouped]
    columns = 4
    rows = -(-len(names) // columns)
    if not rows:
        return []
    chart = figure(2.7 * columns, 2.75 * rows)
    grid = chart.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        counts = np.sum([one.confusion for one in grouped[name, "speakers"]], axis=0)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        labels = [label[:4] for label in SYSTEMS[name].about.emotions]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, line in enumerate(shares):
            for column, share in enumerate(line):
                colour = "white" if share > 55 else "#333333"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=5.5,
                          color=colour)  # fmt: skip
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
        axes.set_yticks(range(len(labels)), labels, fontsize=6)
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
    chart = figure(2.9 * columns, 2.3 * rows)
    grid = chart.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(first) :]:
        axes.set_axis_off()
    for axes, (name, curves) in zip(grid.flat, first.items(), strict=False):
        _one_curve(axes, curves)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=6)
    handles = [
        _line(SPEAKERS, "-", "training"),
        _line(PUBLISHED, "-", "watched clips"),
        _line("#777777", "-", "accuracy"),
        _line("#777777", ":", "loss (scaled to 1)"),
    ]
    chart.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return save(chart, folder / "baselines-curves")


def _one_curve(axes: Any, curves: Any) -> None:
    highest = max((max(values) for key, values in curves.items() if key == "loss"), default=1.0)
    for key, values in curves.items():
        colour = PUBLISHED if key.startswith("val_") else SPEAKERS
        loss = key.endswith("loss")
        shown = np.minimum(np.array(values) / highest, 1.0) if loss else np.array(values)
        place = np.linspace(1 / len(values), 1.0, len(values))
        axes.plot(100 * place, shown, ls=":" if loss else "-", color=colour, lw=1.1)
    axes.set(ylim=(0, 1.02))
    axes.set_xlabel("per cent of the training", fontsize=6)
    axes.grid(lw=0.3)


def _line(colour: str, style: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, ls=style, label=label)
