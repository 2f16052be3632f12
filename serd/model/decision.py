"""From the network's output to an emotion, or to none.

There are two steps. `Decision.log_scores` turns the output into calibrated log probabilities;
`Decision.predict` turns these into a prediction. In between, the log scores may be shifted or
replaced, as corrections (`serd.model.adaptation`) and the evidence of earlier utterances
(`serd.model.gathering`) do.

If the model has a `serd.model.metadata.Home`, the log scores include its class bias and the share
of ordinary speech that it assumes. The most probable class is reported as an emotion if the
probability of all emotions together reaches a threshold (or that of this one, see
`serd.model.metadata.ThresholdOn`). Neutral and calm have no threshold, because nobody is alarmed by
ordinary speech: one of them is reported if the two together are at least as likely as all emotions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN
from serd.model.metadata import ORDINARY, SENSITIVITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serd.config import Sensitivity
    from serd.model.adaptation import Adaptation
    from serd.model.metadata import Home, ModelInfo

SMALLEST_PROBABILITY: Final = 1.0 / 512.0
"""Replaces 0 where a network's output is probabilities: half a step of int8."""

ORDINARY_SHARE: Final = 0.5
"""Probability of neutral and calm together from which one of them is reported."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The model's answer for one utterance."""

    emotion: str
    """One of `EMOTIONS`, or `UNCERTAIN`."""
    confidence: float
    """Calibrated probability of the most probable class, 0..1, even if the emotion is uncertain."""
    scores: dict[str, float]
    """Calibrated probability of each of the eight emotions; they sum to 1. A class that the model
    lacks is 0."""
    valence: float
    """Unpleasant -1 .. 1 pleasant: the mean of `COORDINATES`, weighted by the scores."""
    arousal: float
    """Sleepy -1 .. 1 aroused, likewise."""
    own: Prediction | None = None
    """The prediction without corrections; None if none were applied."""
    adapted: int = 0
    """Number of corrections applied."""
    start_s: float | None = None
    """Start in seconds from the beginning of the recording or stream; None for an array."""
    end_s: float | None = None
    """End, likewise."""

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain values, under the names that ``serd classify --json`` uses.

        Returns:
            ``emotion``, ``confidence``, ``scores``, ``valence`` and ``arousal``; for part of a
            recording also ``start_s`` and ``end_s``; after corrections also ``adapted``,
            ``model_emotion`` and ``model_confidence``.
        """
        values: dict[str, Any] = {}
        if self.start_s is not None and self.end_s is not None:
            values |= {"start_s": self.start_s, "end_s": self.end_s}
        values |= {
            "emotion": self.emotion,
            "confidence": self.confidence,
            "scores": dict(self.scores),
            "valence": self.valence,
            "arousal": self.arousal,
        }
        if self.own is not None:
            values |= {
                "adapted": self.adapted,
                "model_emotion": self.own.emotion,
                "model_confidence": self.own.confidence,
            }
        return values

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return msgspec.json.encode(self.to_dict()).decode()


class Decision:
    """Calibrates the network's output and decides on an emotion, or abstains.

    Args:
        labels: Classes in the order of the network's output.
        info: The model's calibration.
        min_confidence: Confidence below which the decision is `UNCERTAIN`; None: the model's own
            threshold.
        sensitivity: Which of the model's thresholds to use; without effect if ``min_confidence``
            is given or the model has only one.
        stated: The class frequencies that the scores of a prediction assume: those of a ``home``,
            or ``even`` ones, as for recordings of unknown origin. The emotion is decided by those
            of a home either way.

    Raises:
        ValueError: If ``min_confidence`` is not within 0..1, or there is no such sensitivity.
    """

    def __init__(
        self,
        labels: Sequence[str],
        info: ModelInfo,
        *,
        min_confidence: float | None = None,
        sensitivity: Sensitivity = "normal",
        stated: Literal["home", "even"] = "home",
    ) -> None:
        self.labels = tuple(labels)
        """Classes in the order of the network's output, and of all arrays here."""
        self._info = info
        self._output: Literal["logits", "probabilities"] = info.output
        self._temperature = info.temperature
        self._min_confidence = min_confidence
        self.home = info.home
        """What the model assumes about homes, if anything."""
        self.log_prior: npt.NDArray[np.float64] = np.full(len(labels), -math.log(len(labels)))
        """float64 ``[classes]``: logarithm of each class's prior probability."""
        self._shift = np.zeros(len(labels))
        if self.home is not None:
            trained = _log_shares(self.labels, self.home.trained_share)
            self.log_prior = _log_shares(self.labels, self.home.ordinary_share)
            bias = [self.home.bias.get(label, 0.0) for label in self.labels]
            self._shift = self.log_prior - trained + np.array(bias)
        self._stated = stated
        self._unstated = np.zeros(len(labels))
        if self.home is not None and stated == "even":
            self._unstated = trained - self.log_prior
        if min_confidence is not None and not 0.0 <= min_confidence <= 1.0:
            msg = f"a minimum confidence of {min_confidence} is not within 0 .. 1"
            raise ValueError(msg)
        self.sensitivity = sensitivity
        self.adaptation: Adaptation | None = None
        """The adaptation learned from corrections; may be set at any time, from any thread."""

    @property
    def sensitivity(self) -> Sensitivity:
        """How readily an emotion is reported; may be set at any time, from any thread."""
        return self._sensitivity

    @sensitivity.setter
    def sensitivity(self, sensitivity: Sensitivity) -> None:
        if sensitivity not in SENSITIVITIES:
            msg = f"a sensitivity of {sensitivity!r} is none of {', '.join(SENSITIVITIES)}"
            raise ValueError(msg)
        self._sensitivity: Sensitivity = sensitivity
        threshold = self._min_confidence
        if threshold is None:
            threshold = self._info.abstain_threshold
            if self.home is not None:
                threshold = self.home.sensitivity[sensitivity].threshold
        self._threshold = threshold

    @property
    def threshold(self) -> float:
        """Confidence below which the decision is `UNCERTAIN`; with a home, for emotions only."""
        return self._threshold

    @property
    def adjustable(self) -> bool:
        """Whether the sensitivity has an effect."""
        return self.home is not None and self._min_confidence is None

    def copy(self) -> Decision:
        """A new decision with the same settings, whose sensitivity can be set independently."""
        return Decision(
            self.labels,
            self._info,
            min_confidence=self._min_confidence,
            sensitivity=self._sensitivity,
            stated=self._stated,
        )

    def with_home(self, home: Home) -> Decision:
        """A new decision with other household settings, and otherwise the same ones."""
        return Decision(
            self.labels,
            msgspec.structs.replace(self._info, home=home),
            min_confidence=self._min_confidence,
            sensitivity=self._sensitivity,
            stated=self._stated,
        )

    def decide(self, output: npt.NDArray[np.float32]) -> Prediction:
        """Make a prediction from one output of the network.

        Args:
            output: float32 ``[classes]``, dequantised.

        Returns:
            The prediction.
        """
        log_scores = self.log_scores(output)
        own = self.predict(log_scores)
        adaptation = self.adaptation
        if adaptation is None:
            return own
        adapted = self.predict(adaptation.shift(log_scores))
        return msgspec.structs.replace(adapted, own=own, adapted=adaptation.corrections)

    def log_scores(self, output: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Calibrated log probabilities for one output of the network.

        Args:
            output: float32 ``[classes]``, dequantised.

        Returns:
            float64 ``[classes]``, finite; the exponentials sum to 1.
        """
        logits = output.astype(np.float64)
        if self._output == "probabilities":
            logits = np.log(np.maximum(logits, SMALLEST_PROBABILITY))
        shifted = logits / self._temperature + self._shift
        shifted -= shifted.max()
        return np.asarray(shifted - math.log(np.exp(shifted).sum()))

    def log_scores_of(self, scores: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """The log probabilities behind a prediction's scores; none below `SMALLEST_PROBABILITY`.

        Args:
            scores: Probability of each emotion; classes that the model lacks are ignored.

        Returns:
            float64 ``[classes]``.
        """
        floor = SMALLEST_PROBABILITY
        return np.log([max(scores.get(label, 0.0), floor) for label in self.labels])

    def predict(self, log_scores: npt.NDArray[np.float64]) -> Prediction:
        """Make a prediction from log probabilities.

        Args:
            log_scores: float64 ``[classes]``, finite; they need not be normalised.

        Returns:
            The prediction.
        """
        return self._weigh(softmax(log_scores))

    def silence(self) -> Prediction:
        """The prediction for silence: `UNCERTAIN`, and equal scores for all classes."""
        return self._weigh(np.full(len(self.labels), 1.0 / len(self.labels)), certain=False)

    def _weigh(self, probabilities: npt.NDArray[np.float64], *, certain: bool = True) -> Prediction:
        emotion = UNCERTAIN
        if certain:
            emotion = self.label_of(self._by_name(probabilities))
            if self._unstated.any():
                probabilities = softmax(np.log(np.maximum(probabilities, 1e-300)) + self._unstated)
        scores = self._by_name(probabilities)
        return Prediction(
            emotion=emotion,
            confidence=max(scores[label] for label in self.labels),
            scores=scores,
            valence=math.fsum(p * COORDINATES[name][0] for name, p in scores.items()),
            arousal=math.fsum(p * COORDINATES[name][1] for name, p in scores.items()),
        )

    def _by_name(self, probabilities: npt.NDArray[np.float64]) -> dict[str, float]:
        scores = dict.fromkeys(EMOTIONS, 0.0)
        scores.update(zip(self.labels, probabilities.tolist(), strict=True))
        return scores

    def label_of(self, scores: Mapping[str, float]) -> str:
        """The emotion to report, or `UNCERTAIN`, for probabilities that assume a home's shares."""
        if self.home is None:
            top = max(self.labels, key=scores.__getitem__)
            return top if scores[top] >= self.threshold else UNCERTAIN
        emotion, strength = self.emotional(scores)
        return emotion if strength > 0.0 and strength >= self.threshold else ordinary(scores)

    def emotional(self, scores: Mapping[str, float]) -> tuple[str, float]:
        """The most probable emotion, and what is compared with the threshold.

        With a ``min_confidence`` of the user's own, that is the probability of the emotion itself.

        Args:
            scores: Probability of each emotion, assuming a home's shares.

        Returns:
            The emotion; and a probability, 0 if neutral or calm is at least as probable.
        """
        emotions = [label for label in self.labels if label not in ORDINARY]
        top = max(emotions, key=scores.__getitem__)
        if scores[top] <= max(scores[name] for name in ORDINARY):
            return top, 0.0
        if self.adjustable and self.home and self.home.threshold_on == "all_emotions":
            return top, math.fsum(scores[label] for label in emotions)
        return top, scores[top]


def ordinary(scores: Mapping[str, float]) -> str:
    """``neutral`` or ``calm``, whichever is likelier, if likely enough together; else `UNCERTAIN`.

    Args:
        scores: Probability of each emotion.
    """
    if math.fsum(scores[name] for name in ORDINARY) < ORDINARY_SHARE:
        return UNCERTAIN
    return max(ORDINARY, key=scores.__getitem__)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities of finite logits ``[classes]``; they sum to 1."""
    odds = np.exp(logits - logits.max())
    return np.asarray(odds / odds.sum())


def _log_shares(labels: Sequence[str], ordinary_share: float) -> npt.NDArray[np.float64]:
    """Log shares: ordinary classes divide theirs evenly, and so do emotional ones."""
    ordinary_classes = sum(label in ORDINARY for label in labels)
    emotional_classes = len(labels) - ordinary_classes
    return np.log(
        [
            ordinary_share / ordinary_classes
            if label in ORDINARY
            else (1.0 - ordinary_share) / emotional_classes
            for label in labels
        ]
    )
