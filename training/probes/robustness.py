"""Accuracy on test clips under every condition, compared with clean clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.evaluate.classification import Answer, figures
from training.prepare import CACHE
from training.probes.conditions import CONDITIONS, ClipClassifier, ConditionCache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.corpora import Clip

KEPT = ("accuracy", "uar", "accuracy_at_coverage", "four_groups_accuracy", "ece", "recall")
"""The subset of :func:`training.evaluate.classification.figures` for each condition."""


def _silent(_what: str, _done: int, _all: int) -> None:
    pass


def probe(
    model: Path | str,
    clips: Sequence[Clip],
    *,
    noise_clips: Sequence[Path],
    conditions: Sequence[str] = tuple(CONDITIONS),
    seed: int = 0,
    coverage: float = 0.7,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = _silent,
) -> dict[str, Any]:
    """Measure one model on clips under conditions, as ``serd classify --whole`` would hear them.

    Everything that does not depend on the model is cached: further models take two milliseconds for
    each clip and condition.

    Args:
        model: A packed model file, or the name of a packaged one.
        clips: Of test speakers; of one corpus or several.
        noise_clips: Recordings of noise not used in training
            (:data:`training.corpora.esc10.TEST_FOLDS`).
        conditions: Their names; ``clean`` is always included.
        seed: Of everything random; figures of one seed are comparable.
        coverage: Share of the clips for the accuracy of the most confident ones.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        See ``robustness`` in :mod:`training.probes`.

    Raises:
        InputError: A file cannot be read.
        ModelError: serd cannot use the model.
    """
    wanted = [name for name in CONDITIONS if name == "clean" or name in conditions]
    judge = ClipClassifier(model)
    hearing = ConditionCache(judge.features, wanted, noises=noise_clips, seed=seed, cache=cache)
    done = 0

    def step(count: int, what: str = "hear") -> None:
        nonlocal done
        done += count
        progress(what, done, len(clips))

    hearing.prepare(clips, jobs=jobs, progress=step)
    done = 0
    answers: dict[tuple[str, str], list[Answer]] = {}
    for clip in clips:
        for name in wanted:
            prediction = judge.judge(hearing.power(clip, name))
            # Rounded like the output of `serd classify`, so that ties are the same.
            scores = {label: round(score, 6) for label, score in prediction.scores.items()}
            answer = Answer(clip=clip, scores=scores, decision=prediction.emotion)
            answers.setdefault((clip.corpus, name), []).append(answer)
        step(1, "judge")
    corpora: dict[str, Any] = {}
    for (corpus, name), given in answers.items():
        every = figures(given, coverage=coverage)
        place = corpora.setdefault(
            corpus,
            {key: every[key] for key in ("clips", "speakers", "classes")} | {"conditions": {}},
        )
        place["conditions"][name] = {key: every[key] for key in KEPT}
    return {
        "seed": seed,
        "coverage": coverage,
        "noise": sorted(path.stem for path in noise_clips),
        "about": {name: CONDITIONS[name].about for name in wanted},
        "corpora": corpora,
    }
