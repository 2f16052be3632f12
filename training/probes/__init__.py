"""Probes of a finished model: robustness, everyday sounds, adaptation, and corrections.

::

    corpora -> conditions -> robustness                  accuracy under noise, rooms, a telephone
                   distortion                          what the conditions are made of
    sounds  -> environment                             emotion events an hour of no speech
    corpora -> adaptation                              UAR after 0, 5, 20, 50 utterances

:func:`probe` is for everybody who has a model and clips; :func:`run_probes` does all three with the
speakers and sounds that a recipe leaves for it. ``serd-train probe`` writes what it gives to
``probes.json``, an object with these keys, each part there only if it was asked for::

    model         name, version, network_sha256
    fold          whose test speakers were heard
    robustness
        seed, coverage
        noise         names of the noise recordings, none of which training heard
        about         {condition: words for a table}; "clean" comes first
        corpora
            {corpus}
                clips, speakers, classes
                conditions
                    {condition}: accuracy, uar, accuracy_at_coverage, four_groups_accuracy, ece,
                                 recall {class: share}, as :func:`figures` gives them
    environment
        events_per_hour         the default detector, folds that training never heard, no throats
        human_events_per_hour   the same of ``human`` kinds
        seed, threshold, pause_s, pause_dbfs
        held_out_folds          folds of ESC-10 that training never heard
        human                   kinds that are counted apart
        engines
            {engine}
                all, held_out             of all folds, and of held_out_folds
                    kinds {kind: count}
                    sounds, human, everything: count    summed over kinds
                silence {level: count}    digital, -60 dBFS, ...
                speech {corpus: clips, heard, decided}  clips of speech, for comparison
                segmenter                 utterances, and those dropped by reason
    adaptation
        heard             [0, 5, 20, 50]: utterances that a room has heard
        seeds, household (voices in it), neutral_share
        validation_heard  whether the refit stage of training heard the validation speakers
        methods
            features, scores
                strength, prior           chosen on validation speakers
                tried                     [strength, prior, gain]
                validation, test
                    speaker, household, mostly_neutral
                        {corpus}: voices, clips, and in the order of ``heard``
                                  uar, uar_sd (over seeds), usual_accuracy;
                                  gain_20, gain_20_se (over voices)

A ``count`` has clips, seconds, utterances, uncertain, events and events_per_hour; where it is of
one kind of sound also emotions {class: events}. What each measure means is said in the module that
takes it: :mod:`training.probes.environment`, :mod:`training.probes.adaptation`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, get_args

from serd.errors import UsageError
from serd.model.model_file import ModelFile
from training.corpora import read_corpora
from training.corpora.esc10 import TEST_FOLDS as SOUND_TEST_FOLDS
from training.corpora.esc10 import TRAINING_FOLDS, read_sounds
from training.dataset import recipe_split
from training.prepare import CACHE
from training.probes.adaptation import evenly_spaced, probe_adaptation
from training.probes.conditions import CONDITIONS
from training.probes.environment import ENGINES, probe_environment
from training.probes.robustness import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.corpora import Clip
    from training.recipe import Recipe

__all__ = ["CONDITIONS", "PARTS", "check_parts", "possible_parts", "probe", "run_probes"]


Part = Literal["robustness", "environment", "adaptation"]
PARTS: tuple[Part, ...] = get_args(Part)
"""The parts of a probe."""

SPEECH_CLIPS = 150
"""Clips of each corpus to check that the detector detects speech."""


def _silent(_what: str, _done: int, _all: int) -> None:
    pass


def possible_parts(recipe: Recipe) -> tuple[Part, ...]:
    """The parts that a recipe allows: adaptation needs validation speakers to choose with."""
    return tuple(part for part in PARTS if part != "adaptation" or recipe.validates)


def check_parts(parts: Sequence[str], recipe: Recipe) -> None:
    """Reject parts that the recipe does not allow.

    Raises:
        UsageError: There is one.
    """
    for part in set(parts) - set(possible_parts(recipe)):
        raise UsageError(
            f"{part} chooses its strength on validation speakers, "
            f"and the recipe {recipe.name} sets none aside",
            remedy="choose other parts, or set validation_speakers under corpora",
        )


def run_probes(
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
    """Measure robustness, false events without speech, and adaptation.

    Args:
        model: A packed model file, or the name of a packaged one.
        recipe: For corpora, fold and split.
        root: Folder of the corpora.
        parts: Which of the three.
        conditions: For ``robustness``; clean is always included.
        engines: Voice detectors for ``environment``.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        As described above.

    Raises:
        InputError: A corpus or a file cannot be read.
        ModelError: serd cannot use the model.
        ConfigError: A voice detector is not installed.
        UsageError: The recipe does not allow one of the parts.
    """
    check_parts(parts, recipe)
    file = ModelFile.load(model)
    # Without the clips of classes that the model does not have, as everywhere.
    corpora, cross = (
        {name: one.of_classes(recipe.classes) for name, one in read_corpora(names, root).items()}
        for names in (recipe.corpora, recipe.cross_corpora)
    )
    split = recipe_split(recipe, corpora)

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
            for clip in evenly_spaced([one for one in tested if one.corpus == name], SPEECH_CLIPS)
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
