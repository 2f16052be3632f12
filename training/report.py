"""The model card: a page about a released model, made from its run's figures and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from serd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_NAMES = {"ravdess": "RAVDESS", "crema_d": "CREMA-D", "emodb": "EMO-DB"}

_USE = """\
## What it is for

Telling, on a small computer in a home, roughly in what tone somebody speaks: to dim a light, to
draw a room's mood over a day, to play with. It hears at most three seconds at a time and answers
with eight probabilities, or with `uncertain` where they say too little.

## What it is not for

- Decisions about people: hiring, schooling, policing, insurance, diagnosis, care. In the European
  Union, emotion recognition at work and in education is prohibited (Regulation 2024/1689, article
  5).
- Knowing what somebody feels. It learned how actors sound when they are asked to sound angry or
  sad. How people sound when they are is another matter, and differs between people and cultures.
- Listening to people who have not agreed to it.
- Languages and ways of speaking other than acted North American English, without measuring first:
  see the corpus it never trained on, below.
"""

_LIMITS = """\
## Limits

- All training speech is acted, in quiet rooms, by adults, in North American English; RAVDESS has
  two sentences only. Expect less in a living room than in the tables.
- Calm speech exists in RAVDESS alone, and so does surprise.
- Speakers differ more than models do: see the spread between speakers.
- Confidence is calibrated on speakers of the training corpora. On other speech it is too high.
- A score of one fold with a few test speakers is uncertain by several points.
"""


QUOTE_BEGIN = "<!-- figures: begin (written by `serd-train report`) -->"
QUOTE_END = "<!-- figures: end -->"

_LISTENERS = {"ravdess": "62.4 %", "crema_d": "40.9 %"}
"""Accuracy of people on the same recordings, by voice alone. RAVDESS: Livingstone and Russo 2018
(PLoS ONE 13(5) e0196391); CREMA-D: Cao and others 2014 (PMC4313618)."""


def quote(figures: dict[str, Any]) -> str:
    """The few figures that README shows, as a Markdown table.

    Args:
        figures: What a run's ``metrics.json`` holds.
    """
    rows = [
        (
            _name(corpus) + ("" if corpus in figures["test"] else ", never trained on"),
            f"{len(one['speakers'])} / {one['clips']}",
            len(one["classes"]),
            f"**{one['uar']:.1%}**",
            f"{one['accuracy']:.1%}",
            f"{one['decided_accuracy']:.1%} of {one['decided_share']:.0%}",
            _LISTENERS.get(corpus, ""),
        )
        for corpus, one in _every(figures)
    ]
    header = ["speakers never heard in training", "speakers / clips", "classes", "UAR", "accuracy"]
    header += ["accuracy where it decides", "people, by voice alone"]
    return _table(header, rows)


def write_quote(figures: dict[str, Any], readme: Path) -> bool:
    """Put the figures between README's two marks.

    Args:
        figures: What a run's ``metrics.json`` holds.
        readme: The file.

    Returns:
        Whether it is a file with both marks.
    """
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    before, begin, rest = text.partition(QUOTE_BEGIN)
    _, end, after = rest.partition(QUOTE_END)
    if not begin or not end:
        return False
    written = f"{before}{begin}\n\n{quote(figures)}\n\n{end}{after}"
    readme.write_text(written, encoding="utf-8")
    return True


def write_card(source: Path, out: Path) -> Path:
    """Write the model card.

    Args:
        source: A run's ``metrics.json`` or a release's copy of it.
        out: The Markdown file to write.

    Returns:
        ``out``.

    Raises:
        InputError: The figures are not there or not readable.
    """
    try:
        figures = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"No figures at {source}", remedy="serd-train evaluate") from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(card(figures), encoding="utf-8")
    return out


def card(figures: dict[str, Any]) -> str:
    """The model card as Markdown.

    Args:
        figures: What a run's ``metrics.json`` holds.
    """
    parts = [
        _head(figures),
        _USE,
        _data(figures),
        _teacher(figures),
        _protocol(figures),
        _headline(figures),
        _details(figures),
        _LIMITS,
        _reproduction(figures),
    ]
    return "\n".join(parts)


def _head(figures: dict[str, Any]) -> str:
    model, run = figures["model"], figures["run"]
    clean = "" if run["git_clean"] else ", with changes"
    return f"""\
# Model card: {model["name"]} {model["version"]}

Written by `serd-train report` from the figures of the run that made the model; do not edit.

{figures["recipe"]["about"]}. A convolutional network on {_shape(figures)} MFCCs, full-integer int8,
{model["bytes"]} bytes with its metadata. Trained on {run["date"]} with seed {run["seed"]} from
revision `{run["git"][:12]}`{clean}.

**Licence: {figures["recipe"]["licence"]}.**
"""


def _data(figures: dict[str, Any]) -> str:
    rows = [
        (entry["name"], entry["licence"], entry["speakers"], entry["clips"])
        for entry in figures["training"]
    ]
    left_out = "; ".join(
        f"{_name(corpus)}: {count} {reason}"
        for corpus, reasons in figures["left_out"].items()
        for reason, count in reasons.items()
    )
    return f"""\
## Data

{_table(("trained on", "licence", "speakers", "clips"), rows)}

Left out: {left_out or "nothing"}. No speech travels with the model. RAVDESS may not be used
commercially without a licence from its authors; whether that binds a network trained on it, nobody
has decided, so treat the model as bound by it.
"""


def _teacher(figures: dict[str, Any]) -> str:
    taught = figures.get("teaching")
    if taught is None:
        return "## Teacher\n\nNone: it learned from labels alone.\n"
    settings = figures["recipe"]["teaching"]
    rows = [
        (
            _name(corpus),
            what,
            one["clips"],
            _number(one["accuracy"]),
            _number(one["uar"]),
            _number(one["confidence"]),
        )
        for side, what in (("training", "taught"), ("validation", "only measured"))
        for corpus, one in taught.get(side, {}).items()
    ]
    header = ("speakers of", "who are", "clips", "accuracy", "UAR", "mean confidence")
    share, groups = settings["share"], settings["groups"]
    weights = f"weights {1 - share:.1f} and {share:.1f} x {settings['gain']:g}"
    layers = ", ".join(str(layer) for layer in settings["layers"])
    return f"""\
## Teacher

Besides the labels it learned from the answers of a larger network ({weights},
temperature {settings["temperature"]:g}): small heads on the hidden layers {layers} of the
frozen encoder `{taught["teacher"]}`, which is published under this licence:
{taught["licence"]}. Each training speaker was answered for by a head that had heard only the
{groups - 1} other groups of {groups}. Test speakers were never heard by teacher or head. Nothing of
the teacher is in the model file.

{_table(header, rows)}
"""


def _protocol(figures: dict[str, Any]) -> str:
    split, recipe = figures["run"]["split"], figures["recipe"]
    sides = [
        f"- **{what}**: " + "; ".join(_speakers(split[side]))
        for side, what in (("test", "Test"), ("validation", "Validation"))
    ]
    return f"""\
## Protocol

Nobody is on two sides. Fold {recipe["fold"]} of each corpus is held out as test; nothing was
chosen by it. Temperature and threshold come from validation speakers, the quantiser's ranges from
training speakers.

{chr(10).join(sides)}

A clip goes the daemon's own way (`serd classify --whole`): trimmed to its speech, first 3 s. Right
is the class with the highest of all eight scores; where a corpus has no calm, calm counts as
neutral. `uncertain` plays no part in accuracy and UAR (the mean of the classes' recalls).
"""


def _headline(figures: dict[str, Any]) -> str:
    rows = []
    for corpus, one in _every(figures):
        float32 = figures["float32"].get(corpus)
        rows.append(
            (
                _name(corpus) + ("" if corpus in figures["test"] else " (never trained on)"),
                f"{len(one['speakers'])} / {one['clips']}",
                len(one["classes"]),
                _number(one["accuracy"]),
                f"**{_number(one['uar'])}**",
                f"{_number(float32['accuracy'])} / {_number(float32['uar'])}" if float32 else "",
                _number(one["four_groups_accuracy"]),
                _number(one["ece"]),
            )
        )
    header = ["corpus", "speakers / clips", "classes", "accuracy", "UAR"]
    header += ["float32 accuracy / UAR", "4 groups", "ECE"]
    calibration = figures["calibration"]
    decided = [
        (
            _name(corpus),
            _number(one["accuracy_at_coverage"]),
            _number(one["decided_share"]),
            _number(one["decided_accuracy"]),
            _number(one["speaker_accuracy_sd"]),
        )
        for corpus, one in _every(figures)
    ]
    coverage = round(100 * figures["recipe"]["coverage"])
    columns = (
        "corpus",
        f"accuracy on the surest {coverage} %",
        "share decided",
        "accuracy where decided",
        "SD between speakers",
    )
    return f"""\
## Figures

Of the shipped int8 file on test speakers.

{_table(header, rows)}

Below a confidence of {calibration["abstain_threshold"]} the model says `uncertain` (temperature
{calibration["temperature"]}); on validation speakers it then decides {coverage} % of the time.

{_table(columns, decided)}
"""


def _details(figures: dict[str, Any]) -> str:
    parts = ["## Class by class\n"]
    for corpus, one in _every(figures):
        labels = one["labels"]
        rows = [
            (
                f"**{label}**",
                *one["confusion"][number],
                _number(one["recall"][label]) if label in one["recall"] else "",
            )
            for number, label in enumerate(labels)
            if label in one["recall"]
        ]
        parts.append(f"{_name(corpus)}, a row for what was acted, a column for what was heard:\n")
        parts.append(_table(("", *labels, "recall"), rows) + "\n")
    return "\n".join(parts)


def _reproduction(figures: dict[str, Any]) -> str:
    name = figures["model"]["name"]
    return f"""\
## Doing it again

`serd-train release --recipe {name}` makes the model, its figures and this page;
`serd-train evaluate --model {name}` measures the shipped file. Every figure stands, with more
digits, in `training/results/{name}.json`.
"""


def _every(figures: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [*figures["test"].items(), *figures["cross_corpus"].items()]


def _speakers(voices: Sequence[str]) -> list[str]:
    corpora: dict[str, list[str]] = {}
    for voice in voices:
        corpus, speaker = voice.split("/")
        corpora.setdefault(corpus, []).append(speaker)
    return [f"{_name(corpus)} {', '.join(names)}" for corpus, names in corpora.items()]


def _shape(figures: dict[str, Any]) -> str:
    features = figures["recipe"]["features"]
    return f"{features['frames']} x {features['coefficients']}"


def _name(corpus: str) -> str:
    return _NAMES.get(corpus, corpus)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
