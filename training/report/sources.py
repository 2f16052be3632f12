"""The data of a report: JSON files of runs and probes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from serd.errors import InputError
from training.recipe import Recipe
from training.run_folder import same_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, from cross-validation if available, else from the shipped file."""

    value: float
    folds_sd: float | None = None
    """Between folds, each the mean of its seeds."""
    seeds_sd: float | None = None
    """Between seeds, each the mean of its folds."""
    crossed: bool = False
    """Whether it is a mean over folds."""


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a model."""

    release: dict[str, Any]
    """``metrics.json`` of the run that is shipped."""
    folds: dict[str, Any] | None = None
    """Results of ``serd-train folds`` (:mod:`training.crossval_summary`)."""
    probes: dict[str, Any] | None = None
    """Results of ``serd-train probe`` for this very network (:mod:`training.probes`)."""
    baselines: dict[str, Any] | None = None
    """Results of ``serd-train baselines``."""
    tried: dict[str, str] = {}
    """By missed goal, what was tried: ``NAME-tried.yaml``."""

    @property
    def name(self) -> str:
        """Of the model."""
        return str(self.release["model"]["name"])

    @property
    def corpora(self) -> list[str]:
        """The test corpora, those that were trained on first."""
        return [*self.release["test"], *self.release["cross_corpus"]]

    @property
    def extent(self) -> str:
        """Extent of the cross-validation so far, in words; empty if there is none."""
        runs = (self.folds or {}).get("runs", ())
        counts = [len({run["fold"] for run in runs}), len({run["seed"] for run in runs}), len(runs)]
        words = ("fold", "seed", "run")
        said = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in zip(counts, words, strict=True)]
        return ", ".join(said) if runs else ""

    def shipped(self, corpus: str) -> dict[str, Any]:
        """The shipped file's figures on a corpus."""
        found = self.release["test"].get(corpus) or self.release["cross_corpus"].get(corpus)
        return dict(found or {})

    def crossed(self, corpus: str) -> dict[str, Any]:
        """Figures of the cross-validation on a corpus; empty if there are none."""
        return dict((self.folds or {}).get("corpora", {}).get(corpus, {}))

    def figure(self, corpus: str, key: str) -> Measured | None:
        """A figure by its name in :func:`training.evaluate.classification.figures`."""
        found = measured(self.crossed(corpus).get("figures", {}).get(key))
        if found is None and (value := self.shipped(corpus).get(key)) is not None:
            found = Measured(value=value)
        return found

    def calibration_error(self, corpus: str) -> Measured | None:
        """Over the clips of all folds, once per seed; else that of the shipped file."""
        return measured(self.crossed(corpus).get("ece_pooled")) or self.figure(corpus, "ece")

    def probe(self, *path: str) -> Measured | None:
        """A figure of the probes, by its path of keys."""
        found = measured(_at((self.folds or {}).get("probes"), path))
        if found is None and isinstance(value := _at(self.probes, path), int | float):
            found = Measured(value=float(value))
        return found

    def numbers(self, *path: str) -> list[Measured | None]:
        """A list of the probes, by its path of keys."""
        for tree in ((self.folds or {}).get("probes"), self.probes):
            if isinstance(found := _at(tree, path), list):
                return [self.probe(*path, str(place)) for place in range(len(found))]
        return []

    def probed(self, *path: str) -> dict[str, Any]:
        """A part of the probes, by its path of keys."""
        for tree in ((self.folds or {}).get("probes"), self.probes):
            if isinstance(found := _at(tree, path), dict):
                return found
        return {}


def measured(spread: Mapping[str, Any] | None) -> Measured | None:
    """What :func:`training.crossval_summary.spread` gave, if anything."""
    if not isinstance(spread, dict) or "mean" not in spread:
        return None
    return Measured(
        value=spread["mean"],
        folds_sd=spread["folds_sd"],
        seeds_sd=spread["seeds_sd"],
        crossed=True,
    )


def load_sources(release: Path, results: Path | None = None) -> Sources:
    """Read the figures of a model and its other results.

    Args:
        release: A run's ``metrics.json`` or a release's copy of it.
        results: Folder of the other files; that of ``release`` if not given.

    Raises:
        InputError: The figures are missing, a file is unreadable, or the cross-validation is one of
            another recipe.
    """
    figures = _read(release)
    if figures is None:
        raise InputError(f"No figures at {release}", remedy="serd-train evaluate")
    home = results or release.parent
    name = figures["model"]["name"]
    tried = home / f"{name}-tried.yaml"
    try:
        said = msgspec.yaml.decode(tried.read_bytes(), type=dict[str, str] | None)
    except FileNotFoundError:
        said = None
    except msgspec.DecodeError as error:
        raise InputError(f"{tried} is not goals and sentences: {error}") from error
    folds = _read(home / f"{name}-folds.json")
    if folds is not None and not _same_recipe(folds, figures):
        raise InputError(
            f"{home / name}-folds.json and {release} are of different recipes",
            remedy=f"make both by the same one: serd-train folds --recipe {name}, then release",
        )
    return Sources(
        release=figures,
        folds=folds,
        probes=_probes_of(figures["model"], home / f"{name}-probes.json"),
        baselines=_read(home / "baselines.json"),
        tried=said or {},
    )


def _same_recipe(folds: dict[str, Any], release: dict[str, Any]) -> bool:
    """Whether a cross-validation and a release are of the same recipe, fold and seed aside."""
    try:
        recipe = msgspec.convert(release["recipe"], Recipe)
    except msgspec.ValidationError:  # of an earlier version of serd: nothing to compare
        return True
    return same_recipe(folds["recipe"], recipe)


def _probes_of(model: dict[str, Any], file: Path) -> dict[str, Any] | None:
    """The probes in a file, unless they are of another network: of an earlier version, usually."""
    found = _read(file)
    if found is None:
        return None
    network = found.get("model", {}).get("network_sha256")
    return found if network and network == model.get("network_sha256") else None


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {file}: {error}") from error


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if isinstance(tree, list) and int(key) < len(tree):
            tree = tree[int(key)]
        elif isinstance(tree, dict) and key in tree:
            tree = tree[key]
        else:
            return None
    return tree
