"""The mood of a room: what it has sounded like lately, without the flicker of single utterances.

Each utterance counts with a weight of 1 when it ends, and that weight halves with every half-life
that passes. Against all of them stands a constant weight of *neutral*::

    m(t) = (N * neutral + sum_i 2^(-(t - t_i) / h) * scores_i) / (N + sum_i 2^(-(t - t_i) / h))

So the moments count and not how often anyone looks; utterances may come at any intervals; one
alone moves the mood a little, several that agree turn it; and when nobody speaks it fades into
neutral. The sum needs no memory of single utterances: it decays as a whole.

The mood's name changes only when another class leads it by a margin, so that it does not flip
between two that are equally likely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from serd.model.emotions import COORDINATES, EMOTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

NEUTRAL_WEIGHT: Final = 2.0
"""N: neutral counts as much as this many utterances that have just ended."""

_NEUTRAL: Final = EMOTIONS.index("neutral")


class MoodReading(msgspec.Struct, frozen=True, kw_only=True):
    """The mood at one moment."""

    mood: str
    """One of ``EMOTIONS``."""
    valence: float
    """Unpleasant -1 .. 1 pleasant, expectation under ``shares``; unrounded."""
    arousal: float
    """Sleepy -1 .. 1 aroused, likewise."""
    shares: dict[str, float]
    """The smoothed scores of all ``EMOTIONS``; they sum to 1."""


class Mood:
    """Follows the mood of one room. Not thread-safe.

    What it says depends on the scores and moments that it was given and on nothing else: it has no
    clock, and reading it changes nothing, how often ever it is done.

    Args:
        half_life_s: Seconds after which an utterance counts half.
        margin: How far another class must lead (difference of shares, 0..1) to become the mood.

    Raises:
        ValueError: If the half-life is not positive, or the margin is not in [0, 1).
    """

    def __init__(self, half_life_s: float = 60.0, margin: float = 0.1) -> None:
        if not half_life_s > 0:
            raise ValueError(f"a half-life of {half_life_s} s")
        if not 0 <= margin < 1:
            raise ValueError(f"a margin of {margin}")
        self._half_life_s = half_life_s
        self._margin = margin
        self._sums = [0.0] * len(EMOTIONS)
        self._weight = 0.0
        self._moment: float | None = None
        self._label = _NEUTRAL

    def update(self, scores: Mapping[str, float], moment: float) -> MoodReading:
        """An utterance has ended.

        Args:
            scores: Its probabilities; those that are missing count as 0.
            moment: When, in seconds of a monotonic clock; one before the latest counts as it.
        """
        decay = self._decay(moment)
        # While nobody spoke, neutral may have taken over; that is settled before the new
        # utterance counts, and so the mood does not depend on whether anyone read it meanwhile.
        self._label = self._leader(self._shares(decay))
        values = [scores.get(name, 0.0) for name in EMOTIONS]
        self._sums = [s * decay + v for s, v in zip(self._sums, values, strict=True)]
        self._weight = self._weight * decay + sum(values)
        self._moment = moment if self._moment is None else max(moment, self._moment)
        self._label = self._leader(self._shares(1.0))
        return self.read(self._moment)

    def read(self, moment: float) -> MoodReading:
        """The mood at a moment, in seconds of the same clock."""
        shares = self._shares(self._decay(moment))
        named = dict(zip(EMOTIONS, shares, strict=True))
        return MoodReading(
            mood=EMOTIONS[self._leader(shares)],
            valence=sum(share * COORDINATES[name][0] for name, share in named.items()),
            arousal=sum(share * COORDINATES[name][1] for name, share in named.items()),
            shares=named,
        )

    def _decay(self, moment: float) -> float:
        elapsed = 0.0 if self._moment is None else max(0.0, moment - self._moment)
        return float(2.0 ** (-elapsed / self._half_life_s))

    def _shares(self, decay: float) -> list[float]:
        total = NEUTRAL_WEIGHT + self._weight * decay
        shares = [s * decay / total for s in self._sums]
        shares[_NEUTRAL] += NEUTRAL_WEIGHT / total
        return shares

    def _leader(self, shares: list[float]) -> int:
        best = max(range(len(shares)), key=shares.__getitem__)
        return best if shares[best] - shares[self._label] > self._margin else self._label
