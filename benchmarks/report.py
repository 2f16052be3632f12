"""Figures as a table, as Markdown, and as the chart in the README."""

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
    """The lowest and the highest value of all rounds."""
    return f"{number(row.value.low)} .. {number(row.value.high)}"


def verdict(row: Row) -> str:
    """met, missed, or empty if there is no goal."""
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
    """The table, and how it was measured."""
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
        path: The document.
        generated: The new content.
        begin: The line before it.
        end: The line after it.

    Raises:
        ValueError: If the document has no markers.
    """
    document = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(document):
        msg = f"{path} has no line {begin}"
        raise ValueError(msg)
    path.write_text(
        pattern.sub(lambda _: f"{begin}\n{generated}\n{end}", document), encoding="utf-8"
    )


def draw(result: dict[str, Any], path: Path) -> list[Path]:
    """Draw serd next to the other pipelines and, for CPU time, next to the bare arithmetic.

    Args:
        result: A result file's content, as `benchmarks.__main__` writes it.
        path: The picture, without a suffix.

    Returns:
        The files written, PNG and SVG.
    """
    from training.plots import INK, OTHERS, SERD, figure, save, style

    rounds = result["rounds"]
    names = {
        "serd": "serd",
        "tflite": "librosa + TFLite",
        "keras": "librosa + Keras",
        "floor": "arithmetic alone",
        "serd_alone": "serd, one detector",
    }

    def latency(name: str) -> list[float]:
        return [p50(f"{name}_latency_ms")(one) for one in rounds]

    def each(key: str) -> list[float]:
        return [float(one[key]) for one in rounds]

    three = ("serd", "tflite", "keras")
    panels: tuple[tuple[str, str, dict[str, list[float]]], ...] = (
        ("Latency", "end of speech to MQTT, ms", {name: latency(name) for name in three}),
        (
            "CPU",
            "for an hour of speech, s",
            {
                "floor": each("floor_all_cpu_s"),
                **{
                    name: each(f"{name}_hour_cpu_s")
                    for name in ("tflite", "serd_alone", "serd", "keras")
                    if f"{name}_hour_cpu_s" in rounds[0]
                },
            },
        ),
        (
            "Start",
            "until ready or the first result, s",
            {
                "serd": each("serd_ready_s"),
                **{name: each(f"{name}_first_s") for name in ("tflite", "keras")},
            },
        ),
        ("Memory", "peak RSS, MB", {name: each(f"{name}_rss_mb") for name in three}),
    )
    with style():
        made = figure(9.0, 4.2)
        axes = made.subplots(2, 2)
        for axis, (heading, unit, values) in zip(axes.flat, panels, strict=True):
            order = sorted(values, key=lambda name: median(values[name]))
            middles = [median(values[name]) for name in order]
            ends = [
                [middle - min(values[name]) for name, middle in zip(order, middles, strict=True)],
                [max(values[name]) - middle for name, middle in zip(order, middles, strict=True)],
            ]
            colours = [SERD if name in {"serd", "serd_alone"} else OTHERS for name in order]
            axis.barh(
                range(len(order)), middles, 0.62, color=colours, xerr=ends,
                error_kw={"lw": 1, "ecolor": INK},
            )  # fmt: skip
            highest = max(max(one) for one in values.values())
            for place, (name, middle) in enumerate(zip(order, middles, strict=True)):
                axis.text(
                    max(values[name]) + 0.02 * highest, place, number(middle), va="center",
                    fontweight="bold" if name == "serd" else "normal", color=INK, fontsize=9,
                )  # fmt: skip
            axis.set_yticks(range(len(order)), [names[name] for name in order])
            for label, name in zip(axis.get_yticklabels(), order, strict=True):
                if name == "serd":
                    label.set(color=SERD, fontweight="bold")
            axis.set_xlim(0, 1.14 * highest)
            axis.set_xlabel(unit)
            axis.set_title(f"{heading}: less is better")
            axis.invert_yaxis()
            axis.grid(visible=False, axis="y")
            axis.tick_params(axis="y", length=0)
        return save(made, path)
