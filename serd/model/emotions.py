"""The eight emotions, and the valence and arousal of each."""

from __future__ import annotations

from typing import Final, get_args

from serd.config import Emotion

UNCERTAIN: Final = "uncertain"
"""What an event says instead of an emotion when the decision abstains."""

EMOTIONS: Final[tuple[str, ...]] = tuple(word for word in get_args(Emotion) if word != UNCERTAIN)
"""The classes of every event, in the order of their scores (those of RAVDESS)."""

COORDINATES: Final[dict[str, tuple[float, float]]] = {
    "neutral": (0.0, 0.0),
    "calm": (0.5, -0.6),
    "happy": (0.8, 0.5),
    "sad": (-0.7, -0.4),
    "angry": (-0.6, 0.8),
    "fearful": (-0.7, 0.6),
    "disgust": (-0.7, 0.2),
    "surprised": (0.3, 0.8),
}
"""Valence (unpleasant -1 .. 1 pleasant) and arousal (sleepy -1 .. 1 aroused) of each emotion.

The plane, and the quadrant of each word in it, are those of the circumplex model of affect
(J. A. Russell, "A circumplex model of affect", Journal of Personality and Social Psychology
39 (6), 1980). The figures are serd's own round ones within those quadrants, not measurements:
disgust, which that study did not place, lies beside fear and anger with less arousal, and neutral
is the origin by definition. They weigh the scores of an event into its ``valence`` and ``arousal``.
"""
