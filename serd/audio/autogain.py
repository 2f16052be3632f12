"""Slow automatic gain, for microphones that are far from those who speak.

It is slower than speech: within an utterance the gain hardly moves, so loud and soft words keep
their distance, which tells a lot of a feeling. It follows the level of what stands out from the
room, not the room: in silence it stays as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from serd.audio.format import FRAME_SAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

Gain: TypeAlias = float | Literal["auto"]
"""What `audio.gain_db` says: decibels, or to be found."""

CEILING_DB: Final = 30.0
"""Most that is added."""

TARGET_DBFS: Final = -24.0
"""Level to which what stands out is brought."""

NOISE_DBFS: Final = -50.0
"""The noise of the room is not brought above this."""

STANDS_OUT_DB: Final = 8.0
"""So far above the quietest frame of the last seconds a frame counts (as in the energy floor)."""

RISE_DB: Final = 0.12
"""Most by which the gain rises from one frame of 30 ms to the next: 4 dB in a second."""

FALL_DB: Final = 0.6
"""Most by which it falls: 20 dB in a second."""

HEADROOM: Final = 0.7
"""Amplitude that no frame should exceed; the gain then falls for the next at once."""

_MEMORY: Final = 0.98  # of the level, for each frame that counts: 1.5 s of speech
_BLOCK: Final = 16  # frames whose quietest is one figure
_BLOCKS: Final = 8  # such figures looked back on, about 4 s
_SILENCE: Final = 1e-12  # mean power below which there is no sound at all


class AutoGain:
    """Amplifies a stream at 16 kHz by a gain that it finds itself. For one thread.

    However the stream is cut into blocks, the result is the same to the bit: the gain of a frame of
    30 ms is decided by the frames before it, and goes there in a straight line.
    """

    def __init__(self) -> None:
        self.gain_db = 0.0
        """The gain now."""
        self._before = self._now = 1.0
        self._at = 0
        self._energy: list[NDArray[np.float32]] = []
        self._level_db: float | None = None
        self._past: list[float] = []
        self._lowest = math.inf
        self._frames = 0

    def amplify(self, samples: NDArray[np.float32]) -> None:
        """Amplify the next samples, in place; what is then beyond full scale is not clipped.

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
                self._hear(np.concatenate(self._energy))
                self._energy, self._at = [], 0
            done = end

    def _hear(self, frame: NDArray[np.float32]) -> None:
        """Decide the gain of the next frame by one before it was amplified."""
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
