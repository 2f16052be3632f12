"""Plausibility check of raw samples: are they 16-bit, little-endian, mono, at the configured rate?

Raw samples have no header, and if they are misinterpreted, they sound like noise or like very slow
speech. Their statistics reveal it: sound is smooth, so the right interpretation of the bytes is the
one with the smallest steps from sample to sample.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from serd.audio.format import PcmFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

WINDOW_S: Final = 3.0
"""Seconds in a window."""

WINDOWS: Final = 40
"""Number of windows with sound in them after which the check ends."""

QUIET: Final = 1e-3
"""RMS below which a window is ignored: -60 dBFS."""

SMOOTH: Final = 0.35
"""Steps below this are typical of sound; white noise has 1."""

ROUGH: Final = 0.65
"""Steps above this are not plausible for sound in a room."""

SLOW_HZ: Final = 72.0
"""Voices are pitched higher than this."""

FAST_HZ: Final = 450.0
"""The median pitch of speech is lower than this."""

ARRIVAL_S: Final = 8.0
"""Seconds over which the rate of arrival is measured, twice in a row."""

_RATES: Final = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000)


class RawCheck:
    """Checks the first raw samples of a source, and logs one warning if they are implausible.

    Args:
        rate: The configured rate in hertz.
        name: Name of the source, for the log.
    """

    def __init__(self, rate: int, name: str) -> None:
        self._rate = rate
        self._name = name
        self._window = 8 * round(
            rate * WINDOW_S / 4
        )  # a whole number of samples of any width, and of pairs
        self._buffer = bytearray()
        self._left = WINDOWS
        self._found: Counter[str] = Counter()
        self._began: float | None = None
        self._bytes = 0
        self._pace: float | None = None

    def feed(self, data: bytes, now: float) -> bool:
        """Process the next bytes; all bytes of the source have to be passed, from the start.

        Args:
            data: Raw.
            now: ``time.monotonic()`` when they arrived.

        Returns:
            Whether the check has ended.
        """
        said = self._arrival(len(data), now)
        self._buffer += data
        while said is None and len(self._buffer) >= self._window:
            window = bytes(self._buffer[: self._window])
            del self._buffer[: self._window]
            loud, said = judge(window, self._rate)
            self._left -= loud
            if said is not None and not self._sure(said):
                said = None
        if said is not None:
            log.warning(
                "%s: %s; serd expects 16-bit little-endian mono at %d Hz",
                self._name, said, self._rate,
            )  # fmt: skip
        return said is not None or self._left <= 0

    def _sure(self, said: str) -> bool:
        """Whether a finding is frequent enough to be reported."""
        kind = next((word for word in ("slowed", "sped") if word in said), said)
        self._found[kind] += 1
        found, seen = self._found[kind], WINDOWS - self._left
        if kind == "slowed":  # one person may be hoarse
            return found > 2 and 8 * found > seen
        if kind == "sped":  # and children may shout
            return found > 3 and 2 * found > seen
        return found > 1 or "floating" in said

    def _arrival(self, count: int, now: float) -> str | None:
        """Check the rate at which a live source delivers."""
        if self._began is None:
            self._began = now  # samples that were already waiting do not count
            return None
        self._bytes += count
        if now - self._began < ARRIVAL_S:
            return None
        pace = self._bytes / (now - self._began) / (2 * self._rate)
        before, self._pace = self._pace, pace
        self._began, self._bytes = now, 0
        steady = before is not None and abs(pace - before) < 0.03 * pace
        # A recording read from a file arrives far faster; a writer that pauses is not steady.
        if not steady or abs(pace - 1.0) < 0.2 or not 0.2 < pace < 13.0:
            return None
        each = min(_RATES, key=lambda rate: abs(rate - pace * self._rate))
        return (
            f"they arrive {pace:.2f} times as fast as they sound: is the rate {each} Hz, or are "
            "there more channels, or more bits?"
        )


def judge(window: bytes, rate: int) -> tuple[bool, str | None]:
    """Check some seconds.

    Args:
        window: Raw samples, starting at a whole sample; a multiple of 8 bytes.
        rate: The configured rate in hertz.

    Returns:
        Whether there was enough sound to judge; and what the samples seem to be, as the start of a
        sentence, or None if they may be 16-bit mono.
    """
    samples = PcmFormat(rate=rate).decode(window)[:, 0]
    if float(samples.std()) < QUIET:
        return False, None
    said = _layout(window, samples, rate) or _pitch(samples, rate)
    return True, said


def _layout(window: bytes, samples: NDArray[np.float32], rate: int) -> str | None:
    """Whether the samples are of another width, or of several channels."""
    said: str | None
    bytes_ = np.frombuffer(window, np.uint8).astype(np.float32)
    if _floats(np.frombuffer(window, "<f4")):
        said = "32-bit floating point"
    elif _floats(np.frombuffer(window, "<f8")):
        said = "64-bit floating point"
    elif _steps(bytes_) < SMOOTH and float(np.mean(np.abs(bytes_ - 128) < 64)) > 0.8:
        said = "8-bit"
    else:
        said = _pairs(samples) or _rough(window, samples, rate)
    return f"the samples look like {said}" if said else None


def _pairs(samples: NDArray[np.float32]) -> str | None:
    """Whether every other number has another meaning, or belongs to another channel."""
    first, second = samples[0::2], samples[1::2]
    weak, strong = sorted((float(first.std()), float(second.std())))
    within = float(np.mean((first - second) ** 2))
    between = float(np.mean((second[:-1] - first[1:]) ** 2))
    if min(within, between) >= 0.3 * max(within, between) and weak >= 0.4 * strong:
        return None
    if _steps(second) < SMOOTH and (_steps(first) > ROUGH or float(first.std()) == 0.0):
        return "32-bit integers, or like stereo with one channel silent"
    if min(_steps(first), _steps(second)) < 2 * SMOOTH:
        return "two channels (stereo)"
    return None


def _rough(window: bytes, samples: NDArray[np.float32], rate: int) -> str | None:
    """An interpretation that turns what looks like noise into smooth curves."""
    if _steps(samples) < ROUGH:
        return None
    for kind, pcm in {
        "big-endian": PcmFormat(rate=rate, big_endian=True),
        "24-bit": PcmFormat(rate=rate, sample="s24"),
    }.items():
        whole = len(window) - len(window) % pcm.frame_bytes
        if _steps(pcm.decode(window[:whole])[:, 0]) < SMOOTH:
            return kind
    for channels in (2, 4, 6, 8, 3, 5, 7):
        if all(_steps(samples[channel::channels]) < SMOOTH for channel in range(channels)):
            return f"{channels} channels"
    return None


def _floats(numbers: NDArray[np.floating]) -> bool:
    """Whether bytes are plausible sound if read as floating point."""
    with np.errstate(invalid="ignore"):
        size = np.abs(numbers)
        sane = (size <= 4.0) & ((size >= 1e-10) | (size == 0.0))
    return bool(np.mean(sane) > 0.97 and np.mean(size > 1e-10) > 0.3)


def _steps(samples: NDArray[np.float32]) -> float:
    """Relative size of the steps: 0 for slow curves, 1 for white noise, 2 for alternating signs."""
    wide = samples.astype(np.float64)
    power = float(wide.var())
    if power <= 0.0:
        return 1.0
    return float(np.mean(np.diff(wide) ** 2)) / (2.0 * power)


def _pitch(samples: NDArray[np.float32], rate: int) -> str | None:
    """Whether voices are pitched so low or high that the rate must be wrong."""
    found = pitches(samples, rate)
    if len(found) < 15:
        return None
    # Not np.percentile, which imports numpy.ma: 2 MB.
    low, middle, high = np.sort(found)[[len(found) * share // 10 for share in (2, 5, 8)]]
    # Hum and tones keep their pitch; a voice does not.
    if high / low < 1.06:
        return None
    if middle < SLOW_HZ:
        return f"voices have a pitch of {middle:.0f} Hz, as if slowed down: is the rate higher?"
    if middle > FAST_HZ:
        return f"voices have a pitch of {middle:.0f} Hz, as if sped up: is the rate lower?"
    return None


def pitches(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """The pitch of voiced frames.

    Args:
        samples: float32[n].
        rate: Hertz.

    Returns:
        float64[m] in hertz, for the m frames with a clear pitch from 20 to 700 Hz.
    """
    size = 1 << round(rate * 0.128).bit_length() - 1
    count = (len(samples) - size) // (size // 2) + 1
    if count < 1:
        return np.empty(0)
    starts = np.arange(count) * (size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[starts]
    power = frames.var(axis=1)
    frames = frames[power > 0.1 * power.mean()]
    taper = np.hanning(size)
    window = np.fft.irfft(np.abs(np.fft.rfft(taper, 2 * size)) ** 2)[:size]
    window = np.maximum(window / window[0], 1e-3)
    shortest, longest = round(rate / 700), min(round(rate / 20), size * 3 // 4)
    found = []
    for frame in frames:  # one by one: all at once would take megabytes that stay with the process
        wave = frame.astype(np.float64)
        wave -= wave.mean()
        same = np.fft.irfft(np.abs(np.fft.rfft(wave * taper, 2 * size)) ** 2)[:size]
        curve = same / max(same[0], 1e-20) / window
        # The first peak that is nearly as high as the highest; later ones are its multiples.
        inside = curve[shortest:longest]
        below = int(np.argmax(inside < 0.3))
        top = float(inside[below:].max(initial=0.0)) if inside[below] < 0.3 else 0.0
        if not 0.6 < top <= 1.2:
            continue
        peak = (inside[1:-1] >= inside[:-2]) & (inside[1:-1] >= inside[2:])
        good = np.flatnonzero(peak & (inside[1:-1] > 0.85 * top)) + 1
        good = good[good >= below]
        if len(good):
            found.append(rate / (shortest + int(good[0])))
    return np.array(found)
