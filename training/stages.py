"""The stages of a run, one after the other: the one path that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.material import gather, silent
from training.prepare import CACHE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.material import Progress
    from training.runs import Run

RESULTS = Path(__file__).parent / "results"
"""Where cross-validations are kept."""


def do(
    run: Run,
    stages: Sequence[str],
    root: Path,
    *,
    cache: Path = CACHE,
    teacher: str | None = None,
    jobs: int = 2,
    threads: int = 1,
    results: Path = RESULTS,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Do some of the stages of a run, in their order.

    Args:
        run: Whose.
        stages: Of ``teach``, ``train`` (which includes it), ``quantise``, ``refit`` and
            ``evaluate``.
        root: Folder of the corpora.
        cache: Folder of the cache.
        teacher: See ``source`` of :meth:`Run.teach`.
        jobs: Processes.
        threads: Of TensorFlow.
        results: Folder in which the cross-validation of a model of everybody is looked for.
        progress: Hears of it.

    Returns:
        The figures, if they were asked for.
    """
    material = gather(run.recipe, root, cache=cache, jobs=jobs, progress=progress)
    if "teach" in stages or "train" in stages:
        taught = run.teach(material, source=teacher, cache=cache, jobs=jobs, progress=progress)
    if "train" in stages:
        run.train(material, threads=threads, taught=taught, progress=progress)
    if "quantise" in stages:
        run.quantise(material, jobs=jobs, progress=progress)
    if "refit" in stages:
        run.refit(
            material, source=teacher, cache=cache, jobs=jobs, threads=threads, progress=progress
        )
    if "evaluate" in stages:
        if not run.recipe.fold:
            run.adopt(results / f"{run.recipe.name}-folds.json")
        return run.evaluate(material, jobs=jobs, progress=progress)
    return {}
