"""From the network's output to an emotion, or to none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serd.model.model_file import ModelInfo

_SMALLEST_PROBABILITY: Final = 1.0 / 512.0
"""Stands for 0 where a network gives probabilities: half a step of int8."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What the model makes of one utterance."""

    emotion: str
    """One of `EMOTIONS`, or `UNCERTAIN`."""
    confidence: float
    """Calibrated probability of the top class, 0..1, also when the decision is uncertain."""
    scores: dict[str, float]
    """Calibrated probability of each of the eight emotions; they sum to 1. A class that the model
    does not have is 0."""
    valence: float
    """Unpleasant -1 .. 1 pleasant: expectation of `COORDINATES` under the scores."""
    arousal: float
    """Sleepy -1 .. 1 aroused: the same."""


class Decision:
    """Calibrates, weighs and, where it has to, abstains.

    Args:
        labels: Classes in the order of the network's output.
        info: The model's calibration.
        min_confidence: Below it the decision is `UNCERTAIN`; None: the model's own threshold.

    Raises:
        ValueError: If ``min_confidence`` is not within 0..1.
    """

    def __init__(
        self, labels: Sequence[str], info: ModelInfo, *, min_confidence: float | None = None
    ) -> None:
        self._labels = tuple(labels)
        self._output: Literal["logits", "probabilities"] = info.output
        self._temperature = info.temperature
        self.threshold = info.abstain_threshold if min_confidence is None else min_confidence
        """Confidence below which the decision is `UNCERTAIN`."""
        if not 0.0 <= self.threshold <= 1.0:
            msg = f"a minimum confidence of {self.threshold} is not within 0 .. 1"
            raise ValueError(msg)

    def decide(self, output: npt.NDArray[np.float32]) -> Prediction:
        """Decide on one output of the network.

        Args:
            output: float32 ``[classes]``, dequantised.

        Returns:
            The prediction.
        """
        logits = output.astype(np.float64)
        if self._output == "probabilities":
            logits = np.log(np.maximum(logits, _SMALLEST_PROBABILITY))
        return self._weigh(softmax(logits / self._temperature))

    def nothing_heard(self) -> Prediction:
        """What silence gives: every class of the model alike, and no decision."""
        return self._weigh(np.full(len(self._labels), 1.0 / len(self._labels)), certain=False)

    def _weigh(self, probabilities: npt.NDArray[np.float64], *, certain: bool = True) -> Prediction:
        scores = dict.fromkeys(EMOTIONS, 0.0)
        scores.update(zip(self._labels, probabilities.tolist(), strict=True))
        top = max(self._labels, key=scores.__getitem__)
        certain = certain and scores[top] >= self.threshold
        return Prediction(
            emotion=top if certain else UNCERTAIN,
            confidence=scores[top],
            scores=scores,
            valence=math.fsum(p * COORDINATES[name][0] for name, p in scores.items()),
            arousal=math.fsum(p * COORDINATES[name][1] for name, p in scores.items()),
        )


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities of finite logits ``[classes]``; they sum to 1."""
    odds = np.exp(logits - logits.max())
    return np.asarray(odds / odds.sum())
