"""Figures as a table, as Markdown, and as the picture that the README shows."""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks.goals import Row, p50, rows

if TYPE_CHECKING:
    from pathlib import Path

BEGIN: Final = "<!-- benchmark: begin (written by `make bench-report`) -->"
END: Final = "<!-- benchmark: end -->"


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def spread(row: Row) -> str:
    """From the least to the greatest round."""
    return f"{number(row.value.low)} .. {number(row.value.high)}"


def verdict(row: Row) -> str:
    """met, missed, or nothing where there is no goal."""
    return "" if row.met is None else "met" if row.met else "missed"


def text(result: dict[str, Any]) -> str:
    """The table for a terminal."""
    found = rows(result)
    lines = [f"{'':46} {'median':>9} {'spread':>18}  {'goal':<15}"]
    lines += [
        f"{row.what:46} {number(row.value.median):>9} {spread(row):>18}  {row.goal:<15} "
        f"{verdict(row):7} {row.unit}"
        for row in found
    ]
    return "\n".join(lines)


def markdown(result: dict[str, Any]) -> str:
    """The table and how it was measured."""
    machine, rounds = result["machine"], result["rounds"]
    measured = (
        f"Measured {result['date']} on {machine['model']} ({machine['cores']} cores, "
        f"{machine['architecture']}, {machine['system']}, Python {machine['python']}, numpy "
        f"{machine['numpy']}, {machine['runtime']}); {len(rounds)} rounds, interleaved"
        + (f", in {result['took_s'] / 60:.0f} minutes" if "took_s" in result else "")
        + "; load "
        f"average {result['load_before']:.1f} before and {result['load_after']:.1f} after"
        + (f", niceness {result['nice']}." if result["nice"] else ".")
    )
    lines = [
        measured,
        "",
        "| what | median | least .. greatest round | goal | |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {number(row.value.median)} {row.unit} | {spread(row)} | {row.goal} "
        f"| {verdict(row)} |"
        for row in rows(result)
    ]
    return "\n".join(lines)


def insert(path: Path, generated: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put generated Markdown between the markers of a document.

    Args:
        path: Of the document.
        generated: What belongs there.
        begin: The first marker, a line.
        end: The last one.

    Raises:
        ValueError: If it has no markers.
    """
    document = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(document):
        msg = f"{path} has no line {begin}"
        raise ValueError(msg)
    path.write_text(
        pattern.sub(lambda _: f"{begin}\n{generated}\n{end}", document), encoding="utf-8"
    )


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw serd beside the other pipelines, logarithmically.

    Args:
        result: As `benchmarks.__main__` writes it.
        path: Of the picture; its ending says the format.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "serd"  # the same figures give the same file
    from matplotlib import pyplot as plt

    rounds = result["rounds"]

    def middle(name: str) -> float:
        return float(median(one[name] for one in rounds))

    def latency(name: str) -> float:
        return float(median(p50(f"{name}_latency_ms")(one) for one in rounds))

    contenders = ("serd", "librosa + TFLite", "librosa + Keras")
    panels = (
        ("end of speech to MQTT, ms (log)", [latency(n) for n in ("serd", "tflite", "keras")]),
        (
            "CPU for an hour of speech, s (log)",
            [middle(f"{n}_hour_cpu_s") for n in ("serd", "tflite", "keras")],
        ),
        (
            "start, s (log)",
            [middle(n) for n in ("serd_ready_s", "tflite_first_s", "keras_first_s")],
        ),
        ("peak memory, MB (log)", [middle(f"{n}_rss_mb") for n in ("serd", "tflite", "keras")]),
    )
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.1), layout="constrained")
    for place, (axis, (title, values)) in enumerate(zip(axes, panels, strict=True)):
        colours = ["#2a7f62", "#b9b9b9", "#8c8c8c"]
        bars = axis.barh(contenders, values, color=colours)
        axis.bar_label(bars, [number(value) for value in values], padding=3, fontsize=9)
        axis.set_xscale("log")
        axis.set_xlim(min(values) / 3, max(values) * 5)
        axis.set_title(title, fontsize=9)
        axis.invert_yaxis()
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.set_xticks([], minor=True)
        axis.set_xticks([])
        if place:
            axis.set_yticks([])
        else:
            axis.tick_params(axis="y", labelsize=9, length=0)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=160)
    plt.close(figure)
