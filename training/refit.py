"""The last stretch: once nothing is left to choose, whoever helped to choose is trained on too.

Temperature and abstain threshold are found by a network that has not heard the validation speakers.
After that these speakers have nothing more to tell, and of a few dozen speakers nearly a fifth is
too many to leave unheard. So training goes on for some steps from the weights that it had, with
everybody but the test speakers; the teacher's heads learn anew from all of them as well. What was
chosen before is kept as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from training.folds import Split
    from training.recipe import Recipe


def rejoined(split: Split) -> Split:
    """The same people, with nobody set aside to choose by."""
    return msgspec.structs.replace(split, train=(*split.train, *split.validation), validation=())


def stretch(recipe: Recipe) -> Recipe:
    """What the last stretch of a run does, as a recipe of its own.

    Args:
        recipe: Of the run; its ``refit`` says how.
    """
    assert recipe.refit is not None
    optimiser = msgspec.structs.replace(
        recipe.optimiser, steps=recipe.refit.steps, peak_rate=recipe.refit.peak_rate
    )
    return msgspec.structs.replace(
        recipe,
        optimiser=optimiser,
        augmentation=recipe.refit.augmentation or recipe.augmentation,
        sounds=recipe.refit.sounds or recipe.sounds,
        teaching=recipe.refit.teaching or recipe.teaching,
        refit=None,
    )


def listened_speeds(recipe: Recipe) -> tuple[float, ...]:
    """At which speeds a teacher listens in a run: all if it ever gives hints, else 1 alone."""
    whole = recipe if recipe.refit is None else stretch(recipe)
    lessons = (recipe.teaching, whole.teaching)
    hinting = any(lesson is not None and lesson.hints is not None for lesson in lessons)
    return recipe.preparation.speeds if hinting else (1.0,)
