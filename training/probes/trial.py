"""All that a model is put through, with the speakers and sounds that its recipe leaves for it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, get_args

from serd.model.model_file import ModelFile
from training.corpora import read_corpora
from training.corpora.esc10 import TEST_FOLDS as SOUND_TEST_FOLDS
from training.corpora.esc10 import TRAINING_FOLDS, read_sounds
from training.folds import make_split
from training.prepare import CACHE
from training.probes.adaptation import probe_adaptation, spaced
from training.probes.conditions import CONDITIONS
from training.probes.environment import ENGINES, probe_environment
from training.probes.robustness import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.corpora import Clip
    from training.recipe import Recipe

Part = Literal["robustness", "environment", "adaptation"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What a model can be put through."""

SPEECH_CLIPS = 150
"""Clips of each corpus that are put before the detector, to see that it is not deaf."""


def _silent(_what: str, _done: int, _all: int) -> None:
    pass


def try_model(
    model: Path | str,
    recipe: Recipe,
    root: Path,
    *,
    parts: Sequence[Part] = PARTS,
    conditions: Sequence[str] = tuple(CONDITIONS),
    engines: Sequence[str] = ENGINES,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = _silent,
) -> dict[str, Any]:
    """Put a model through hardship, sounds that are no speech, and rooms to get used to.

    Args:
        model: A packed model file, or the name of a packaged one.
        recipe: Names corpora and fold, and so who trained, validated and tests.
        root: Folder of the corpora.
        parts: Which of the three.
        conditions: For ``robustness``; clean is always among them.
        engines: Voice detectors for ``environment``.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with what is being done, how much of it is done, and how much there is.

    Returns:
        What :mod:`training.probes` describes.

    Raises:
        InputError: A corpus or a file cannot be read.
        ModelError: The model is none that serd can use.
        ConfigError: A voice detector is not installed.
    """
    file = ModelFile.load(model)
    corpora = read_corpora(recipe.corpora, root)
    cross = read_corpora(recipe.cross_corpora, root)
    validation = {name: use.validation_speakers for name, use in recipe.corpora.items()}
    split = make_split(corpora, fold=recipe.fold, validation=validation)

    def side(name: str) -> list[Clip]:
        return [clip for one in corpora.values() for clip in split.side(one.clips, name)]

    tested = side("test") + [clip for one in cross.values() for clip in one.clips]
    result: dict[str, Any] = {
        "model": {
            "name": file.info.name,
            "version": file.info.version,
            "network_sha256": hashlib.sha256(file.network).hexdigest(),
        },
        "fold": recipe.fold,
    }
    if "robustness" in parts:
        result["robustness"] = probe(
            model,
            tested,
            noise_clips=[sound.path for sound in read_sounds(root)],
            conditions=conditions,
            coverage=recipe.coverage,
            cache=cache,
            jobs=jobs,
            progress=progress,
        )
    if "environment" in parts:
        voices = [
            clip
            for name in sorted({clip.corpus for clip in tested})
            for clip in spaced([one for one in tested if one.corpus == name], SPEECH_CLIPS)
        ]
        result["environment"] = probe_environment(
            model,
            read_sounds(root, TRAINING_FOLDS + SOUND_TEST_FOLDS),
            voices=voices,
            engines=engines,
            progress=progress,
        )
    if "adaptation" in parts:
        result["adaptation"] = probe_adaptation(
            model,
            training=side("train"),
            validation=side("validation"),
            test=tested,
            cache=cache,
            jobs=jobs,
            progress=progress,
        ) | {"validation_heard": recipe.refit is not None}
    return result
