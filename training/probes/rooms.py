"""Rooms: what their walls add to a voice.

The image-source method (J. B. Allen and D. A. Berkley, "Image method for efficiently simulating
small-room acoustics", J. Acoust. Soc. Am. 65, 1979): in a box with flat walls every reflection is
a straight line from a mirror image of the speaker. All walls reflect alike. Which coefficient gives
the wanted reverberation time is not taken from Sabine's formula, which is off by a third in such
rooms, but searched until Schroeder's backward integration of the response itself shows it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from serd.audio.format import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.probes.noise import Samples

SPEED_OF_SOUND = 343.0
"""Metres a second in air at 20 degrees Celsius."""

_HIGH_PASS_HZ = 50.0
"""Below it a response is cut: with walls that never turn the sign, it would gather a constant."""


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
    """Put a voice into a room.

    Args:
        samples: The dry voice.
        response: Of :func:`room_response`.

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
    """What a microphone hears of a click.

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
