"""Habituation: what a room always sounds like is no news.

A network is not equally fair to all voices and rooms. One voice that sounds surprised to it
whatever it says, a lively language, a tinny microphone: such a room would report the same emotion
all day. So serd remembers what ordinary speech in this room sounds like, and subtracts what it has
in excess of ordinary speech elsewhere.

For each emotion, ``x`` is the log-odds of an utterance's score against those of neutral and calm
together, and ``usual`` is its typical value in ordinary speech, which the model file states
(`serd.model.metadata.Usual`). With the latest ``n`` utterances of the room that were ordinary
(neutral or calm likelier than any emotion, after the subtraction), not more than ``remembered``::

    d       = median(x) - usual                                  for each emotion, over utterances
    excess  = n / (n + half_after) * max(0, d - max(0, median(d)))
    log p  <- log p - excess

Emotional utterances do not count, so no emotion becomes usual because people show it often. The
median over utterances ignores the odd one, the median over emotions what they have in common: only
what stands out from the other emotions is subtracted. Nothing is ever added: a room
that sounds calmer than others does not become more sensitive. Only log-odds are remembered, in
RAM; a restart forgets them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from serd.model.metadata import ORDINARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from serd.model.metadata import Usual

    Floats = npt.NDArray[np.float64]


class Habituation:
    """The usual sound of one room. Deterministic; one thread may add while others read.

    Args:
        usual: What ordinary speech sounds like elsewhere.
        labels: Classes of the model.
    """

    def __init__(self, usual: Usual, labels: Sequence[str]) -> None:
        self._half_after = usual.half_after
        self._ordinary = np.array([label in ORDINARY for label in labels])
        self._usual = np.array([usual.odds.get(label, 0.0) for label in labels])
        # A class without a typical value cannot exceed it.
        self._known = np.array([label in usual.odds and label not in ORDINARY for label in labels])
        self._latest: deque[Floats] = deque(maxlen=usual.remembered)
        self.excess: Floats = np.zeros(len(labels))
        """float64 ``[classes]``: log-odds to subtract; 0 for neutral and calm. Never modified, only
        replaced."""

    def add(self, log_scores: Floats) -> None:
        """Remember an utterance.

        Args:
            log_scores: float64 ``[classes]``, finite: log probabilities before the excess is
                subtracted.
        """
        self._latest.append(self.odds(log_scores))
        weight = len(self._latest) / (len(self._latest) + self._half_after)
        above = np.median(np.array(self._latest), axis=0)[self._known] - self._usual[self._known]
        excess = np.zeros(len(self._usual))
        if above.size:
            excess[self._known] = weight * np.maximum(0.0, above - max(0.0, np.median(above)))
        self.excess = excess

    def odds(self, log_scores: Floats) -> Floats:
        """Log-odds of each class against neutral and calm together.

        Args:
            log_scores: float64 ``[..., classes]``, finite.

        Returns:
            The same shape.
        """
        together = np.logaddexp.reduce(log_scores[..., self._ordinary], axis=-1, keepdims=True)
        return np.asarray(log_scores - together)
