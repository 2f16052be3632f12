"""Temperature and abstain threshold, from validation speakers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from training import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.evaluate import Answer


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
