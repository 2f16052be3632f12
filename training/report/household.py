"""The card's first section of figures: what a household would be told, and how rightly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serd.model.metadata import SENSITIVITIES
from training.report.markdown import missing, number, paragraph, picture, table, title, with_spread
from training.report.sources import Measured, measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.report.sources import Sources

_HEADING = "In a household"


def section(sources: Sources) -> str:
    """False alarms against emotions recognised, at each sensitivity and along the curve."""
    household = (sources.folds or {}).get("household")
    if not household:
        return missing(_HEADING, "serd-train folds")
    home = sources.release.get("home") or {}
    text = f"""\
Ordinary, unacted speech should cause almost no emotional events; acted emotions should
be recognised. Each figure comes from networks that were trained neither on the speakers nor on
the sources of the recordings; temperature, bias and thresholds were chosen on the other
folds, the prior is the recipe's. Events are counted through the daemon's own path: detector,
segmenter, network, gathered evidence, threshold. {basis(household)} The scores assume that
{100 * home.get("ordinary_share", 0.0):.0f} % of what is said at home is neutral or calm.
*Recognised* is the share of a corpus's emotional clips that are reported correctly,
each clip on its own; *misclassified* are those reported as another emotion."""
    return f"""\
## {_HEADING}

{paragraph(text)}

{_points(household)}

{_in_a_row(household)}

### The curve

For each rate, thresholds were chosen on the other folds; the table shows what was measured:

{_curve(household)}

{picture(sources.name, "operating", "emotions recognised against false events an hour")}

{_separation(household)}### Where false events come from

{paragraph(_counted(sources))}

{_groups(household)}
"""


def _corpora(household: dict[str, Any]) -> list[str]:
    return list(household["points"]["normal"]["told"])


def _points(household: dict[str, Any]) -> str:
    rows = []
    for name in SENSITIVITIES:
        point = household["points"][name]
        sound = point["groups"].get("household", {})
        rows.append(
            (
                f"**{name}**" if name == "normal" else name,
                f"{point['pooled']['per_hour']:.1f}",
                with_spread(measured(point["per_hour"]), 1),
                number(sound.get("per_hour"), 1),
                with_spread(measured(point["ordinary_share"]), 2),
                *(
                    f"{with_spread(measured(point['told'][corpus]['right']), 2)}"
                    f" ({point['told'][corpus]['wrong']['mean']:.2f})"
                    for corpus in _corpora(household)
                ),
            )
        )
    header = [
        "sensitivity",
        "false events an hour of ordinary speech",
        "mean over folds ± SD",
        "an hour of household sound",
        "ordinary utterances classified as neutral or calm",
    ]
    header += [f"{title(corpus)} recognised (misclassified)" for corpus in _corpora(household)]
    return table(header, rows)


def _in_a_row(household: dict[str, Any]) -> str:
    places = household["points"]["normal"]["told_in_a_row"]
    rows = [
        (title(corpus), *(number(one["mean"], 2) for one in values))
        for corpus, values in places.items()
    ]
    return (
        "Recognised as the first, second and third utterance of one person in one emotion, at"
        " the default sensitivity:\n\n" + table(("", "first", "second", "third"), rows)
    )


def _curve(household: dict[str, Any]) -> str:
    rows = [
        (
            rate,
            with_spread(measured(point["per_hour"]), 1),
            *(
                f"{point['told'][corpus]['right']['mean']:.2f}"
                f" ({point['told'][corpus]['wrong']['mean']:.2f})"
                for corpus in _corpora(household)
            ),
        )
        for rate, point in household["curve"].items()
    ]
    header = ["allowed an hour", "measured an hour"]
    header += [f"{title(corpus)} recognised (misclassified)" for corpus in _corpora(household)]
    return table(header, rows)


def _separation(household: dict[str, Any]) -> str:
    """A section on corpus recognition; empty for results that lack it."""
    corpora = household.get("separation")
    if not corpora:
        return ""
    text = """\
A network may learn how a corpus was recorded instead of how people sound. Acted neutral clips show
whether it did: by the odds of all emotions against neutral and calm, they should look like ordinary
speech (0.5 is no difference, 1 means that every one of them looks more emotional), and unlike the
emotional clips of the same corpus (1 is perfect). The figures are areas under the ROC curve, each
utterance on its own:"""
    rows = [
        (
            title(corpus),
            with_spread(measured(one.get("neutral_from_ordinary")), 2),
            with_spread(measured(one.get("emotional_from_neutral")), 2),
        )
        for corpus, one in corpora.items()
    ]
    header = ("", "neutral clips against ordinary speech", "emotional clips against neutral ones")
    return f"""\
### Emotion, or the corpus?

{paragraph(text)}

{table(header, rows)}

"""


def basis(household: dict[str, Any]) -> str:
    """What an hour of ordinary speech consists of, in words; empty if it is not known.

    The recordings are those of :func:`training.evaluate.household.sentences`.
    """
    point = household["points"]["normal"]
    whole = point["groups"].get("kind read", {}).get("hours")
    if not whole:
        return ""
    accent = point["groups"].get("language en (Mandarin accent)", {}).get("hours", 0.0) / whole
    with_accent = f", {100 * accent:.0f} % of it with a Mandarin accent" if accent else ""
    return (
        f"Ordinary speech is {point['pooled']['hours']:.1f} hours of sentences read "
        f"aloud{with_accent}; single words and commands are not included."
    )


def _counted(sources: Sources) -> str:
    """What the counts of the groups are."""
    seeds = len((sources.folds or {}).get("seeds", ()))
    once = " and seed" if seeds > 1 else ""
    text = "These are the counts at the default sensitivity, all folds together. "
    if seeds > 1:
        text += "Each recording of speech is counted once per seed. "
    return (
        f"{text}Household sounds are counted once per fold{once}, because no fold trains on them."
    )


def _groups(household: dict[str, Any]) -> str:
    rows = [
        (
            name,
            group["recordings"],
            group["utterances"],
            f"{group['hours']:.2f}",
            group["events"],
            f"{group['per_hour']:.1f}",
        )
        for name, group in household["points"]["normal"]["groups"].items()
    ]
    return table(("", "recordings", "utterances", "hours", "events", "an hour"), rows)


def operating(sources: Sources) -> dict[str, Any]:
    """What the operating curve shows; empty where it was not measured.

    Args:
        sources: Results of the model.

    Returns:
        ``curve``: for each corpus points of (false events an hour, % of emotional clips right);
        ``settings``: the false events an hour of each sensitivity, means over folds like the curve.
    """
    household = (sources.folds or {}).get("household")
    if not household:
        return {}
    return {
        "curve": {
            corpus: [
                (point["per_hour"]["mean"], 100 * point["told"][corpus]["right"]["mean"])
                for point in household["curve"].values()
            ]
            for corpus in _corpora(household)
        },
        "settings": {name: household["points"][name]["per_hour"]["mean"] for name in SENSITIVITIES},
    }


def found(*path: str, factor: float = 1.0) -> Callable[[Sources], Measured | None]:
    """A figure of the default sensitivity, by the keys that lead to it."""

    def find(sources: Sources) -> Measured | None:
        place: Any = ((sources.folds or {}).get("household") or {}).get("points", {}).get("normal")
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, int | float):
            return Measured(value=factor * place, crossed=True)
        one = measured(place)
        if one is None:
            return None
        spread = None if one.folds_sd is None else factor * one.folds_sd
        return Measured(value=factor * one.value, folds_sd=spread, crossed=True)

    return find
