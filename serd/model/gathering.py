"""Evidence that adds up over the utterances of a room, and fades.

One utterance of a second or two says little; two that say the same say much more. So what is told
of an utterance rests on those shortly before it as well. With ``p`` an utterance's own scores and
``pi`` the shares that its model assumes before anything is heard, its likelihood ratio is
``l = log p - log pi``, and the evidence ``E`` follows

    E <- weight * 2^(-dt / half_life_s) * E + l          (E <- l after more than pause_s of silence)

where ``dt`` is the silence between the utterance before and this one. The gathered scores are
``softmax(log pi + E)``: for the first utterance after a pause its own. The weight accounts for
utterances of one speaker in one room not being independent.

An emotion may also be asked to *agree*: it is then told only if enough utterances since the last
pause, none longer ago than `AGREE_HALF_LIVES`, spoke for it. An utterance speaks for the likeliest
of its emotional classes, if that is its likeliest class of all or has at least `AGREE_FROM`.

There is no clock in here: whoever calls says when an utterance was.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from serd.model.decision import Prediction, ordinary
from serd.model.metadata import ORDINARY

if TYPE_CHECKING:
    from serd.model.decision import Decision

AGREE_FROM: Final = 0.25
"""Probability from which an utterance speaks for its likeliest emotion though neutral or calm is
likelier: far above what an emotion has before anything is heard."""

AGREE_HALF_LIVES: Final = 3.0
"""Half-lives after which an utterance no longer agrees with anything."""

COUNTED_FROM: Final = 0.05
"""Weight below which an utterance no longer counts as being behind an answer."""

_REMEMBERED: Final = 256


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is told after an utterance."""

    prediction: Prediction
    """From all evidence."""
    utterances: int
    """Utterances behind it, this one included: those whose weight is at least `COUNTED_FROM`."""


class Gatherer:
    """Gathers the evidence of one room. Not thread-safe.

    What it tells depends on what it was given and on nothing else.

    Args:
        decision: Knows the model's classes, prior and threshold.
        agree: Utterances that must agree before an emotion is told; None: the model's own number.

    Raises:
        ValueError: If the model says nothing about homes, or ``agree`` is below 1.
    """

    def __init__(self, decision: Decision, agree: int | None = None) -> None:
        home = decision.home
        if home is None:
            msg = "the model does not say how evidence adds up"
            raise ValueError(msg)
        self._decision = decision
        self._half_life_s = home.gathering.half_life_s
        self._weight = home.gathering.weight
        self._pause_s = home.gathering.pause_s
        self.agree = home.agree if agree is None else agree
        """Utterances that must agree before an emotion is told."""
        self.prior = home.ordinary_share
        """Share of neutral and calm utterances that the scores assume."""
        if self.agree < 1:
            msg = f"{self.agree} utterances cannot agree"
            raise ValueError(msg)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next utterance is the first."""
        self._evidence = np.zeros(len(self._decision.labels))
        self._weights: list[float] = []
        self._voices: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)
        self._end_s: float | None = None

    def hear(self, prediction: Prediction, start_s: float, end_s: float) -> Told:
        """Take the next utterance.

        Args:
            prediction: What it says by itself.
            start_s: When it began, in seconds from anywhere.
            end_s: When it ended. One that begins before the last one's end follows it at once.

        Returns:
            What is told now.
        """
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
        if (voice := _speaks_for(prediction)) is not None:
            self._voices.append((end_s, voice))
        # What stands alone keeps its scores exactly, also those below the least that counts here.
        if first or fade == 0.0:
            told = prediction
        else:
            told = decision.tell(decision.log_prior + self._evidence)
        return Told(prediction=self._agreed(told, start_s), utterances=len(self._weights))

    def _agreed(self, told: Prediction, now_s: float) -> Prediction:
        """What is told, or less if too few utterances speak for it."""
        if told.emotion in ORDINARY or self.agree == 1:
            return told
        since = now_s - AGREE_HALF_LIVES * self._half_life_s
        voices = sum(voice == told.emotion and end_s >= since for end_s, voice in self._voices)
        if voices >= self.agree:
            return told
        return msgspec.structs.replace(told, emotion=ordinary(told.scores))


def _speaks_for(prediction: Prediction) -> str | None:
    """The emotional class that an utterance speaks for, if any."""
    scores = prediction.scores
    emotional = {name: score for name, score in scores.items() if name not in ORDINARY}
    likeliest = max(emotional, key=emotional.__getitem__)
    least = min(AGREE_FROM, max(scores.values()))
    return likeliest if scores[likeliest] >= least else None
