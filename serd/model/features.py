"""What a model asks of its features: the parameters that travel in the model file."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

_LARGEST_FFT = 8192
_LARGEST_FRAMES = 4096
_LARGEST_BANDS = 512


class FeatureParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How MFCCs are computed from audio.

    The defaults are those of the shipped model. They are bounded, so that no model file can ask for
    absurd amounts of memory.

    Raises:
        ValueError: If values are out of range or contradict each other (``msgspec`` reports it as
            a ``ValidationError`` when decoding).
    """

    rate: int = 16_000
    """Samples per second, hertz."""
    window: int = 512
    """Length of the periodic Hann window in samples; centred in the FFT if shorter than it."""
    hop: int = 256
    """Samples from one frame to the next."""
    fft: int = 512
    """Length of the FFT in samples; even."""
    mel_bands: int = 64
    """Bands of the mel filterbank."""
    f_min_hz: float = 40.0
    """Lower edge of the lowest band, hertz."""
    f_max_hz: float = 7600.0
    """Upper edge of the highest band, hertz; at most half the rate."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """Formula of the mel scale."""
    mel_norm: Literal["slaney", "none"] = "slaney"
    """``slaney``: each band is scaled to the same area; ``none``: each peaks at 1."""
    amin: float = 1e-10
    """Floor of mel power before the logarithm; in [1e-30, 1]."""
    reference: Literal["utterance-max", "absolute"] = "utterance-max"
    """What 0 dB is: the loudest mel band of the utterance, or power 1."""
    range_db: float = 70.0
    """Everything more than this below 0 dB is clamped to it."""
    coefficients: int = 64
    """Cosine coefficients (orthonormal DCT-II) that are kept, from the 0th on."""
    frames: int = 188
    """Frames of the network's input. 188 are 3.0 s at the default rate and hop."""
    mean: tuple[float, ...] = ()
    """Subtracted from each coefficient, one figure for each; empty: nothing is."""
    sd: tuple[float, ...] = ()
    """Divides each coefficient after that, one figure for each; empty: nothing does."""

    def __post_init__(self) -> None:
        """Check each value by itself, then those that depend on each other."""
        for name in ("mean", "sd"):  # also from lists and arrays, so that the struct stays frozen
            values = tuple(float(v) for v in getattr(self, name))
            msgspec.structs.force_setattr(self, name, values)
        for name, low, high in (
            ("rate", 1000, 384_000),
            ("fft", 2, _LARGEST_FFT),
            ("window", 1, self.fft),
            ("hop", 1, self.fft),
            ("mel_bands", 1, _LARGEST_BANDS),
            ("coefficients", 1, self.mel_bands),
            ("frames", 1, _LARGEST_FRAMES),
            ("f_min_hz", 0.0, self.rate / 2),
            ("f_max_hz", self.f_min_hz, self.rate / 2),
            ("amin", 1e-30, 1.0),
            ("range_db", 1.0, 300.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"features.{name} is {value}, not within {low} .. {high}"
                raise ValueError(msg)
        if self.fft % 2:
            msg = f"features.fft is {self.fft}, not even"
            raise ValueError(msg)
        if self.f_max_hz <= self.f_min_hz:
            msg = f"features.f_max_hz {self.f_max_hz} is not above f_min_hz {self.f_min_hz}"
            raise ValueError(msg)
        for name in ("mean", "sd"):
            values = getattr(self, name)
            if values and len(values) != self.coefficients:
                msg = (
                    f"features.{name} has {len(values)} figures for "
                    f"{self.coefficients} coefficients"
                )
                raise ValueError(msg)
            if not all(map(math.isfinite, values)):
                msg = f"features.{name} has a figure that is not finite"
                raise ValueError(msg)
        if any(not 1e-6 <= value <= 1e6 for value in self.sd):
            msg = "features.sd has a figure outside 1e-6 .. 1e6"
            raise ValueError(msg)

    @property
    def bins(self) -> int:
        """Bins of the power spectrum: ``fft // 2 + 1``."""
        return self.fft // 2 + 1

    @property
    def longest(self) -> int:
        """Samples that the last frame reaches to: audio beyond them changes nothing."""
        return (self.frames - 1) * self.hop + self.fft // 2

    def frames_of(self, samples: int) -> int:
        """Frames that audio of this many samples gives: ``1 + samples // hop``, 0 for none."""
        return 1 + samples // self.hop if samples > 0 else 0
