"""docs/baselines.md and its figures, from the results and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.baselines import SYSTEMS
from training.baselines.results import group, mean_and_spread
from training.baselines.runner import FOLDS
from training.plots import (
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
from training.report.markdown import table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.baselines.results import Figures, Grouped
    from training.baselines.system import About

CLOSE = 0.02
"""A reproduced figure within so much of the published one needs no explanation."""

_HEAD = """\
# Published small systems, and serd's network beside them

Written by `serd-train baselines` from `training/results/baselines.json`; do not edit.

Tutorials and notebooks on speech emotion recognition report 42 to 79 % on RAVDESS. Here their
systems are built again as their authors described them, mistakes included (in
`training/baselines`), and trained twice:

- **random**: on the author's own split. Clips are assigned at random, so every speaker and both
  sentences are on both sides. These figures are too good: at home, no voice has been trained on.
- **speakers**: on the five folds that several papers share. Test speakers are used neither for
  training nor for choosing an epoch. This is the figure that matters.
"""

_CURVES = """\
The curves are those of the first seed on the random split, where the clips that are watched are the
test clips.
"""

_CONFUSIONS = """\
On held-out speakers, all folds together: one row per acted emotion, one column per predicted
emotion,
in per cent of the row.
"""

_HOW = """\
- Random: the author's share and seed, then the seeds that follow it; the same number seeds the
  network. Files are in the order of their names. What order they had on the author's machine is not
  known, so not even the author's seed makes the author's split.
- Speakers: the folds of `training/folds/ravdess.json`. A system that keeps its best epoch chooses
  on three training speakers set aside; the others train on all of them.
- The last epoch counts unless the author says otherwise."""

_SPLITS = """\
The random column is only there for comparison with what was published. It is not a meaningful
result,
serd's included.
"""


def write_table(figures: Figures, page: Path) -> list[Path]:
    """Write the page, and draw its figures into the folder ``figures`` beside it.

    Returns:
        The files written.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(figures), encoding="utf-8")
    return [page, *draw(figures, page.parent / "figures")]


def render(figures: Figures) -> str:
    """The page as Markdown."""
    grouped = group(figures)
    parts = [
        _HEAD,
        _main_table(grouped),
        _reading(grouped),
        "![Accuracy of every system on both kinds of split](figures/baselines-accuracy.svg)\n",
        _SPLITS,
        "## Published and reproduced\n",
        _distances(grouped),
        "## How each was built\n",
        *(_notes(name, SYSTEMS[name].about) for name in SYSTEMS if name in _names(grouped)),
        "## Women and men, normal and strong\n",
        "Accuracy on held-out speakers, mean over the folds.\n",
        _groups(grouped),
        "## Confusions\n",
        _CONFUSIONS,
        "![Confusion matrices](figures/baselines-confusion.svg)\n",
        "## Curves\n",
        _CURVES,
        "![Loss and accuracy over the training](figures/baselines-curves.svg)\n",
        "## Measured\n",
        _measured(figures, grouped),
    ]
    return "\n".join(parts)


def _names(grouped: Grouped) -> set[str]:
    return {name for name, _ in grouped}


def _main_table(grouped: Grouped) -> str:
    rows: list[tuple[object, ...]] = []
    for name in SYSTEMS:
        about = SYSTEMS[name].about
        random, speakers = grouped.get((name, "random"), []), grouped.get((name, "speakers"), [])
        if not random and not speakers:
            rows.append(
                (
                    f"`{name}`",
                    _author(about),
                    _published(about),
                    "not run yet",
                    "",
                    "not run yet",
                    "",
                    "",
                )
            )
            continue
        own = name == "serd"
        accuracy, uar = (
            _pair([getattr(one, key) for one in speakers]) for key in ("accuracy", "uar")
        )
        rows.append(
            (
                f"**{name}**" if own else f"`{name}`",
                _author(about),
                "" if own else _published(about),
                _pair([one.accuracy for one in random]),
                len(random) or "",
                accuracy,
                uar,
                len(speakers) or "",
            )
        )
    three: dict[str, list[dict[str, float]]] = {
        protocol: [
            one.variants["of three"]
            for one in grouped.get(("serd", protocol), [])
            if "of three" in one.variants
        ]
        for protocol in ("random", "speakers")
    }
    if three["random"] or three["speakers"]:
        rows.append(
            (
                "**serd**, asked as `mlp-3` is",
                "this project, 2026",
                "",
                _pair([one["accuracy"] for one in three["random"]]),
                len(three["random"]) or "",
                *(_pair([one[key] for one in three["speakers"]]) for key in ("accuracy", "uar")),
                len(three["speakers"]) or "",
            )
        )
    header = ["system", "author", "published", "random: accuracy", "seeds"]
    header += ["speakers: accuracy", "speakers: UAR", "folds"]
    return table(header, rows) + "\n"


def _reading(grouped: Grouped) -> str:
    three = [name for name in SYSTEMS if len(SYSTEMS[name].about.emotions) == 3]
    text = (
        "Mean and standard deviation over seeds (random) or folds (speakers), one training each."
        f" Eight classes, chance 12.5 %; {', '.join(f'`{name}`' for name in three)} has three,"
        " chance 33 %. UAR: mean of the classes' recalls."
    )
    gaps = []
    for name in SYSTEMS:
        random, speakers = grouped.get((name, "random")), grouped.get((name, "speakers"))
        if random and speakers and name != "majority":
            gap = np.mean([r.accuracy for r in random]) - np.mean([s.accuracy for s in speakers])
            gaps.append((float(gap), name))
    if gaps:
        text += (
            f" The random split is worth {100 * min(gaps)[0]:.0f} (`{min(gaps)[1]}`) to"
            f" {100 * max(gaps)[0]:.0f} points (`{max(gaps)[1]}`)."
        )
    done = sum(len(results) for results in grouped.values())
    if done < 2 * FOLDS * len(SYSTEMS):
        text += (
            f" Of {2 * FOLDS * len(SYSTEMS)} trainings {done} are done; `serd-train baselines` goes"
            " on with the rest, and what stands on few of them is to be read so."
        )
    return (
        text + "\n\nThe model that serd ships has a deeper network, was trained on more corpora and"
        " taught by a larger network: its figures are in its [card](model-card.md).\n"
    )


def _distances(grouped: Grouped) -> str:
    lines = []
    for name, system in SYSTEMS.items():
        about, results = system.about, grouped.get((name, "random"), [])
        if not results or name == "serd":
            continue
        mean, _ = mean_and_spread([one.accuracy for one in results])
        same = [one.accuracy for one in results if one.task.number == 0]
        own_seed = f" ({_percent(same[0])} with the author's seed {about.seed})" if same else ""
        if about.published is None:
            text = f"{_percent(mean)}{own_seed}. Published: {about.published_note}."
            lines.append(f"- `{name}`: {text}")
            continue
        away = mean - about.published
        side = "above" if away > 0 else "below"
        text = f"{_percent(mean)}{own_seed}, {abs(100 * away):.1f} points {side} the published"
        text += f" {_percent(about.published)}"
        text += f" ({about.published_note})." if about.published_note else "."
        late = [one.curves["val_accuracy"][-5:] for one in results if "val_accuracy" in one.curves]
        if late and system.chooses:
            text += f" In the last fifth of the epochs {_percent(float(np.mean(late)))}."
        if away < -CLOSE:
            text += f" **Not reached.** Our guess: {about.guess or 'none.'}"
        elif away > CLOSE and about.guess:
            text += f" Our guess: {about.guess}"
        lines.append(f"- `{name}`: {text}")
    return "\n".join(lines) + "\n"


def _notes(name: str, about: About) -> str:
    rows = [f"**`{name}`** ({_author(about)}). {about.features[:1].upper()}{about.features[1:]};"]
    rows.append(f"{about.network}.")
    if about.mistakes:
        rows.append(f"*Kept, though wrong:* {about.mistakes}")
    if about.ours:
        rows.append(f"*Ours:* {about.ours}")
    return " ".join(rows) + "\n"


def _groups(grouped: Grouped) -> str:
    columns = {"f": "women", "m": "men", "normal": "normal", "strong": "strong"}
    rows = []
    for name in SYSTEMS:
        results = grouped.get((name, "speakers"), [])
        if results:
            means = [
                float(np.mean([one.by_group[key] for one in results if key in one.by_group] or [0]))
                for key in columns
            ]
            people = [share for one in results for share in one.by_speaker.values()]
            shown = [f"{100 * value:.1f}" for value in (*means, float(np.std(people)))]
            rows.append((f"`{name}`", *shown))
    return table(("system", *columns.values(), "SD between speakers"), rows) + "\n"


def _measured(figures: Figures, grouped: Grouped) -> str:
    leaks = [
        (name, int(np.mean([one.leaked for one in results])), results[0].clips["test"])
        for (name, protocol), results in grouped.items()
        if protocol == "random" and any(one.leaked for one in results)
    ]
    minutes = [
        (name, float(np.mean([one.minutes for one in grouped[key]])))
        for name in SYSTEMS
        if (key := (name, "random")) in grouped
    ]
    lines = [
        f"- {figures.corpus}, {figures.clips} clips; of what is published twice, one counts.",
        _HOW,
        *(
            f"- `{name}`: about {count} of {test} test items of the random split are copies of"
            " training clips."
            for name, count, test in sorted(leaks)
        ),
        "- Processor minutes of one training, one thread: "
        + ", ".join(f"`{name}` {value:.1f}" for name, value in minutes)
        + ".",
        "- " + ", ".join(f"{name} {version}" for name, version in figures.versions.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _author(about: About) -> str:
    return f"{about.author}, {about.year}"


def _published(about: About) -> str:
    return "none" if about.published is None else f"{100 * about.published:.1f}"


def _pair(values: Sequence[float]) -> str:
    if not values:
        return "not run yet"
    mean, spread = mean_and_spread(values)
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


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
