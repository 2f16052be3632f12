"""The few figures that README shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.report.household import basis
from training.report.markdown import table, title
from training.report.sections import LISTENERS

if TYPE_CHECKING:
    from pathlib import Path

    from training.report.sources import Sources

QUOTE_BEGIN = "<!-- figures: begin (written by `serd-train report`) -->"
QUOTE_END = "<!-- figures: end -->"

_COLUMNS = (
    ("uar", "UAR"),
    ("accuracy", "accuracy"),
    ("accuracy_at_coverage", "accuracy on the most confident {coverage:.0%}"),
    ("four_groups_accuracy", "accuracy with 4 groups of emotions"),
)


_LANGUAGES = {"crema_d": "English", "nemo": "Polish", "emodb": "German"}
"""The corpora of the first table, and what is spoken in them."""


def quote(sources: Sources) -> str:
    """A Markdown table: means over folds and seeds where there are any, else the shipped file's.

    Args:
        sources: Results of the model.
    """
    coverage = sources.release["recipe"]["coverage"]
    rows = []
    for corpus in sources.corpora:
        one = sources.shipped(corpus)
        people = sources.crossed(corpus).get("speakers", {}).get("count", len(one["speakers"]))
        cells = []
        for key, _ in _COLUMNS:
            found = sources.figure(corpus, key)
            cells.append("" if found is None else f"{found.value:.1%}")
            if key == "uar" and found is not None:
                spread = f" ± {100 * found.folds_sd:.1f}" if found.folds_sd is not None else ""
                cells[-1] = f"**{found.value:.1%}**{spread}"
        rows.append(
            (
                _titled(sources, corpus),
                people,
                len(one["classes"]),
                *cells,
                LISTENERS.get(corpus, ""),
            )
        )
    header = ["speakers never heard in training", "speakers", "classes"]
    header += [words.format(coverage=coverage) for _, words in _COLUMNS]
    header += ["human listeners, audio only"]
    return f"{_household(sources)}{table(header, rows)}\n\n{_protocol(sources)}"


def _household(sources: Sources) -> str:
    """False alarms and emotions rightly told at each sensitivity; empty if not measured."""
    household = (sources.folds or {}).get("household")
    if not household:
        return ""
    told = household["points"]["normal"]["told"]
    corpora = [name for name in _LANGUAGES if name in told]
    rows = []
    for name, point in household["points"].items():
        rows.append(
            (
                f"`{name}`" + (", the default" if name == "normal" else ""),
                f"**{point['pooled']['per_hour']:.1f}**",
                f"{point['groups'].get('household', {}).get('per_hour', 0.0):.1f}",
                f"{point['ordinary_share']['mean']:.0%}",
                *(f"{point['told'][one]['right']['mean']:.0%}" for one in corpora),
            )
        )
    header = ["`decision.sensitivity`", "false emotional events in an hour of ordinary speech"]
    header += [
        "in an hour of household noise, music and crying babies",
        "ordinary speech classified as neutral or calm",
    ]
    header += [
        f"{_titled(sources, one, _LANGUAGES[one])}: acted emotions recognised" for one in corpora
    ]
    words = (
        "Measured on sources and speakers that were not used for training or for choosing"
        " thresholds. Some settings were chosen with these figures in view, EMO-DB's"
        " included, so expect slightly worse results elsewhere"
        f" ([model card](docs/model-card.md#protocol)). {basis(household)}"
    ).rstrip()
    words += "\n\nThe same networks, classifying every clip as its most likely class:"
    return f"{table(header, rows)}\n\n{words}\n\n"


def _titled(sources: Sources, corpus: str, language: str = "") -> str:
    named = f"{title(corpus)} ({language})" if language else title(corpus)
    return named + ("" if corpus in sources.release["test"] else ", never trained on")


def _protocol(sources: Sources) -> str:
    if not sources.extent:
        return "One held-out fold of speakers; thresholds were chosen on other speakers."
    return (
        f"Means over folds of speakers and seeds ({sources.extent}), ± the standard deviation"
        " between folds; thresholds were chosen on other speakers."
    )


def write_quote(sources: Sources, readme: Path) -> bool:
    """Put the figures between README's two marks.

    Args:
        sources: Results of the model.
        readme: The file.

    Returns:
        Whether it is a file with both marks.
    """
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    before, begin, rest = text.partition(QUOTE_BEGIN)
    _, end, after = rest.partition(QUOTE_END)
    if not begin or not end:
        return False
    written = f"{before}{begin}\n\n{quote(sources)}\n\n{end}{after}"
    readme.write_text(written, encoding="utf-8")
    return True
