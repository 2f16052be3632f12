"""Voice activity detection: is there a voice in these 30 ms?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serd.config import SpeechConfig


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


WEBRTC_GAIN_DB: Final = 15.0
"""webrtcvad is deaf to quiet voices, so it hears everything this much louder.

Measured on 120 random clips each, the share of the energy that no utterance caught, without and
with: RAVDESS 3.3 and 0.1 % (its calm and neutral clips 14 and 1 %), CREMA-D 3.8 and 1.0 %, CREMA-D
attenuated by 20 dB 54 and 12 %, the louder EMO-DB 0.2 % both. What it lets through in addition,
steady noise of -50 to -30 dBFS, is kept out by `serd.speech.floor`.
"""


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


def make_confirmer(settings: SpeechConfig) -> Confirmer | None:
    """The second detector that ``speech.confirm`` asks for; None if there is none.

    Raises:
        ConfigError: If it asks for one that is not installed.
    """
    automatic = settings.confirm == "auto"
    # What silero has found it need not confirm.
    if settings.confirm == "none" or (automatic and settings.engine == "silero"):
        return None
    from serd.speech.silero import SileroConfirmer, installed  # noqa: PLC0415 - loads a network

    return None if automatic and not installed() else SileroConfirmer()


def make_vad(settings: SpeechConfig) -> Vad:
    """The detector that ``speech.engine`` names.

    Raises:
        ConfigError: If its package is missing, or there is no engine of that name.
    """
    if settings.engine == "webrtc":
        return WebRtcVad(settings.aggressiveness)
    if settings.engine == "silero":
        from serd.speech.silero import SileroVad  # noqa: PLC0415 - optional engine

        return SileroVad(settings.aggressiveness)
    raise ConfigError(f"speech.engine is {settings.engine!r}; it can be webrtc or silero")
