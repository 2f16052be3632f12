"""What the types of a recipe's keys do not express: names that must be known, values that must fit.

Each check raises a ``ValueError`` whose message begins with the key that it is about, from where
:mod:`training.document` takes the line. A recipe is checked whole when it is read, because most of
what is wrong here would otherwise be noticed only after hours of training, or never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serd.errors import UsageError
from serd.model.emotions import EMOTIONS
from serd.model.metadata import check_placements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from training.recipe import Recipe
    from training.recipe.stages import Start
    from training.recipe.teaching import Teaching

_ROUNDING = 1e-6


def check_recipe(recipe: Recipe) -> None:
    """Check what concerns several keys.

    Raises:
        ValueError: Something does not fit; the message begins with a key.
    """
    for key, names, allowed, of in _names(recipe):
        # A misspelt name would be ignored, and training be another than the one asked for.
        if unknown := sorted(set(names) - set(allowed)):
            raise ValueError(f"{key} has {', '.join(unknown)}, which is not {of}")
    _check_corpora(recipe)
    if recipe.training_reverb == "none" and recipe.features.reverb is None:
        raise ValueError("training_reverb leaves out features.reverb, which is not set")
    check_placements(recipe.placements, recipe.features)
    if recipe.start is not None:
        _check_start(recipe, recipe.start)


def _check_start(recipe: Recipe, start: Start) -> None:
    layers = recipe.network.layers
    try:
        start.shares(layers)
    except UsageError as error:
        raise ValueError(f"{error.message}: {error.remedy}") from error
    if start.frozen >= layers:
        raise ValueError(
            f"start.frozen is {start.frozen}, and the network has {layers} layers: leave at least "
            "the last one to train"
        )
    if start.pretraining is not None and not any(start.pretraining.shares.values()):
        raise ValueError("start.pretraining.shares has no share above 0")


def _check_corpora(recipe: Recipe) -> None:
    if both := sorted(set(recipe.corpora) & set(recipe.cross_corpora)):
        raise ValueError(
            f"cross_corpora has {', '.join(both)}, which is under corpora: it would be tested on "
            "speakers that it was trained on"
        )
    if len(set(recipe.classes)) < len(recipe.classes):
        raise ValueError("labels has a class twice")
    if not any(use.share for use in recipe.corpora.values()):
        raise ValueError("corpora has no share above 0, so nothing would be trained on")
    for name in recipe.home.corpora if recipe.home is not None else ():
        if name not in recipe.acted:
            raise ValueError(f"home.corpora has {name}, in which nobody acts an emotion")
    for name, use in recipe.corpora.items():
        if absent := sorted(set(use.target) - set(recipe.classes)):
            raise ValueError(
                f"corpora.{name}.target has {', '.join(absent)}, which is not under labels"
            )
        if (whole := sum(use.target.values())) > 1.0 + _ROUNDING:
            raise ValueError(f"corpora.{name}.target has shares that add up to {whole:g}, above 1")


def _names(recipe: Recipe) -> Iterator[tuple[str, Iterable[str], Iterable[str], str]]:
    """Keys that name corpora or emotions, their names, the known ones, and what those are."""
    emotions = f"one of {', '.join(EMOTIONS)}"
    corpora = f"under corpora ({', '.join(recipe.corpora)})"
    yield "labels", recipe.labels, EMOTIONS, emotions
    for name, use in recipe.corpora.items():
        yield f"corpora.{name}.target", use.target, EMOTIONS, emotions
        for masked in (use.masked, *use.masked.values()):
            yield f"corpora.{name}.masked", masked, EMOTIONS, emotions
    if recipe.home is not None:
        yield "home.corpora", recipe.home.corpora, recipe.corpora, corpora
    teachers: dict[str, tuple[Teaching | None, Iterable[str], str]] = {
        "": (recipe.teaching, recipe.corpora, corpora)
    }
    if recipe.refit is not None:
        teachers["refit."] = recipe.refit.teaching, recipe.corpora, corpora
    if recipe.start is not None:
        yield "start.remembers", recipe.start.remembers, recipe.corpora, corpora
        if (stage := recipe.start.pretraining) is not None:
            shares = "start.pretraining.shares"
            yield shares, stage.shares, recipe.corpora, corpora
            teachers["start.pretraining."] = (
                stage.teaching,
                stage.shares,
                f"under {shares} ({', '.join(stage.shares)})",
            )
    for prefix, (teaching, allowed, of) in teachers.items():
        if teaching is not None:
            head = f"{prefix}teaching.head"
            yield f"{head}.repeats", teaching.head.repeats, allowed, of
            yield f"{head}.votes_weight", teaching.head.votes_weight, allowed, of
