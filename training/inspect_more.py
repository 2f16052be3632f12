"""Pictures of a corpus and of a training run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from serd.model.emotions import EMOTIONS
from training.pictures import (
    OTHERS,
    SOFT,
    TRAINING,
    VALIDATION,
    figure,
    matrix,
    save,
    style,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.corpora import Corpus
    from training.runs import Run

_SEXES = {"f": ("women", "#1b4f72"), "m": ("men", "#7fb3d5"), None: ("not known", OTHERS)}


@style()
def draw_corpus(corpus: Corpus, out: Path) -> list[Path]:
    """How many clips each class has, of women and of men; and how many each speaker has.

    Returns:
        The PNG and the SVG.
    """
    chart = figure(9.0, 3.8)
    classes, speakers = chart.subplots(1, 2, width_ratios=[1.4, 1])
    counts = Counter((clip.emotion, clip.sex) for clip in corpus.clips)
    names = [name for name in EMOTIONS if name in corpus.emotions]
    bottom = np.zeros(len(names))
    for sex, (label, colour) in _SEXES.items():
        heights = np.array([counts[name, sex] for name in names])
        if heights.any():
            classes.bar(names, heights, bottom=bottom, color=colour, label=label)
            bottom += heights
    for place, count in enumerate(bottom):
        classes.text(place, count, f"{count:.0f}", ha="center", va="bottom", fontsize=7)
    classes.set_ylim(0, 1.15 * bottom.max())
    classes.legend(fontsize=7, ncols=3, loc="upper right")
    classes.tick_params(axis="x", labelrotation=30)
    classes.set_title("Clips of each class", loc="left", fontsize=9)
    each = sorted(Counter(clip.speaker for clip in corpus.clips).values(), reverse=True)
    speakers.bar(range(1, len(each) + 1), each, color=SOFT, width=1.0)
    speakers.set_ylabel("clips", fontsize=8)
    classes.set_ylabel("clips", fontsize=8)
    speakers.set_title("Clips of each speaker, most first", loc="left", fontsize=9)
    speakers.set_xlabel(f"{len(each)} speakers", fontsize=8)
    for axes in (classes, speakers):
        axes.tick_params(labelsize=7)
    out_of = "; ".join(f"{count} {reason}" for reason, count in corpus.left_out.items())
    chart.suptitle(
        f"{corpus.title}: {len(corpus.clips)} clips ({corpus.licence})\n"
        f"left out: {out_of or 'nothing'}",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return save(chart, out)


@style()
def draw_run(run: Run, folder: Path) -> list[Path]:
    """Curves of a run, and the confusion matrices of its test if it has been evaluated.

    Returns:
        The files written.

    Raises:
        UsageError: It has not been trained.
    """
    curves: Sequence[dict[str, float]] = run.read("curves.json")
    chart = figure(9.0, 3.2)
    loss, accuracy = chart.subplots(1, 2)
    steps = [point["step"] for point in curves]
    loss.plot(steps, [point["loss"] for point in curves], color=TRAINING, marker=".")
    loss.set_title("Loss of the training batches", loc="left", fontsize=9)
    rate = loss.twinx()
    rate.plot(steps, [point["rate"] for point in curves], color=SOFT, lw=0.8, ls=":")
    rate.set_ylabel("learning rate (dotted)", fontsize=7)
    rate.tick_params(labelsize=6)
    for key, label, dashes in (
        ("validation_accuracy", "accuracy", "-"),
        ("validation_uar", "UAR", "--"),
    ):
        watched = [(point["step"], point[key]) for point in curves if key in point]
        if watched:
            where, share = zip(*watched, strict=True)
            accuracy.plot(where, share, dashes, marker=".", color=VALIDATION, label=label)
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("share", fontsize=8)
    loss.set_ylabel("loss", fontsize=8)
    accuracy.set_title("Validation speakers", loc="left", fontsize=9)
    if accuracy.get_legend_handles_labels()[0]:
        accuracy.legend(fontsize=8, loc="lower right")
    for axes in (loss, accuracy):
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(lw=0.3)
    written = save(chart, folder / "curves")
    if (run.folder / "metrics.json").is_file():
        found = run.read("metrics.json")
        written += _draw_confusions({**found["test"], **found["cross_corpus"]}, folder)
    return written


def _draw_confusions(figures: dict[str, Any], folder: Path) -> list[Path]:
    chart = figure(4.2 * len(figures), 4.2)
    row = chart.subplots(1, len(figures), squeeze=False)[0]
    for axes, (name, one) in zip(row, figures.items(), strict=True):
        matrix(axes, one["confusion"], one["labels"], one["labels"])
        axes.set_title(f"{name}: UAR {100 * one['uar']:.1f} %", fontsize=9, loc="left")
        axes.set_xlabel("predicted emotion", fontsize=8)
        axes.set_ylabel("true emotion", fontsize=8)
    return save(chart, folder / "confusion")
