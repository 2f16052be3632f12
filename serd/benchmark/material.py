"""Sound to measure with, made from the sample that serd ships: no corpus is needed.

The sample contains speech, so every part of serd does the work that real speech would cause.
"""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING, Final

import numpy as np

from serd.audio import SAMPLE
from serd.audio.file import read_mono16k
from serd.audio.format import SAMPLE_RATE
from serd.config import SpeechConfig
from serd.speech import End, Segmenter, make_vad

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ROOM_DBFS: Final = -62.0
"""RMS of the white noise that simulates a quiet room."""

PHRASE_S: Final = 0.9
"""Seconds of speech in a phrase."""

PAUSE_S: Final = 0.5
"""Seconds between phrases: longer than the hang-over, so that each is an utterance."""


def speech(seconds: float) -> NDArray[np.float32]:
    """Continuous speech: the sample's utterances end to end, repeated.

    Returns:
        float32 ``[seconds * 16000]``, mono, 16 kHz.
    """
    return _tiled(np.concatenate(_utterances()), seconds)


def silence(seconds: float) -> NDArray[np.float32]:
    """A quiet room: white noise with a fixed seed.

    Returns:
        float32 ``[seconds * 16000]``, mono, 16 kHz.
    """
    noise = np.random.default_rng(0).standard_normal(60 * SAMPLE_RATE, dtype=np.float32)
    return _tiled(noise * np.float32(10 ** (ROOM_DBFS / 20)), seconds)


def phrases(seconds: float) -> NDArray[np.float32]:
    """Short utterances with pauses between them, about 43 per minute, to measure latency.

    Returns:
        float32 ``[seconds * 16000]``, mono, 16 kHz.
    """
    pause = silence(PAUSE_S)
    length = round(PHRASE_S * SAMPLE_RATE)
    parts = [part for utterance in _utterances() for part in (utterance[:length], pause)]
    return _tiled(np.concatenate(parts), seconds)


def write(path: Path, samples: NDArray[np.float32]) -> Path:
    """Write a 16-bit WAV file at 16 kHz.

    Args:
        path: Where to.
        samples: float32 ``[n]``, mono.

    Returns:
        The path.
    """
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for first in range(0, len(samples), 1 << 20):
            part = np.clip(samples[first : first + (1 << 20)], -1.0, 1.0)
            file.writeframes(np.rint(part * np.float32(32767)).astype("<i2").tobytes())
    return path


def _utterances() -> list[NDArray[np.float32]]:
    samples = read_mono16k(SAMPLE)
    settings = SpeechConfig()
    segmenter = Segmenter(settings, make_vad(settings))
    found = [*segmenter.feed(samples), *segmenter.flush()]
    return [
        samples[event.utterance.start : event.utterance.end]
        for event in found
        if isinstance(event, End)
    ]


def _tiled(samples: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    count = round(seconds * SAMPLE_RATE)
    return np.tile(samples, -(-count // len(samples)))[:count]
