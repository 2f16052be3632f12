"""Slow automatic gain, for microphones far from the speakers.

The gain hardly changes within an utterance, so the contrast between loud and soft words, which
reveals a lot about emotion, is preserved. It follows the level of sounds that stand out from the
background, not that of the background: in silence it stays constant.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from serd.audio.format import FRAME_SAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

Gain: TypeAlias = float | Literal["auto"]
"""The setting `audio.gain_db`: decibels, or automatic."""

CEILING_DB: Final = 30.0
"""Maximum gain."""

TARGET_DBFS: Final = -24.0
"""Target level of the sounds that stand out."""

NOISE_DBFS: Final = -50.0
"""Limit to which the background noise may be amplified."""

STANDS_OUT_DB: Final = 8.0
"""Level above the quietest frame of the last seconds from which a frame stands out."""

RISE_DB: Final = 0.12
"""Maximum rise of the gain per frame of 30 ms: 4 dB per second."""

FALL_DB: Final = 0.6
"""Maximum fall of the gain per frame: 20 dB per second."""

HEADROOM: Final = 0.7
"""Peak amplitude of the output above which the gain is reduced immediately."""

_MEMORY: Final = 0.98  # smoothing of the level, for each frame that stands out: 1.5 s of speech
_BLOCK: Final = 16  # frames in a block; only its minimum is kept
_BLOCKS: Final = 8  # past blocks considered, about 4 s
_SILENCE: Final = 1e-12  # mean power below which a frame is digital silence


class AutoGain:
    """Amplifies a stream at 16 kHz by an automatic gain. Not thread-safe.

    The output is bit-identical however the stream is cut into blocks: the gain of a frame of 30 ms
    depends on the frames before it, and is approached linearly within the frame.
    """

    def __init__(self) -> None:
        self.gain_db = 0.0
        """The current gain."""
        self._before = self._now = 1.0
        self._at = 0
        self._energy: list[NDArray[np.float32]] = []
        self._level_db: float | None = None
        self._past: list[float] = []
        self._lowest = math.inf
        self._frames = 0

    def amplify(self, samples: NDArray[np.float32]) -> None:
        """Amplify the next samples in place, without clipping them.

        Args:
            samples: float32[n], mono, 16 kHz, within [-1, 1].
        """
        done = 0
        while done < len(samples):
            end = min(len(samples), done + FRAME_SAMPLES - self._at)
            piece = samples[done:end]
            self._energy.append(piece.copy())
            if self._before == self._now:
                if self._now != 1.0:
                    piece *= np.float32(self._now)
            else:
                at = np.arange(self._at + 1, self._at + len(piece) + 1, dtype=np.float32)
                step = np.float32((self._now - self._before) / FRAME_SAMPLES)
                piece *= np.float32(self._before) + step * at
            self._at += len(piece)
            if self._at == FRAME_SAMPLES:
                self._measure(np.concatenate(self._energy))
                self._energy, self._at = [], 0
            done = end

    def _measure(self, frame: NDArray[np.float32]) -> None:
        """Update the gain from a frame as it was before amplification."""
        power = float(np.einsum("i,i->", frame, frame)) / FRAME_SAMPLES
        self._before = self._now
        if power < _SILENCE:
            return
        self._frames += 1
        self._lowest = min(self._lowest, power)
        room = min([self._lowest, *self._past])
        if self._frames % _BLOCK == 0:
            self._past = [*self._past[1 - _BLOCKS :], self._lowest]
            self._lowest = math.inf
        level = 10 * math.log10(power)
        room_db = 10 * math.log10(room)
        if level - room_db >= STANDS_OUT_DB:
            known = self._level_db
            self._level_db = level if known is None else _MEMORY * known + (1 - _MEMORY) * level
        if self._level_db is None:
            return
        most = min(CEILING_DB, NOISE_DBFS - room_db)
        wanted = max(0.0, min(TARGET_DBFS - self._level_db, most))
        change = max(-FALL_DB, min(RISE_DB, wanted - self.gain_db))
        self.gain_db += change
        peak = max(float(frame.max()), -float(frame.min()))
        if peak * 10 ** (self.gain_db / 20) > HEADROOM:
            self.gain_db = max(0.0, 20 * math.log10(HEADROOM / peak))
        self._now = 10 ** (self.gain_db / 20)
