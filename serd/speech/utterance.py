"""Utterances, and the events of a segmenter.

Positions are sample indices in the 16 kHz stream, counted as the source counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import msgspec
import numpy as np

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.audio.level import rms_dbfs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serd.config import SpeechConfig
    from serd.speech.vad import Vad

DiscardReason: TypeAlias = Literal[
    "short", "quiet", "unvoiced", "steady", "unpitched", "unconfirmed"
]

REASONS: Final[tuple[DiscardReason, ...]] = get_args(DiscardReason)
"""All reasons for discarding an utterance."""


class Utterance(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of speech, ``[start, end)``."""

    start: int
    """First sample."""
    end: int
    """One past the last sample."""
    level_dbfs: float
    """RMS over all of it, in dB relative to an RMS of 1.0; never below -120."""
    voiced_share: float
    """Share of its samples that are in voiced frames, 0..1."""
    cut: bool
    """True if the window was full before the speech ended: another utterance may follow at once."""

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return (self.end - self.start) / SAMPLE_RATE


class Begin(msgspec.Struct, frozen=True):
    """Speech has started; its audio follows."""

    start: int
    """First sample of the utterance, including the pre-roll."""


class Extend(msgspec.Struct, frozen=True, eq=False):
    """More audio of the current utterance."""

    samples: NDArray[np.float32]
    """float32[k], mono, 16 kHz; the receiver's own copy."""


class End(msgspec.Struct, frozen=True):
    """The utterance is complete.

    Its audio is the first ``end - start`` samples of all `Extend` events since its `Begin`.
    """

    utterance: Utterance


class Discard(msgspec.Struct, frozen=True):
    """The current utterance is discarded, and its audio with it.

    ``short``: below the minimum duration; ``quiet``: its level is below the energy floor;
    ``unvoiced``: too small a share of it is voiced; ``steady``: its level hardly varies;
    ``unpitched``: nothing in it has the pitch of a voice; ``unconfirmed``: a second detector finds
    no speech in it.
    """

    reason: DiscardReason


SegmentEvent: TypeAlias = Begin | Extend | End | Discard


PEAK = 0.5
"""Peak to which the detector's copy is scaled: it is level-dependent, and recordings vary."""


def trim_to_speech(
    samples: NDArray[np.float32], settings: SpeechConfig, vad: Vad
) -> tuple[Utterance, NDArray[np.float32]]:
    """Trim a recording to its speech and take at most one window of it.

    The result extends from ``preroll_s`` before the first voiced frame to ``preroll_s`` after the
    last one, limited to the first ``window_s``. If nothing is voiced, it is the first ``window_s``
    of the recording. Only for the detector, the recording is scaled to a peak of 0.5. Onset,
    hang-over and energy floor are not used, because there is known to be one utterance.

    Args:
        samples: float32[n], mono, 16 kHz.
        settings: The ``speech`` section of the configuration.
        vad: The detector; it is reset before and after.

    Returns:
        The utterance, in positions of ``samples``, and its audio: a view, float32[k].
        ``voiced_share`` is 0 if nothing was voiced.
    """
    window = round(settings.window_s * SAMPLE_RATE)
    preroll = round(settings.preroll_s * SAMPLE_RATE)
    voiced = _voiced_frames(samples, vad)
    start, stop = 0, len(samples)
    if voiced:
        start = max(0, voiced[0] - preroll)
        stop = min(len(samples), voiced[-1] + FRAME_SAMPLES + preroll)
    end = min(stop, start + window)
    covered = sum(max(0, min(at + FRAME_SAMPLES, end) - at) for at in voiced)
    audio = samples[start:end]
    utterance = Utterance(
        start=start,
        end=end,
        level_dbfs=rms_dbfs(audio),
        voiced_share=covered / (end - start) if covered else 0.0,
        cut=end < stop,
    )
    return utterance, audio


def _voiced_frames(samples: NDArray[np.float32], vad: Vad) -> list[int]:
    """Start positions of the voiced frames; a partial last frame is padded with zeros."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0.0:
        return []
    pcm = np.zeros(-(-len(samples) // FRAME_SAMPLES) * FRAME_SAMPLES, np.int16)
    pcm[: len(samples)] = np.rint(samples * np.float32(PEAK * 32767 / peak))
    vad.reset()
    voiced = [
        at
        for at in range(0, len(pcm), FRAME_SAMPLES)
        if vad.is_speech(pcm[at : at + FRAME_SAMPLES])
    ]
    vad.reset()
    return voiced
