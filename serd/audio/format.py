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
