"""Calibration: temperature, class biases and abstain threshold, from speakers not trained on.

Two ways: :func:`calibrate` fits temperature and threshold to validation speakers of the same run;
:func:`fit_calibration` fits temperature and a bias for each class to the test speakers of other
folds (:mod:`training.evaluate.household`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from training.evaluate import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.evaluate.classification import Answer
    from training.evaluate.predictions import HeardClip

MOST_BIAS = 3.0
_STIFFNESS = 0.005
"""Of the bias: a class that one corpus alone has is not moved by a few odd clips."""


class TemperatureAndBias(msgspec.Struct, frozen=True, kw_only=True):
    """What makes probabilities of a network's answers, all classes being equally frequent."""

    temperature: float
    bias: dict[str, float]


def fit_calibration(clips: Sequence[HeardClip], labels: Sequence[str]) -> TemperatureAndBias:
    """Temperature and biases under which the truth is most likely.

    Every corpus counts alike, and in it every class. Calm is as right as neutral for a neutral clip
    of a corpus that has no calm.

    Args:
        clips: Of speakers that are not judged by what comes out.
        labels: Classes of the network.
    """
    from scipy.optimize import minimize

    logs = np.array([clip.logs for clip in clips])
    accepted, weights = _truths(clips, labels)

    def loss(free: NDArray[np.float64]) -> float:
        shifted = logs * np.exp(-free[0]) + free[1:]
        shifted -= np.logaddexp.reduce(shifted, axis=1, keepdims=True)
        likely = np.logaddexp.reduce(np.where(accepted, shifted, -np.inf), axis=1)
        return float(-(weights * likely).sum() + _STIFFNESS * np.square(free[1:]).sum())

    found = minimize(loss, np.zeros(1 + len(labels)), method="L-BFGS-B").x
    bias = np.clip(found[1:] - found[1:].mean(), -MOST_BIAS, MOST_BIAS)
    return TemperatureAndBias(
        temperature=round(float(np.clip(np.exp(found[0]), 0.3, 4.0)), 3),
        bias={label: round(float(odds), 3) for label, odds in zip(labels, bias, strict=True)},
    )


def _truths(
    clips: Sequence[HeardClip], labels: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which classes are right for each clip, and how much it counts."""
    present: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        present[clip.corpus].add(clip.emotion)
    counts = Counter((clip.corpus, clip.emotion) for clip in clips)
    accepted = np.array(
        [
            [
                label == clip.emotion
                or (
                    clip.emotion == "neutral"
                    and label == "calm"
                    and "calm" not in present[clip.corpus]
                )
                for label in labels
            ]
            for clip in clips
        ]
    )
    weights = np.array(
        [1.0 / counts[clip.corpus, clip.emotion] / len(present[clip.corpus]) for clip in clips]
    )
    return accepted, weights / weights.sum()


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What turns a network's output into a decision."""

    temperature: float
    """Divides the logits."""
    abstain_threshold: float
    """Confidence below which the model does not decide."""


def calibrate(answers: Sequence[Answer], coverage: float) -> Calibration:
    """Choose both on validation speakers, every corpus counting alike.

    Args:
        answers: Of the model with temperature 1, so that the logarithm of a score is a logit.
        coverage: Share of the clips that the threshold lets through.
    """
    labels = list(answers[0].scores)
    counts = Counter(answer.clip.corpus for answer in answers)
    weights = np.array([1.0 / counts[answer.clip.corpus] for answer in answers])
    weights /= weights.sum()
    emotions = {
        name: {answer.clip.emotion for answer in answers if answer.clip.corpus == name}
        for name in counts
    }
    accepted = np.array(
        [
            [_accepts(label, answer, emotions[answer.clip.corpus]) for label in labels]
            for answer in answers
        ]
    )
    scores = np.array([[answer.scores[label] for label in labels] for answer in answers])
    logits = np.log(np.maximum(scores, 1e-12))
    temperature = metrics.best_temperature(logits, accepted, weights)
    confidence = metrics.softmax(logits, temperature).max(axis=1)
    threshold = metrics.threshold_for_coverage(confidence, coverage, weights)
    return Calibration(temperature=temperature, abstain_threshold=round(threshold, 4))


def _accepts(label: str, answer: Answer, emotions: set[str]) -> bool:
    truth = answer.clip.emotion
    return label == truth or (truth == "neutral" and label == "calm" and "calm" not in emotions)
