"""Adaptation to a household's corrections: a small shift of the model's own scores.

A correction consists of an utterance's scores as the model gave them, and the emotion that somebody
said it was (or only that it was not the one serd had named). All corrections together are used to
fit a matrix ``delta``, which shifts the log scores of every later utterance::

    x   = log scores, not below log `FLOOR`, minus their mean              [classes]
    z   = (x - mu) / (sigma sqrt(classes))                                 [classes]
    phi = z followed by 1                                                  [classes + 1]
    p   = softmax((log scores + delta^T phi) / temperature)                [classes]

``mu`` and ``sigma`` are those of ``x`` over speakers who were not in the training data; the model
file contains them (`ScoreStatistics`). ``delta`` minimises the cross-entropy over the corrections
plus ``strength / 2`` times its own squared norm: multinomial logistic regression with a prior that
favours the unadapted model. It is found by bound optimisation (D. Böhning, "Multinomial logistic
regression algorithm", Annals of the Institute of Statistical Mathematics 44, 1992): the Hessian
never exceeds half of ``phi^T phi``, so one small inverse serves every step, and every step improves
the fit.

"Not that" has the likelihood ``1 - p[denied]``. Its gradient is that of a correction whose target
is ``p`` distributed over the other classes, so each step starts by updating this target.

The fit depends on the corrections alone: deleting one, or all of them, leaves no trace.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from serd.model.metadata import ScoreStatistics

    Floats = npt.NDArray[np.float64]

FLOOR: Final = 0.001
"""Smaller scores are raised to this value: below it they are mostly rounding error."""

MOST: Final = 10_000
"""Maximum number of corrections used for learning; the latest ones."""

PASSED_MOST: Final = 20
"""Maximum number of utterances between two corrections that count as approved. Over a longer time
nobody may have been watching."""

_LOG_FLOOR: Final = math.log(FLOOR)
_STEPS: Final = 30
_STRENGTH: Final = (2.0, 8.0)
_USUAL: Final = {
    "neutral": (0.14, 2.1),
    "calm": (-1.57, 1.61),
    "happy": (0.56, 1.76),
    "sad": (0.93, 1.97),
    "angry": (0.17, 2.33),
    "fearful": (0.8, 1.86),
    "disgust": (0.91, 1.65),
    "surprised": (-1.93, 1.4),
}
"""Mean and spread for models whose file has none: those of the default model 1.4."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One correction, as a training example."""

    scores: tuple[float, ...]
    """The model's unadapted scores, one for each of its classes."""
    emotion: int | None
    """Index of the right class; None: unknown, but it was not ``denied``."""
    denied: int | None = None
    """Index of the class that it was not, if ``emotion`` is None."""
    passed: int = 0
    """Uncorrected utterances since the previous correction, at most `PASSED_MOST`."""


class Adaptation:
    """A fitted shift. It is immutable, so threads share it without a lock.

    Args:
        delta: float64 ``[classes + 1, classes]``.
        corrections: Number of corrections it was fitted to.
        mean: float64 ``[classes]``: mean of the log scores, floored and centred.
        spread: float64 ``[classes]``: their standard deviation.
    """

    __slots__ = ("_mean", "_scale", "corrections", "delta", "temperature")

    def __init__(self, delta: Floats, corrections: int, mean: Floats, spread: Floats) -> None:
        self.delta = delta
        self.corrections = corrections
        self._mean = mean
        self._scale = 1.0 / (spread * math.sqrt(len(mean)))
        self.temperature = temperature(corrections)
        """Divisor of the logits, which keeps the adapted scores calibrated."""

    def shift(self, log_scores: Floats) -> Floats:
        """Shift scores of the model.

        Args:
            log_scores: float64 ``[classes]`` or ``[n, classes]``: logarithms of the model's
                unadapted probabilities.

        Returns:
            Log probabilities of the same shape, up to a constant in each row.
        """
        z = (_centred(np.maximum(log_scores, _LOG_FLOOR)) - self._mean) * self._scale
        shifted = log_scores + z @ self.delta[:-1] + self.delta[-1]
        return np.asarray(shifted / self.temperature)


def temperature(corrections: int) -> float:
    """Divisor of the adapted logits.

    The strong prior makes adapted scores underconfident, the more so the more corrections there
    are. Chosen on simulated households of validation speakers (``serd-train probe --personal``).
    """
    return 1.0 - 0.2 * corrections / (corrections + 40.0)


def strength(examples: Sequence[Example]) -> float:
    """Strength of the prior that favours the unadapted model.

    Corrections are made where the model was wrong, so they make it look worse than it is. The more
    utterances were left uncorrected between them, the more the model deserves to be kept.
    """
    passed = sum(min(example.passed, PASSED_MOST) for example in examples)
    low, high = _STRENGTH
    return min(high, max(low, 2.0 * (passed + 20) / (len(examples) + 10)))


def fit(
    examples: Sequence[Example],
    labels: Sequence[str],
    standard: ScoreStatistics | None,
    *,
    held: float | None = None,
) -> Adaptation | None:
    """Fit an adaptation.

    Args:
        examples: Corrections of one model, the oldest first; at most the last `MOST` are used.
        labels: The model's classes, in the order of all scores.
        standard: Distribution of the model's log scores; None: that of another model is used.
        held: Strength of the prior; None: :func:`strength`.

    Returns:
        The adaptation; None if there are no examples.
    """
    examples = examples[-MOST:]
    if not examples:
        return None
    scores = np.array([example.scores for example in examples], dtype=np.float64)
    count, classes = scores.shape
    if standard is None:
        mean, spread = np.array([_USUAL[label] for label in labels]).T
    else:
        mean = np.array([standard.mean[label] for label in labels])
        spread = np.array([standard.spread[label] for label in labels])
    held = strength(examples) if held is None else held
    logs = log_scores(scores)
    phi = np.ones((count, classes + 1))
    phi[:, :-1] = (logs - mean) / (spread * math.sqrt(classes))
    told = np.array([-1 if one.emotion is None else one.emotion for one in examples])
    denied = np.array([-1 if one.denied is None else one.denied for one in examples])
    target = np.zeros((count, classes))
    named = np.flatnonzero(told >= 0)
    target[named, told[named]] = 1.0
    unnamed = np.flatnonzero((told < 0) & (denied >= 0))
    step = np.linalg.inv(held * np.eye(classes + 1) + 0.5 * (phi.T @ phi))
    delta = np.zeros((classes + 1, classes))
    for _ in range(_STEPS):
        now = _softmax(logs + phi @ delta)
        if len(unnamed):
            others = now[unnamed]
            others[np.arange(len(unnamed)), denied[unnamed]] = 0.0
            target[unnamed] = others / np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
        delta += step @ (phi.T @ (target - now) - held * delta)
    return Adaptation(delta, count, mean, spread)


def log_scores(scores: Floats) -> Floats:
    """Log scores, floored, minus their mean over the classes.

    Args:
        scores: float64 ``[..., classes]``: probabilities.
    """
    return _centred(np.log(np.maximum(scores, FLOOR)))


def _centred(logs: Floats) -> Floats:
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))


def _softmax(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))
