"""Speech to segment, synthesised when the tests run."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serd.audio.file import read_mono16k
from tests.speech.signals import Samples, at, noise

if TYPE_CHECKING:
    from pathlib import Path

SENTENCES = (
    ("en-gb", 150, 40, "The kettle is on, and nobody is in the kitchen."),
    ("en-us+f3", 190, 70, "What on earth have you done with my bicycle?"),
    ("de", 130, 30, "Morgen früh fahren wir ans Meer, wenn es nicht regnet."),
    ("en-gb+m4", 220, 55, "Quick!"),
)
"""Voice, words per minute, pitch, text."""


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> list[Samples]:
    """The sentences, each float32 at 16 kHz with hardly any silence around it."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng to synthesise speech")
    folder = tmp_path_factory.mktemp("spoken")
    spoken = []
    for number, (voice, rate, pitch, text) in enumerate(SENTENCES):
        path: Path = folder / f"{number}.wav"
        subprocess.run(
            ["espeak-ng", "-v", voice, "-s", str(rate), "-p", str(pitch), "-w", str(path), text],
            check=True,
            timeout=60,
        )
        spoken.append(read_mono16k(path))
    return spoken


@pytest.fixture(scope="session")
def talk(sentences: list[Samples]) -> Samples:
    """The sentences, with a second of quiet room noise before, between and after them."""
    room = at(noise(1.0), -70)
    parts = [room]
    for sentence in sentences:
        parts += [sentence, room]
    return np.concatenate(parts)
