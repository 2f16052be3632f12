"""The one audio format that flows through serd after a source."""

from __future__ import annotations

from typing import Final

SAMPLE_RATE: Final = 16_000
"""Hertz. Mono float32 in [-1, 1] at this rate leaves every source."""

FRAME_SAMPLES: Final = 480
"""Samples of one VAD frame: 30 ms, the longest that webrtcvad takes."""

BLOCK_S: Final = 0.03
"""Seconds of audio that a real-time source hands over at once: one VAD frame."""

MIN_RATE: Final = 2_000
"""Hertz. Below this there is no speech to hear, and one second would blow up to many megabytes."""

MAX_RATE: Final = 768_000
"""Hertz. The fastest that converters for sound are built; more is a broken header."""

FFMPEG_SUFFIXES: Final = (
    ".3g2", ".3gp", ".aac", ".ac3", ".amr", ".ape", ".asf", ".avi", ".dts", ".flv", ".m4a", ".m4b",
    ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".mpg", ".ra", ".tta", ".webm", ".wma",
    ".wmv", ".wv",
)  # fmt: skip
"""Endings of recordings that libsndfile does not read, and ffmpeg does."""
