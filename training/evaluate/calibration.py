"""Calibration: temperature, class biases and abstain threshold, from speakers not trained on.

Two ways: :func:`calibrate` fits temperature and threshold to validation speakers of the same run;
:func:`fit_temperature_and_bias` fits temperature and a bias for each class to the test speakers of
other folds (:mod:`training.evaluate.household`).
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
    from training.evaluate.predictions import ClipScores

LARGEST_BIAS = 3.0
_BIAS_PENALTY = 0.005
"""Weight of the squared biases: keeps a class of a single corpus from following a few clips."""


class TemperatureAndBias(msgspec.Struct, frozen=True, kw_only=True):
    """Turns logits into probabilities that assume equally frequent classes."""

    temperature: float
    bias: dict[str, float]


def fit_temperature_and_bias(
    clips: Sequence[ClipScores], labels: Sequence[str], *, biased: bool = True
) -> TemperatureAndBias:
    """Temperature and biases under which the truth is most likely.

    Every corpus counts alike, and in it every class. For a neutral clip of a corpus without
    calm, calm is as right as neutral.

    Args:
        clips: Of speakers that are not measured with the result.
        labels: Classes of the network.
        biased: Whether to fit biases; otherwise they are 0.
    """
    from scipy.optimize import minimize

    logs = np.array([clip.logs for clip in clips])
    accepted, weights = _truths(clips, labels)

    def loss(free: NDArray[np.float64]) -> float:
        shifted = logs * np.exp(-free[0]) + free[1:]
        shifted -= np.logaddexp.reduce(shifted, axis=1, keepdims=True)
        likely = np.logaddexp.reduce(np.where(accepted, shifted, -np.inf), axis=1)
        return float(-(weights * likely).sum() + _BIAS_PENALTY * np.square(free[1:]).sum())

    bounds = [(None, None), *[(None, None) if biased else (0.0, 0.0)] * len(labels)]
    found = minimize(loss, np.zeros(1 + len(labels)), method="L-BFGS-B", bounds=bounds).x
    bias = np.clip(found[1:] - found[1:].mean(), -LARGEST_BIAS, LARGEST_BIAS)
    return TemperatureAndBias(
        temperature=round(float(np.clip(np.exp(found[0]), 0.3, 4.0)), 3),
        bias={label: round(float(odds), 3) for label, odds in zip(labels, bias, strict=True)},
    )


def _truths(
    clips: Sequence[ClipScores], labels: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The right classes of each clip, and its weight."""
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
    """Temperature and abstain threshold of a model file."""

    temperature: float
    """Divides the logits."""
    abstain_threshold: float
    """Confidence below which the decision is ``uncertain``."""


def calibrate(answers: Sequence[Answer], coverage: float) -> Calibration:
    """Fit temperature and threshold on validation speakers, every corpus counting alike.

    Args:
        answers: Of the model at temperature 1, so that the logarithm of a score is a logit.
        coverage: Share of the clips above the threshold.
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
