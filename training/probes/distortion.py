"""What distorts a voice on its way to the microphone: noise, rooms, telephone lines, codecs.

Rooms are simulated by the image-source method (J. B. Allen and D. A. Berkley, "Image method for
efficiently simulating small-room acoustics", J. Acoust. Soc. Am. 65, 1979): in a box with flat
walls every reflection is a straight line from a mirror image of the speaker. All walls reflect
alike. Sabine's formula is off by a third in such rooms, so the reflection coefficient for a
reverberation time is found by search, until Schroeder's backward integration of the response
itself gives that time.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.config import SpeechConfig
from serd.speech import make_vad
from serd.speech.utterance import PEAK

if TYPE_CHECKING:
    from collections.abc import Sequence

Samples: TypeAlias = NDArray[np.float32]
"""Mono at 16 kHz, float32 ``[n]``."""

_PADDING = 1e-4
"""Samples below this at either end of a noise recording are padding (-80 dBFS)."""

_PAUSE_DB = 20.0
"""Frames this far below the mean of the voiced frames are pauses: the detector continues for some
frames after a voice. ITU-T P.56 uses 15.9 dB."""


def speech_power(samples: Samples) -> float:
    """The active speech level: mean square over the voiced frames.

    As ITU-T P.56 has it, pauses do not count: neither frames that are not voiced nor those far
    below the others. The detector is the daemon's (webrtcvad, frames of 30 ms), and hears a copy
    scaled as :func:`serd.speech.trim_to_speech` scales it. If nothing is voiced, the mean square of
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


BAND_HZ = (300.0, 3400.0)
"""The band of a telephone line (ITU-T G.712)."""

_LINE_RATE = 8000
_TAPS = 257
_MU = 255.0

OPUS_LEVEL = 0.97
"""libsndfile's compression level that gives Opus about 13 kbit/s for one channel: what voice
messages use."""


def telephone(samples: Samples) -> Samples:
    """A telephone line: 8 kHz, 300 to 3400 Hz, 8 bits by the mu law.

    Args:
        samples: float32 ``[n]`` at 16 kHz.

    Returns:
        float32 ``[n]`` at 16 kHz.
    """
    import soxr

    narrow = soxr.resample(samples, SAMPLE_RATE, _LINE_RATE)
    line = mu_law(np.convolve(narrow, _band_pass(), mode="same"))
    wide = soxr.resample(line.astype(np.float32), _LINE_RATE, SAMPLE_RATE)[: len(samples)]
    return np.pad(wide, (0, len(samples) - len(wide)))


def mu_law(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compress, round to 8 bits, expand: the continuous form of ITU-T G.711's mu law.

    Args:
        samples: In [-1, 1]; what is beyond is clipped.
    """
    inside = np.clip(np.asarray(samples, dtype=np.float64), -1.0, 1.0)
    pressed = np.sign(inside) * np.log1p(_MU * np.abs(inside)) / np.log1p(_MU)
    steps = np.rint(pressed * 127.0) / 127.0
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(_MU)) / _MU)


def opus(samples: Samples) -> Samples:
    """Coded as Opus at a low rate and decoded again, by libsndfile.

    Args:
        samples: float32 ``[n]`` at 16 kHz.

    Returns:
        float32 ``[n]`` at 16 kHz.
    """
    import soundfile

    coded = io.BytesIO()
    soundfile.write(
        coded, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL
    )
    coded.seek(0)
    decoded, _ = soundfile.read(coded, dtype="float32")
    decoded = decoded[: len(samples)]
    padded: Samples = np.pad(decoded, (0, len(samples) - len(decoded)))
    return padded


@lru_cache(maxsize=1)
def _band_pass() -> NDArray[np.float64]:
    """A windowed sinc (Hamming): 6 dB down at both corners, 50 dB down 100 Hz beyond."""
    place = np.arange(_TAPS) - _TAPS // 2
    low, high = (2 * corner / _LINE_RATE for corner in BAND_HZ)
    ideal = high * np.sinc(high * place) - low * np.sinc(low * place)
    return np.asarray(ideal * np.hamming(_TAPS))


SPEED_OF_SOUND = 343.0
"""Metres a second in air at 20 degrees Celsius."""

_HIGH_PASS_HZ = 50.0
"""Cut-off of a response: with walls that never invert the sign, a constant would build up."""


class Room(msgspec.Struct, frozen=True):
    """A box with a speaker and a microphone in it; metres."""

    size: tuple[float, float, float]
    """Length, width, height."""
    speaker: tuple[float, float, float]
    microphone: tuple[float, float, float]

    @property
    def distance(self) -> float:
        """From speaker to microphone."""
        return math.dist(self.speaker, self.microphone)


ROOMS = (
    Room((5.2, 4.1, 2.5), (1.7, 2.9, 1.2), (2.6, 2.2, 0.8)),
    Room((5.2, 4.1, 2.5), (4.1, 1.3, 1.6), (1.4, 2.7, 0.9)),
    Room((3.6, 3.2, 2.4), (1.1, 1.2, 1.1), (1.9, 1.8, 0.7)),
    Room((3.6, 3.2, 2.4), (2.8, 0.9, 1.6), (0.7, 2.3, 1.3)),
    Room((4.4, 2.9, 2.5), (1.2, 1.1, 1.6), (2.3, 2.2, 1.0)),
    Room((4.4, 2.9, 2.5), (3.7, 2.1, 1.2), (0.8, 0.8, 1.5)),
    Room((7.3, 4.9, 2.7), (3.1, 2.4, 1.2), (4.4, 3.3, 0.8)),
    Room((7.3, 4.9, 2.7), (1.2, 1.3, 1.6), (3.9, 3.2, 0.9)),
)
"""A living room, a bedroom, a kitchen and a large living room, each with a near speaker (about a
metre and a half) and a far one (about three metres)."""


def add_room(samples: Samples, response: Samples) -> Samples:
    """Add the reverberation of a room to a voice.

    Args:
        samples: The dry voice.
        response: From :func:`room_response`.

    Returns:
        The voice and its reverberation, longer by the response, at the peak of the dry voice.
    """
    length = len(samples) + len(response) - 1
    size = 1 << (length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[:length]
    loudest = float(np.abs(wet).max(initial=0.0))
    if loudest > 0.0:
        wet *= float(np.abs(samples).max()) / loudest
    return wet.astype(np.float32)


@lru_cache(maxsize=32)
def room_response(room: Room, rt60_s: float) -> Samples:
    """Impulse response of a room.

    Args:
        room: The box.
        rt60_s: Seconds in which the sound falls by 60 dB.

    Returns:
        float32 ``[n]`` at 16 kHz, ``n`` about ``1.2 * rt60_s``, read-only, from the moment at which
        the direct sound arrives.
    """
    longest = 1.2 * rt60_s
    delays, orders, nearness = _images(room, longest)
    length = round(longest * SAMPLE_RATE)
    low, high = 0.05, 0.999
    response = np.zeros(length)
    for _ in range(12):
        reflection = (low + high) / 2
        strengths = reflection ** np.arange(int(orders.max()) + 1)
        clicks = np.bincount(delays, strengths[orders] * nearness, minlength=length)[:length]
        response = _high_pass(clicks.astype(np.float64))
        low, high = (reflection, high) if measured_rt60(response) < rt60_s else (low, reflection)
    result: Samples = (response / np.abs(response).max()).astype(np.float32)
    result.flags.writeable = False
    return result


def measured_rt60(response: NDArray[np.floating]) -> float:
    """Reverberation time in seconds, as ISO 3382-2 has it (T30).

    Schroeder's backward integration of the squared response; a line through its fall from -5 to
    -35 dB, prolonged to 60 dB.

    Args:
        response: ``[n]`` at 16 kHz.
    """
    left = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    fall = 10 * np.log10(np.maximum(left / left[0], 1e-12))
    part = np.flatnonzero((fall <= -5.0) & (fall >= -35.0))
    if len(part) < 2:
        return 0.0
    slope = np.polyfit(part / SAMPLE_RATE, fall[part], 1)[0]
    return float(-60.0 / slope)


def _images(
    room: Room, longest_s: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Delay in samples after the direct sound, number of reflections, and 1 / distance of each."""
    reach = room.distance + longest_s * SPEED_OF_SOUND
    axes = []
    for size, speaker, microphone in zip(room.size, room.speaker, room.microphone, strict=True):
        most = math.ceil(reach / (2 * size)) + 1
        n = np.repeat(np.arange(-most, most + 1), 2)
        mirrored = np.tile([0, 1], 2 * most + 1)
        offset = (1 - 2 * mirrored) * speaker + 2 * n * size - microphone
        near = np.abs(offset) <= reach
        axes.append((offset[near] ** 2, (np.abs(n - mirrored) + np.abs(n))[near]))
    (x2, nx), (y2, ny), (z2, nz) = axes
    flat2, flat_n = np.add.outer(y2, z2).ravel(), np.add.outer(ny, nz).ravel()
    delays, orders, nearness = [], [], []
    for one2, one_n in zip(x2, nx, strict=True):
        distance2 = flat2 + one2
        heard = distance2 <= reach**2
        distance = np.sqrt(distance2[heard])
        delays.append((distance - room.distance) * (SAMPLE_RATE / SPEED_OF_SOUND))
        orders.append(flat_n[heard] + one_n)
        nearness.append(1.0 / distance)
    whole_samples = np.rint(np.concatenate(delays)).astype(np.int64)
    return whole_samples, np.concatenate(orders), np.concatenate(nearness)


def _high_pass(response: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second order, Butterworth, as a gain for each frequency without a change of phase."""
    size = 2 * len(response)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    gain = 1.0 / np.sqrt(1.0 + (_HIGH_PASS_HZ / np.maximum(hertz, 1e-3)) ** 4)
    return np.fft.irfft(np.fft.rfft(response, size) * gain, size)[: len(response)]
