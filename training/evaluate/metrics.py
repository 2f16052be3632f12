"""Metrics: accuracy, UAR, calibration, and the benefit of abstaining."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_BINS = 10
_RISKS = 50


def accuracy(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of clips with the right label."""
    return sum(a == b for a, b in zip(truth, predicted, strict=True)) / len(truth)


def recalls(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """For each class in ``truth``, the share of its clips that were recognised."""
    result = {}
    for label in sorted(set(truth)):
        of_class = [b for a, b in zip(truth, predicted, strict=True) if a == label]
        result[label] = of_class.count(label) / len(of_class)
    return result


def uar(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Unweighted average recall: all classes have equal weight."""
    each = recalls(truth, predicted)
    return sum(each.values()) / len(each)


def confusion(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> list[list[int]]:
    """Counts, a row for each true label, a column for each predicted label."""
    matrix = [[0] * len(labels) for _ in labels]
    for a, b in zip(truth, predicted, strict=True):
        matrix[labels.index(a)][labels.index(b)] += 1
    return matrix


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over ten bins of equal width (Guo et al., 2017)."""
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    error = 0.0
    for number in range(_BINS):
        inside = place == number
        if inside.any():
            gap = abs(float(right[inside].mean()) - float(confidence[inside].mean()))
            error += inside.mean() * gap
    return float(error)


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> dict[str, list[float] | list[int]]:
    """The data of a reliability diagram, in the bins of :func:`calibration_error`.

    Returns:
        For each of ten bins of confidence: ``clips``, how many of them are ``right``, and the sum
        of their ``confidence``. Sums, so that the tables of several folds can be added up.
    """
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    sums = [float(confidence[place == number].sum()) for number in range(_BINS)]
    return {
        "clips": np.bincount(place, minlength=_BINS).tolist(),
        "right": np.bincount(place[right], minlength=_BINS).tolist(),
        "confidence": [round(one, 4) for one in sums],
    }


def error_of_reliability(table: dict[str, Any]) -> float:
    """:func:`calibration_error` of what :func:`reliability` gave, or of a sum of such tables."""
    gaps = np.abs(np.array(table["right"]) - np.array(table["confidence"]))
    return float(gaps.sum() / sum(table["clips"]))


def error_by_chance(table: dict[str, Any]) -> float:
    """The expected :func:`calibration_error` of a perfectly calibrated model.

    Of ``n`` clips that are right with probability ``p`` each, the number of right ones differs from
    ``n p`` on average by ``sqrt(2 n p (1 - p) / pi)`` (the mean absolute deviation of the normal
    approximation). So few clips show an error even without miscalibration.

    Args:
        table: What :func:`reliability` gave, or a sum of such tables.
    """
    clips = np.array(table["clips"], dtype=np.float64)
    chance = np.array(table["confidence"]) / np.maximum(clips, 1.0)
    spread = clips * chance * np.maximum(1.0 - chance, 0.0)
    return float(np.sqrt(2.0 * spread / np.pi).sum() / clips.sum())


def risk_coverage(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[float]:
    """Share of errors among the most confident 2, 4, ... 100 % of the clips."""
    shares = np.arange(1, _RISKS + 1) / _RISKS
    risks = [1.0 - accuracy_at_coverage(confidence, right, float(share)) for share in shares]
    return [round(risk, 5) for risk in risks]


def accuracy_at_coverage(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], coverage: float
) -> float:
    """Accuracy on the most confident share of the clips."""
    count = max(1, round(len(right) * coverage))
    most = np.argsort(-confidence, kind="stable")[:count]
    return float(right[most].mean())


def threshold_for_coverage(
    confidence: NDArray[np.float64], coverage: float, weights: NDArray[np.float64]
) -> float:
    """The confidence that a share of the clips reaches.

    Args:
        confidence: Of each clip.
        coverage: The share.
        weights: Weight of each clip.
    """
    order = np.argsort(-confidence, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    last = min(int(np.searchsorted(reached, coverage)), len(order) - 1)
    return float(confidence[order[last]])


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of logits ``[..., classes]``."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def best_temperature(
    logits: NDArray[np.floating[Any]],
    accepted: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> float:
    """The temperature under which the truth is most likely, to a hundredth (Guo et al., 2017).

    Args:
        logits: ``[clips, classes]`` of validation speakers.
        accepted: ``[clips, classes]``, the classes that are right for a clip (calm and neutral for
            a neutral clip of a corpus that has no calm).
        weights: How much each clip counts.
    """
    candidates = np.round(np.arange(0.30, 4.001, 0.01), 2)
    losses = []
    for temperature in candidates:
        likely = (softmax(logits, float(temperature)) * accepted).sum(axis=1)
        losses.append(float(-(weights * np.log(np.maximum(likely, 1e-12))).sum()))
    return float(candidates[int(np.argmin(losses))])


def group_of(emotion: str) -> str:
    """The group of an emotion, one of four that are compared besides the classes."""
    return {
        "neutral": "neutral or calm",
        "calm": "neutral or calm",
        "happy": "happy or surprised",
        "surprised": "happy or surprised",
        "sad": "sad",
    }.get(emotion, "angry, fearful or disgusted")
