"""Markdown: tables, figures and numbers of the reports."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from training.report.sources import Measured

NOT_YET = "not measured yet"

_NAMES = {
    "ravdess": "RAVDESS",
    "crema_d": "CREMA-D",
    "emodb": "EMO-DB",
    "nemo": "nEMO",
    "tess": "TESS",
    "savee": "SAVEE",
}


def title(corpus: str) -> str:
    """The title of a corpus."""
    return _NAMES.get(corpus, corpus)


def listed(words: Sequence[str]) -> str:
    """Words with commas, and "and" before the last."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def number(value: float | None, digits: int = 4) -> str:
    """A formatted number; empty for None."""
    return "" if value is None else f"{value:.{digits}f}"


def with_spread(found: Measured | None, digits: int = 3) -> str:
    """A mean and the standard deviation between folds."""
    if found is None:
        return NOT_YET
    spread = "" if found.folds_sd is None else f" ± {found.folds_sd:.{digits}f}"
    return f"{found.value:.{digits}f}{spread}"


def paragraph(text: str) -> str:
    """Text wrapped to lines of at most 100 characters."""
    return textwrap.fill(
        " ".join(text.split()), 100, break_long_words=False, break_on_hyphens=False
    )


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def missing(heading: str, command: str) -> str:
    """A section without results yet."""
    return f"## {heading}\n\nNot measured yet (`{command}`).\n"


def figures_folder(name: str) -> str:
    """Folder of a model's figures, relative to its card."""
    return "figures/model" if name == "default" else f"figures/model-{name}"


def picture(model: str, name: str, words: str) -> str:
    """A PNG that links to its SVG."""
    folder = figures_folder(model)
    return f"[![{words}]({folder}/{name}.png)]({folder}/{name}.svg)"
