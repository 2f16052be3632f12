"""Noise at a stated distance below a voice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serd.audio.format import FRAME_SAMPLES
from serd.config import SpeechConfig
from serd.speech import make_vad
from serd.speech.trim import PEAK

if TYPE_CHECKING:
    from collections.abc import Sequence

Samples: TypeAlias = NDArray[np.float32]
"""Mono at 16 kHz, float32 ``[n]``."""

_PADDING = 1e-4
"""Samples below this at either end of a noise recording are its publisher's padding (-80 dBFS)."""

_PAUSE_DB = 20.0
"""How far below the mean of the voiced frames a frame is a pause: the detector goes on for some
frames after a voice. ITU-T P.56 takes 15.9 dB."""


def speech_power(samples: Samples) -> float:
    """The active speech level: mean square over the frames that the detector calls voiced.

    As ITU-T P.56 has it, pauses do not count: neither frames that are not voiced nor those far
    below the others. The detector is the daemon's (webrtcvad, frames of 30 ms), and hears a copy
    scaled as :func:`serd.speech.whole` scales it. If nothing is voiced, the mean square of
    everything.

    Args:
        samples: The clean clip.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0.0:
        return 0.0
    count = len(samples) // FRAME_SAMPLES
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)
    pcm = np.rint(frames * np.float32(PEAK * 32767 / peak)).astype(np.int16)
    vad = make_vad(SpeechConfig())
    voiced = np.array([vad.is_speech(frame) for frame in pcm], dtype=bool)
    if not voiced.any():
        return _power(samples)
    powers = np.mean(np.square(frames[voiced], dtype=np.float64), axis=1)
    return float(powers[powers > powers.mean() * 10 ** (-_PAUSE_DB / 10)].mean())


def add_noise(speech: Samples, noise: Samples, snr_db: float) -> Samples:
    """Mix a voice with noise.

    Args:
        speech: The clean clip; its :func:`speech_power` is the signal.
        noise: As long; its mean square over the whole length is the noise.
        snr_db: Ratio of the two in decibels.

    Returns:
        The mixture, not limited to [-1, 1]; of silence, silence.
    """
    signal, disturbance = speech_power(speech), _power(noise)
    if signal == 0.0 or disturbance == 0.0:
        return speech.copy()
    gain = math.sqrt(signal / disturbance) * 10 ** (-snr_db / 20)
    return speech + noise * np.float32(gain)


def excerpt(recordings: Sequence[Samples], length: int, random: np.random.Generator) -> Samples:
    """A stretch of one of several recordings, from a random place on, repeated where it is short.

    The digital silence with which recordings are padded to a common length is left out.

    Args:
        recordings: Noise.
        length: Samples.
        random: Says which and from where.

    Raises:
        ValueError: There is nothing but silence in the recordings.
    """
    audible: list[Samples] = [heard for one in recordings if len(heard := _unpadded(one))]
    if not audible:
        msg = "the noise recordings hold nothing but silence"
        raise ValueError(msg)
    recording = audible[int(random.integers(len(audible)))]
    start = int(random.integers(len(recording)))
    stretch: Samples = recording[np.arange(start, start + length) % len(recording)]
    return stretch


def white(length: int, random: np.random.Generator) -> Samples:
    """Gaussian noise with a flat spectrum and a mean square near 1."""
    drawn: Samples = random.standard_normal(length, dtype=np.float32)
    return drawn


def pink(length: int, random: np.random.Generator) -> Samples:
    """Gaussian noise that falls by 3 dB an octave above 20 Hz, like a quiet room; mean square 1."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / 16_000)
    spectrum /= np.sqrt(np.maximum(hertz, 20.0))
    noise = np.fft.irfft(spectrum, length)
    scaled: Samples = (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)
    return scaled


def _power(samples: NDArray[np.float32]) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0


def _unpadded(samples: Samples) -> Samples:
    heard = np.flatnonzero(np.abs(samples) > _PADDING)
    return samples[heard[0] : heard[-1] + 1] if len(heard) else samples[:0]
