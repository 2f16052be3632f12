"""Writes the table of docs/metrics.md: ``python -m tools.docs.metrics FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from serd.metrics import METRICS


def markdown() -> str:
    """The table of docs/metrics.md."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.all_labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """A page with the table as it is now between the two comments that mark its place."""
    before, begin, rest = page.partition("<!-- figures: begin (written by `make docs`) -->\n")
    _, end, after = rest.partition("<!-- figures: end -->")
    return f"{before}{begin}{markdown()}{end}{after}"


if __name__ == "__main__":
    _file = Path(sys.argv[1])
    _file.write_text(written(_file.read_text()))
