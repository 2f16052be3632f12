"""Whether a network recognises emotion, or merely how a corpus was recorded.

Emotional speech in training is acted and comes from a few corpora, ordinary speech from others. A
network may therefore learn to tell the corpora apart, which looks like success on their held-out
speakers and fails everywhere else. Acted *neutral* clips expose this: they are recorded like
emotional ones and spoken like ordinary speech. Both figures are areas under the ROC curve of the
log-odds of all emotions together against neutral and calm: 0.5 is chance, 1 perfect separation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from serd.model.metadata import ORDINARY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from serd.model.decision import Decision
    from training.evaluate.predictions import ClipScores, RecordingScores


def separation(
    clips: Sequence[ClipScores], recordings: Iterable[RecordingScores], decision: Decision
) -> dict[str, dict[str, float | None]]:
    """How well emotional odds separate kinds of speech, by corpus of acted clips.

    Args:
        clips: Acted clips.
        recordings: Ordinary speech; each utterance counts by itself.
        decision: For calibrated scores.

    Returns:
        For each corpus ``neutral_from_ordinary``: its neutral and calm clips against ordinary
        speech, far above 0.5 if the network recognises the corpus; and ``emotional_from_neutral``:
        its emotional clips against its neutral ones, near 1 if it recognises emotion. None where
        there is nothing to compare.
    """
    ordinary = _log_odds((u.logs for one in recordings for u in one.utterances), decision)
    found = {}
    for corpus in sorted({clip.corpus for clip in clips}):
        neutral, emotional = (
            _log_odds(
                (
                    clip.logs
                    for clip in clips
                    if clip.corpus == corpus and (clip.emotion in ORDINARY) is kind
                ),
                decision,
            )
            for kind in (True, False)
        )
        found[corpus] = {
            "neutral_from_ordinary": area_under_roc(neutral, ordinary),
            "emotional_from_neutral": area_under_roc(emotional, neutral),
        }
    return found


def area_under_roc(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float | None:
    """The probability that a value of the first group exceeds one of the second; ties count half.

    Args:
        higher: ``[n]``.
        lower: ``[m]``.

    Returns:
        0..1, or None if a group is empty.
    """
    from scipy.stats import mannwhitneyu

    if not len(higher) or not len(lower):
        return None
    return float(mannwhitneyu(higher, lower).statistic / (len(higher) * len(lower)))


def _log_odds(logs: Iterable[tuple[float, ...]], decision: Decision) -> NDArray[np.float64]:
    emotional = np.array([label not in ORDINARY for label in decision.labels])
    scores = [decision.log_scores(np.array(one, dtype=np.float32)) for one in logs]
    if not scores:
        return np.empty(0)
    table = np.stack(scores)
    return np.asarray(
        np.logaddexp.reduce(table[:, emotional], axis=1)
        - np.logaddexp.reduce(table[:, ~emotional], axis=1)
    )
