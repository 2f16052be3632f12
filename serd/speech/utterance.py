"""An utterance, and what a segmenter says on the way to one.

Positions are sample indices in the 16 kHz stream, counted as the source counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import msgspec

from serd.audio.format import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DiscardReason: TypeAlias = Literal[
    "short", "quiet", "unvoiced", "steady", "unpitched", "unconfirmed"
]

REASONS: Final[tuple[DiscardReason, ...]] = get_args(DiscardReason)
"""All reasons for which what began is dropped."""


class Utterance(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of speech, ``[start, end)``."""

    start: int
    """First sample."""
    end: int
    """One past the last sample."""
    level_dbfs: float
    """RMS over all of it, in dB relative to an RMS of 1.0; never below -120."""
    voiced_share: float
    """Share of its samples that lie in voiced frames from the onset on, 0..1."""
    cut: bool
    """True if the window was full while speech went on: another utterance may follow at once."""

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return (self.end - self.start) / SAMPLE_RATE


class Begin(msgspec.Struct, frozen=True):
    """Speech has begun; the audio follows."""

    start: int
    """First sample of the utterance, pre-roll included."""


class Extend(msgspec.Struct, frozen=True, eq=False):
    """More audio of the utterance that began last."""

    samples: NDArray[np.float32]
    """float32[k], mono, 16 kHz; the receiver's own copy."""


class End(msgspec.Struct, frozen=True):
    """The utterance is complete.

    Its audio is the first ``end - start`` samples of all `Extend` events since its `Begin`.
    """

    utterance: Utterance


class Discard(msgspec.Struct, frozen=True):
    """What began was no utterance after all: forget its audio.

    ``short``: below the minimum duration; ``quiet``: its level is below the energy floor;
    ``unvoiced``: too small a share of it is voiced; ``steady``: its level hardly moves;
    ``unpitched``: nothing in it has the pitch of a voice; ``unconfirmed``: a second detector hears
    no speech in it.
    """

    reason: DiscardReason


SegmentEvent: TypeAlias = Begin | Extend | End | Discard
