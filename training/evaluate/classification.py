"""Evaluation of a packed model, by the very code of ``serd classify --whole``.

Clips go through :func:`serd.recordings.classify_all`, which is all that the command does with a
file. So the figures of a model card can be reproduced from its output, to the last digit.

What counts as right: the label with the highest score of all that the model has. A corpus without
calm cannot tell calm from neutral, so there calm counts as neutral. Any other class that a corpus
lacks is a mistake like every mistake. ``uncertain`` plays no part in accuracy and UAR: abstaining
has figures of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from serd.model.emotions import UNCERTAIN
from training.evaluate import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.corpora import Clip


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Scores and decision of a model for one clip."""

    clip: Clip
    scores: dict[str, float]
    """Probability of each class."""
    decision: str
    """A class, or ``uncertain``."""


def classify_clips(
    model: Path | str,
    clips: Sequence[Clip],
    *,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """Classify whole clips as ``serd classify --whole`` does.

    Args:
        model: A packed model file, or the name of a packaged one.
        clips: The clips; answers come in this order.
        jobs: Processes.
        progress: Called with the number of clips that were added.

    Raises:
        InputError: A clip cannot be read.
    """
    from serd.config import Config, ModelConfig
    from serd.recordings import classify_all

    config = Config(model=ModelConfig(path=str(model)))
    answers: list[Answer] = []
    examined = classify_all([clip.path for clip in clips], config, whole=True, jobs=jobs)
    for clip, result in zip(clips, examined, strict=True):
        if result.error is not None:
            raise result.error
        finding = result.utterances[0]
        answers.append(Answer(clip=clip, scores=finding.scores, decision=finding.emotion))
        progress(1)
    return answers


def top_label(scores: Mapping[str, float], emotions: Iterable[str]) -> str:
    """The label with the highest score; calm counts as neutral if the corpus has no calm.

    An int8 network gives two classes the same output now and then. Rounded as ``serd classify
    --json`` rounds them, their scores are equal, and the first class counts.

    Args:
        scores: Of all eight classes.
        emotions: Classes of the corpus.
    """
    best = max(scores, key=lambda label: round(scores[label], 6))
    return "neutral" if best == "calm" and "calm" not in emotions else best


def grouped(answers: Sequence[Answer]) -> tuple[list[str], NDArray[np.float64]]:
    """The group of emotions (:func:`~training.evaluate.metrics.group_of`) with the highest total.

    Args:
        answers: Of a model.

    Returns:
        For each clip the group, and its total score.
    """
    names, sums = [], []
    for answer in answers:
        of_group: dict[str, float] = defaultdict(float)
        for label, score in answer.scores.items():
            of_group[metrics.group_of(label)] += score
        names.append(max(of_group, key=lambda name: of_group[name]))
        sums.append(of_group[names[-1]])
    return names, np.array(sums)


def axis_signs(answers: Sequence[Answer], axis: int) -> tuple[list[str], list[str]]:
    """True and predicted signs of the clips on an axis.

    The truth is the sign that an emotion has in :data:`serd.model.emotions.COORDINATES`. There
    neutral is the origin and has none, so neutral clips are left out; calm is pleasant and sleepy.
    The prediction is the sign of the value that the daemon publishes, the mean of the coordinates
    weighted by the scores.

    Args:
        answers: Of a model.
        axis: 0 valence, 1 arousal.

    Returns:
        ``+`` or ``-`` for each clip that has a sign: true, and predicted.
    """
    from serd.model.emotions import COORDINATES

    truth, predicted = [], []
    for answer in answers:
        place = COORDINATES[answer.clip.emotion][axis]
        if place == 0.0:
            continue
        value = math.fsum(
            share * COORDINATES[label][axis] for label, share in answer.scores.items()
        )
        truth.append("+" if place > 0.0 else "-")
        predicted.append("+" if value > 0.0 else "-")
    return truth, predicted


def figures(answers: Sequence[Answer], *, coverage: float) -> dict[str, Any]:
    """All figures of one corpus.

    Args:
        answers: On clips of one corpus.
        coverage: Share of the clips for the accuracy of the most confident ones.
    """
    emotions = sorted({answer.clip.emotion for answer in answers})
    truth = [answer.clip.emotion for answer in answers]
    predicted = [top_label(answer.scores, emotions) for answer in answers]
    own = [
        top_label({label: answer.scores[label] for label in emotions}, emotions)
        for answer in answers
    ]
    confidence = np.array([max(answer.scores.values()) for answer in answers])
    right = np.array([a == b for a, b in zip(truth, predicted, strict=True)])
    told = [
        ("neutral" if one.decision == "calm" and "calm" not in emotions else one.decision)
        for one in answers
    ]
    decided = np.array([one != UNCERTAIN for one in told])
    told_right = np.array([a == b for a, b in zip(truth, told, strict=True)])
    labels = sorted(set(truth) | set(predicted))
    by_speaker: dict[str, list[bool]] = defaultdict(list)
    for answer, hit in zip(answers, right, strict=True):
        by_speaker[answer.clip.speaker].append(bool(hit))
    signs = {
        f"{axis}_sign_{name}": measure(*sides)
        for place, axis in enumerate(("valence", "arousal"))
        if all(sides := axis_signs(answers, place))
        for name, measure in (("accuracy", metrics.accuracy), ("uar", metrics.uar))
    }
    each = [float(np.mean(hits)) for hits in by_speaker.values()]
    group, surety = grouped(answers)
    group_right = np.array([metrics.group_of(a) == b for a, b in zip(truth, group, strict=True)])
    return {
        "clips": len(answers),
        "speakers": sorted(by_speaker),
        "classes": emotions,
        "accuracy": metrics.accuracy(truth, predicted),
        "uar": metrics.uar(truth, predicted),
        "accuracy_own_classes": metrics.accuracy(truth, own),
        "uar_own_classes": metrics.uar(truth, own),
        "four_groups_accuracy": float(group_right.mean()),
        "four_groups_accuracy_at_coverage": metrics.accuracy_at_coverage(
            surety, group_right, coverage
        ),
        **signs,
        "recall": metrics.recalls(truth, predicted),
        "labels": labels,
        "confusion": metrics.confusion(truth, predicted, labels),
        "ece": metrics.calibration_error(confidence, right),
        "reliability": metrics.reliability(confidence, right),
        "risk_coverage": metrics.risk_coverage(confidence, right),
        "coverage": coverage,
        "accuracy_at_coverage": metrics.accuracy_at_coverage(confidence, right, coverage),
        "decided_share": float(decided.mean()),
        "decided_accuracy": float(told_right[decided].mean()) if decided.any() else None,
        "speaker_accuracy": {
            name: float(np.mean(hits)) for name, hits in sorted(by_speaker.items())
        },
        "speaker_accuracy_sd": float(np.std(each)),
    }
