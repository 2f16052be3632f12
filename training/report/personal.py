"""Corrections by households: the table and the figure of docs/personal.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.plots import HARMFUL, HELPFUL, INK, SOFT, figure, label_lines, save, style
from training.probes.personal import CORRECTIONS
from training.report.markdown import table, title

if TYPE_CHECKING:
    from pathlib import Path

    from training.probes.personal import Situation


_WORDS: dict[Situation, str] = {
    "all": "every mistake corrected",
    "third": "three mistakes of ten corrected",
    "not": 'only "not that"',
    "wrong": "a fifth of the corrections wrong",
    "random": "all corrections random",
    "neutral": "seven of ten utterances neutral",
}


_BEGIN, _END = "<!-- probe: begin -->", "<!-- probe: end -->"


def lines(found: dict[str, Any]) -> list[str]:
    """The key figures, a line each, for the terminal."""
    shown = []
    if "temperature" in found:
        shown.append(f"temperature that predicts best: {found['temperature']}")
    for corpus, of_corpus in found["test"].items():
        for voices, of_voices in of_corpus.items():
            for situation, one in of_voices.items():
                points = "  ".join(
                    f"{key}: {100 * one[key]['mean']:+.1f} (worse {one[key]['worse']:.0%}, "
                    f"ECE {one[key]['ece_before']:.3f} to {one[key]['ece']:.3f})"
                    for key in (*map(str, CORRECTIONS), "end")
                    if key in one
                )
                shown.append(f"{corpus}, {voices} voices, {situation}: {one['uar']:.3f}  {points}")
    if "ordinary" in found:
        rates = found["ordinary"]["corrections"]
        points = ", ".join(f"{key}: {one['events_per_hour']:.0f}" for key, one in rates.items())
        shown.append(f"ordinary speech, false emotional events an hour: {points}")
    return shown


def in_page(page: str, found: dict[str, Any]) -> str:
    """A page with the table between its two markers replaced.

    Args:
        page: Its text, with ``<!-- probe: begin -->`` and ``<!-- probe: end -->``.
        found: The result of :func:`training.probes.personal.probe_personal`, with ``model``.
    """
    head, _, rest = page.partition(_BEGIN)
    _, mark, tail = rest.partition(_END)
    return f"{head}{_BEGIN}\n{_table(found)}\n{mark}{tail}" if mark else page


def _table(found: dict[str, Any]) -> str:
    model = found["model"]
    about = (
        f"Model {model['name']} {model['version']}, test speakers of fold {found['fold']}; gain in "
        "UAR in points (mean ± spread over households; in brackets the share that ended below "
        "where it began)."
    )
    rows = []
    for corpus, of_corpus in found["test"].items():
        for voices, of_voices in of_corpus.items():
            for situation, one in of_voices.items():
                if situation != "all" and (corpus != "crema_d" or voices == "1"):
                    continue
                people = "1 person" if voices == "1" else f"{voices} people"
                words = "" if situation == "all" else f", {_WORDS[situation]}"
                cells = [
                    f"{title(corpus)}, {people}{words}",
                    f"{100 * one['uar']:.1f}",
                    *(_gain(one.get(key)) for key in (*map(str, CORRECTIONS), "end")),
                    _calibration(one.get("end")),
                ]
                rows.append(cells)
    header = ("household", "before", "5 corrections", "20", "40", "all", "calibration error, all")
    parts = [about, table(header, rows)]
    if "ordinary" in found:
        rates = found["ordinary"]["corrections"]
        said = ", ".join(
            f"{one['events_per_hour']:.0f} ± {one['sd']:.0f} after {key}" if key != "0" else
            f"{one['events_per_hour']:.0f} ± {one['sd']:.0f} without corrections"
            for key, one in rates.items()
        )  # fmt: skip
        count = len(found["ordinary"]["sources"])
        sources = f"{count} source" if count == 1 else f"{count} sources"
        text = (
            f"Ordinary speech, nobody acting ({sources}), false emotional events in an "
            f"hour of speech, each utterance on its own: {said}."
        )
        parts.append(text)
    return "\n\n".join(parts)


def _gain(point: dict[str, Any] | None) -> str:
    if point is None:
        return "-"
    return f"{100 * point['mean']:+.1f} ± {100 * point['sd']:.1f} ({point['worse']:.0%})"


def _calibration(point: dict[str, Any] | None) -> str:
    return "-" if point is None else f"{point['ece_before']:.3f} to {point['ece']:.3f}"


def draw(found: dict[str, Any], path: Path) -> list[Path]:
    """Plot the gain from corrections: a panel for each corpus, a line for each situation.

    Args:
        found: The result of :func:`training.probes.personal.probe_personal`.
        path: Without a suffix.

    Returns:
        The files written, PNG and SVG.
    """
    looks = {
        "all": (HELPFUL[0], "o", "-"),
        "third": (HELPFUL[1], "s", "-"),
        "not": (HELPFUL[2], "^", "-"),
        "neutral": (HELPFUL[3], "D", "-"),
        "wrong": (HARMFUL[0], "v", "--"),
        "random": (HARMFUL[1], "X", "--"),
    }
    columns = 2
    lines = -(-len(found["test"]) // columns)
    with style():
        made = figure(9.5, 3.0 * lines)
        grid = made.subplots(lines, columns, sharey=True, squeeze=False)
        for panel in grid.flat[len(found["test"]) :]:
            panel.set_axis_off()
        for panel, (corpus, of_corpus) in zip(grid.flat, found["test"].items(), strict=False):
            ends = []
            people = max(of_corpus, key=int)
            for situation, one in of_corpus[people].items():
                colour, marker, dashes = looks[situation]
                known = [key for key in CORRECTIONS if str(key) in one]
                gains = [0.0, *(100 * one[str(key)]["mean"] for key in known)]
                spread = [0.0, *(100 * one[str(key)]["sd"] for key in known)]
                places = [0, *known]
                if "end" in one and one["corrections"] > (known[-1] if known else 0):
                    places.append(one["corrections"])
                    gains.append(100 * one["end"]["mean"])
                    spread.append(100 * one["end"]["sd"])
                panel.plot(
                    places, gains, marker=marker, markersize=4, color=colour, linestyle=dashes
                )
                ends.append((places[-1], gains[-1], _WORDS[situation], colour))
                if situation == "all":
                    low = [gain - sd for gain, sd in zip(gains, spread, strict=True)]
                    high = [gain + sd for gain, sd in zip(gains, spread, strict=True)]
                    panel.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)
            panel.axhline(0, color=SOFT, linewidth=1)
            panel.set_title(f"{title(corpus)}, households of {people}", color=INK)
            panel.set_xlabel("corrections")
            last = max(end[0] for end in ends)
            ends = [(last, y, words, colour) for _, y, words, colour in ends]
            label_lines(panel, ends, least=2.4, size=8)
        for panel in grid[:, 0]:
            panel.set_ylabel("gain in UAR, points")
        return save(made, path)
