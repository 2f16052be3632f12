"""What came of somebody's own recordings, in words: for the terminal, and as ``report.md``.

It has no goals to compare with: those of the models that come with serd were set for other voices
and other corpora.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serd.model.metadata import SENSITIVITIES
from training.report.markdown import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.own.plan import Plan
    from training.own.tune import Tuned

_LAST = """\
They say how recorded emotions, acted or not, were told apart, not what anybody felt. Corrections
(`serd correct`) teach serd further while it runs."""
_CHANCE_CLIPS = 30
"""Below it a difference is said to be within chance whatever it is."""


def in_words(tuned: Tuned) -> list[str]:
    """How good it is, beside the model that it began with; a sentence each."""
    result = tuned.figures
    own, base = result["own"], result["base"]
    who = "by people whom it had not heard"
    if result["held_out"] == "clips":
        who = "that it had not heard, of voices that it had"
    clips, classes = own["clips"], len(own["classes"])
    first = (
        f"Of {clips} utterances {who}, it got {_right(own)} right ({own['accuracy']:.0%}). "
        f"{base['name']}, with which it began, gets {_right(base)} right "
        f"({base['accuracy']:.0%}); guessing among {classes} would get about "
        f"{round(clips / classes)}."
    )
    alike = (
        f"Every emotion counting alike: {own['uar']:.0%}, before {base['uar']:.0%}; choosing among "
        f"the recorded emotions alone: {own['uar_own_classes']:.0%}, before "
        f"{base['uar_own_classes']:.0%}."
    )
    words = [first, alike, _verdict(own, base)]
    if own["ordinary"]:
        words.append(
            f"Of {own['ordinary']} neutral or calm utterances it told "
            f"{own['ordinary_told_as_emotion']} as an emotion (before: "
            f"{base['ordinary_told_as_emotion']})."
        )
    if own["emotional"]:
        words.append(
            f"As it decides at home, abstaining where it is unsure, it told "
            f"{own['emotional_told_rightly']} of {own['emotional']} emotional utterances rightly "
            f"and {own['emotional_told_wrongly']} wrongly (before: "
            f"{base['emotional_told_rightly']} and {base['emotional_told_wrongly']})."
        )
    return [*words, *_home(result["settled"])]


def _right(figures: dict[str, Any]) -> int:
    return round(float(figures["accuracy"]) * int(figures["clips"]))


def _verdict(own: dict[str, Any], base: dict[str, Any]) -> str:
    better = _right(own) - _right(base)
    # A difference of two counts varies by about the square root of how often the two disagree.
    noise = 2.0 * max(1.0, own["clips"] * 0.3) ** 0.5
    if own["clips"] < _CHANCE_CLIPS or abs(better) < noise:
        words = "That is no difference" if better == 0 else "So small a difference can be chance"
        return f"{words}: with {own['clips']} utterances nothing finer can be seen."
    if better < 0:
        return f"Training on made it worse here: better stay with {base['name']}."
    return "Training on helped."


def _home(settled: dict[str, Any]) -> list[str]:
    calibration = (
        "Its confidence was fitted on what was held out."
        if settled["fitted"]
        else "Its confidence is scaled as the first model's."
    )
    if settled["home"] is None:
        homeless = (
            "It knows nothing of homes: one threshold, no sensitivities, because the model that "
            "it began with has none."
        )
        return [calibration, homeless]
    thresholds = {
        "carried over": "Its sensitivities (low, normal, high) are those of the first model, and "
        "how often it tells an emotion of everyday speech was not measured. `serd-train tune "
        "--everyday FOLDER` with a quarter of an hour of it or more would choose and measure them.",
        "chosen": f"Its sensitivities were chosen on {60 * settled['ordinary_hours']:.0f} minutes "
        "of everyday speech.",
    }[settled["thresholds"]]
    if settled["thresholds"] == "carried over" and settled["ordinary_hours"]:
        thresholds = (
            "Its sensitivities (low, normal, high) are those of the first model: "
            f"{60 * settled['ordinary_hours']:.1f} minutes of everyday speech are too few to "
            "choose them by. How often it told an emotion of it is in `serd model info`."
        )
    return [calibration, thresholds]


def report(tuned: Tuned, wanted: Plan, *, left_out: str) -> str:
    """The page ``report.md``.

    Args:
        tuned: What came of it.
        wanted: What could be had.
        left_out: Recordings that were not used, and why.
    """
    result = tuned.figures
    own, base = result["own"], result["base"]
    rows = [
        (
            emotion,
            sum(own["confusion"][own["labels"].index(emotion)]),
            f"{own['recall'][emotion]:.0%}",
            f"{base['recall'][emotion]:.0%}",
        )
        for emotion in own["classes"]
    ]
    people = [
        (speaker, f"{share:.0%}", f"{base['speaker_accuracy'][speaker]:.0%}")
        for speaker, share in own["speaker_accuracy"].items()
    ]
    confused = [
        (label, *row)
        for label, row in zip(own["labels"], own["confusion"], strict=True)
        if any(row)
    ]
    source = f"Made from the recordings in `{result['recordings']}` and {base['name']}."
    parts = [
        f"# {result['name']}",
        f"Written by `serd-train tune`. {source}",
        *in_words(tuned),
        "## By emotion",
        "Share of the utterances of each emotion that was recognised.",
        table(("emotion", "utterances", "this model", base["name"]), rows),
        "## By speaker",
        table(("speaker", "this model", base["name"]), people),
        "## What was taken for what",
        "A row for each true emotion, a column for each that was told, counts of utterances.",
        table(("", *own["labels"]), confused),
        *_sensitivities(result["settled"]["home"]),
        "## What these figures are not",
        _list(wanted.cannot) or "Nothing was missing.",
        _LAST,
        f"Left out: {left_out or 'nothing'}.",
    ]
    return "\n\n".join(parts) + "\n"


def _sensitivities(home: dict[str, Any] | None) -> list[str]:
    if home is None:
        return []
    rows = []
    for name in SENSITIVITIES:
        point = home["sensitivity"][name]
        rate, told = point["events_per_hour"], point["recall"]
        rows.append(
            (
                name,
                f"{point['threshold']:.2f}",
                "not measured" if rate is None else f"{rate:.3g}",
                "not measured" if told is None else f"{told:.0%}",
            )
        )
    head = ("sensitivity", "threshold", "false emotions an hour", "emotions told rightly")
    return ["## In a home", table(head, rows)]


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
