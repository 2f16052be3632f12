"""Audio sources: microphone, recording, pipe, network or program, all as 16 kHz mono blocks.

Importing this package loads neither PortAudio nor libsndfile; opening a source does.
"""

from pathlib import Path
from typing import Final

FLOOR_DBFS: Final = -120.0
"""The level of silence, because JSON has no minus infinity. 24 bits end at -144 dBFS."""

SAMPLE: Final = Path(__file__).parent / "data" / "sample.ogg"
"""A recording that comes with serd: 40 s of synthetic voices without any emotion
(examples/make_sample.py)."""
