"""Evidence that accumulates over the utterances in a room, and fades.

One utterance of a second or two says little; two that agree say much more. So a prediction also
takes the preceding utterances into account. With ``p`` an utterance's own scores and ``pi`` the
class shares that its model assumes a priori, its likelihood ratio is ``l = log p - log pi``, and
the evidence ``E`` is updated by

    E <- weight * 2^(-dt / half_life_s) * E + l          (E <- l after more than pause_s of silence)

where ``dt`` is the silence since the previous utterance. The accumulated scores are
``softmax(log pi + E)``; for the first utterance after a pause they are its own. The weight accounts
for the fact that utterances of one speaker in one room are not independent.

A number of utterances may also be required to *agree*: an emotion is then reported only if enough
utterances since the last pause, none longer ago than `AGREE_HALF_LIVES`, support it. An utterance
supports its most likely emotional class if that is its most likely class overall, or has at least
the probability `AGREE_FROM`.

Before any of this, what the room always sounds like is subtracted from an utterance's scores, if
the model says what ordinary speech sounds like (`serd.model.habituation`).

There is no clock in here: the caller passes the times.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from serd.model.decision import Prediction, ordinary
from serd.model.habituation import Habituation
from serd.model.metadata import ORDINARY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serd.config import DecisionConfig
    from serd.model.decision import Decision

AGREE_FROM: Final = 0.25
"""Probability from which an utterance supports its most likely emotion even if neutral or calm is
likelier: far above the prior probability of any emotion."""

AGREE_HALF_LIVES: Final = 3.0
"""Half-lives after which an utterance no longer supports an emotion."""

COUNTED_FROM: Final = 0.05
"""Weight below which an utterance no longer counts as contributing."""

_REMEMBERED: Final = 256


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction from accumulated evidence."""

    prediction: Prediction
    """From all evidence so far."""
    utterances: int
    """Number of contributing utterances, including this one: those that weigh `COUNTED_FROM`."""


class Gatherer:
    """Accumulates the evidence of one room. Deterministic; not thread-safe.

    Args:
        decision: The model's classes, prior and threshold.
        agree: Utterances that must agree before an emotion is reported; None: the model's number.
        habituation: Whether to subtract what the room always sounds like, if the model allows it.

    Raises:
        ValueError: If the model has no assumptions about homes, or ``agree`` is below 1.
    """

    def __init__(
        self, decision: Decision, agree: int | None = None, *, habituation: bool = True
    ) -> None:
        home = decision.home
        if home is None:
            msg = "the model does not say how evidence accumulates"
            raise ValueError(msg)
        self._decision = decision
        self._half_life_s = home.gathering.half_life_s
        self._weight = home.gathering.weight
        self._pause_s = home.gathering.pause_s
        self.agree = home.agree if agree is None else agree
        """Utterances that must agree before an emotion is reported."""
        self.prior = home.ordinary_share
        """Share of neutral and calm utterances that the scores assume."""
        if self.agree < 1:
            msg = f"{self.agree} utterances cannot agree"
            raise ValueError(msg)
        self._habituation: Habituation | None = None
        if habituation and home.usual is not None:
            self._habituation = Habituation(home.usual, decision.labels)
        self.reset()

    @classmethod
    def configured(cls, decision: Decision, settings: DecisionConfig) -> Gatherer | None:
        """As a configuration wants it; None if the model has no assumptions about homes."""
        if decision.home is None:
            return None
        return cls(decision, settings.agree, habituation=settings.habituation)

    def reset(self) -> None:
        """Forget the evidence: the next utterance counts as the first. The room stays familiar."""
        self._evidence = np.zeros(len(self._decision.labels))
        self._weights: list[float] = []
        self._votes: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)
        self._end_s: float | None = None

    def add(self, prediction: Prediction, start_s: float, end_s: float) -> Gathered:
        """Add the next utterance.

        Args:
            prediction: The prediction for this utterance alone.
            start_s: Its start, in seconds on any clock.
            end_s: Its end. An utterance that starts before the previous one has ended is taken to
                follow without a pause.

        Returns:
            The prediction from all evidence.
        """
        prediction = self._familiar(prediction)
        elapsed = 0.0 if self._end_s is None else max(0.0, start_s - self._end_s)
        if elapsed > self._pause_s:
            self.reset()
        first = self._end_s is None
        decision = self._decision
        fade = self._weight * 2.0 ** (-elapsed / self._half_life_s)
        likelihood = decision.log_scores_of(prediction.scores) - decision.log_prior
        self._evidence = fade * self._evidence + likelihood
        kept = [weight * fade for weight in self._weights[1 - _REMEMBERED :]]
        self._weights = [*(weight for weight in kept if weight >= COUNTED_FROM), 1.0]
        self._end_s = end_s if self._end_s is None else max(end_s, self._end_s)
        if (vote := _supported_by(prediction)) is not None:
            self._votes.append((end_s, vote))
        # An utterance without earlier evidence keeps its scores exactly, even the tiny ones.
        if first or fade == 0.0:
            told = prediction
        else:
            told = decision.predict(decision.log_prior + self._evidence)
        return Gathered(prediction=self._agreed(told, start_s), utterances=len(self._weights))

    @property
    def excess(self) -> dict[str, float]:
        """Emotions that this room sounds like more than others: log-odds that are subtracted."""
        if self._habituation is None:
            return {}
        excess = self._habituation.excess.tolist()
        return {
            name: odds for name, odds in zip(self._decision.labels, excess, strict=True) if odds
        }

    def without_excess(self, scores: Mapping[str, float]) -> dict[str, float]:
        """An utterance's scores without what the room always sounds like. Any thread may ask."""
        excess = self.excess
        if not excess:
            return dict(scores)
        kept = {name: score * math.exp(-excess.get(name, 0.0)) for name, score in scores.items()}
        total = math.fsum(kept.values())
        return {name: score / total for name, score in kept.items()}

    def _familiar(self, prediction: Prediction) -> Prediction:
        """The prediction for an utterance without the room's excess.

        If it is ordinary then, the room remembers it: nobody who quarrels, or tries serd out, makes
        an emotion usual.
        """
        room = self._habituation
        if room is None:
            return prediction
        decision, excess = self._decision, room.excess
        log_scores = decision.log_scores_of(prediction.scores)
        if excess.any():
            prediction = decision.predict(log_scores - excess)
        _, strength = decision.emotional(prediction.scores)
        if strength == 0.0:
            room.add(log_scores)
        return prediction

    def _agreed(self, told: Prediction, now_s: float) -> Prediction:
        """The prediction, without its emotion if too few utterances support it."""
        if told.emotion in ORDINARY or self.agree == 1:
            return told
        since = now_s - AGREE_HALF_LIVES * self._half_life_s
        votes = sum(vote == told.emotion and end_s >= since for end_s, vote in self._votes)
        if votes >= self.agree:
            return told
        return msgspec.structs.replace(told, emotion=ordinary(told.scores))


def _supported_by(prediction: Prediction) -> str | None:
    """The emotional class that an utterance supports, if any."""
    scores = prediction.scores
    emotional = {name: score for name, score in scores.items() if name not in ORDINARY}
    likeliest = max(emotional, key=emotional.__getitem__)
    least = min(AGREE_FROM, max(scores.values()))
    return likeliest if scores[likeliest] >= least else None
