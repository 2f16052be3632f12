"""The report on a model: a page, its figures, and a few lines for README.

::

    results/NAME.json, NAME-folds.json, NAME-probes.json,      sources
    baselines.json, NAME-tried.yaml
        -> card (facts, measured, goals; tables)               docs/model-card.md
        -> drawing                                             docs/figures/model/*.png, *.svg
        -> quote                                               README.md

Nothing is computed here but means and differences; what was not measured yet is said not to be.
"""

from __future__ import annotations

from training.report.card import card, write_card
from training.report.readme import QUOTE_BEGIN, QUOTE_END, quote, write_quote
from training.report.sources import Measured, Sources, load_sources

__all__ = [
    "QUOTE_BEGIN",
    "QUOTE_END",
    "Measured",
    "Sources",
    "card",
    "load_sources",
    "quote",
    "write_card",
    "write_quote",
]
