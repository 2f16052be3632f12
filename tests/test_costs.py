"""What serd costs, as far as it can be counted without a clock."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from serd.benchmark.material import silence, speech, write
from serd.config import SpeechConfig
from serd.model.classifier import Classifier, Recogniser
from serd.speech import Segmenter, make_vad
from tests.broker import mosquitto
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Mosquitto

SETTLED_BYTES = 2_000
"""Python's own odds and ends (free lists, a set that was resized); a leak is far more."""

Samples = npt.NDArray[np.float32]


def hear(recogniser: Recogniser, samples: Samples) -> int:
    """Feed samples as the daemon does; how many blocks it took."""
    heard = blocks = 0
    while heard < len(samples):
        count = recogniser.batch_samples
        recogniser.feed(samples[heard : heard + count])
        heard += count
        blocks += 1
    return blocks


@pytest.mark.parametrize("sound", [speech, silence], ids=["speech", "silence"])
@pytest.mark.slow
def test_hearing_on_and_on_needs_no_more_memory(sound: object) -> None:
    samples = sound(30.0)  # type: ignore[operator] # one of the two
    settings = SpeechConfig()
    recogniser = Recogniser(Segmenter(settings, make_vad(settings)), Classifier.load())
    hear(recogniser, samples)
    recogniser.flush()
    tracemalloc.start()
    grown = []
    try:
        hear(recogniser, samples)
        recogniser.flush()
        # Threads of the test runner allocate as well, at times; what recognition keeps, it keeps
        # each time.
        for _ in range(3):
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(4):
                blocks = hear(recogniser, samples)
                recogniser.flush()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            grown.append(after - before)
    finally:
        tracemalloc.stop()
    assert blocks > 100
    assert min(grown) < SETTLED_BYTES, grown


def test_in_silence_neither_detector_nor_front_end_works(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SpeechConfig()
    vad = make_vad(settings)
    asked = 0
    judge = vad.is_speech

    def ask(frame: npt.NDArray[np.int16]) -> bool:
        nonlocal asked
        asked += 1
        return judge(frame)

    monkeypatch.setattr(vad, "is_speech", ask)
    recogniser = Recogniser(Segmenter(settings, vad), Classifier.load())
    hear(recogniser, silence(5.0))  # what the room sounds like has to be learnt
    asked = 0
    monkeypatch.setattr(recogniser._front_end, "push", lambda _samples: pytest.fail("pushed"))
    assert hear(recogniser, silence(60.0)) == 250  # of 240 ms
    assert asked < 20


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker for one test."""
    with mosquitto(tmp_path) as running:
        yield running


@pytest.mark.broker
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_an_idle_node_makes_few_system_calls(broker: Mosquitto, tmp_path: Path) -> None:
    source = write(tmp_path / "silence.wav", silence(60.0))
    with Node(tmp_path, broker.port, "--source", str(source)) as node:
        node.wait_log("ready")
        traced = subprocess.run(
            ["timeout", "--signal=INT", "5", "strace", "-f", "-c", "-p", str(node.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        if "attached" not in traced.stderr:
            pytest.skip(f"strace may not attach here: {traced.stderr.strip()[:100]}")
        total = re.search(r"^100\.00.*?(\d+)\s+\d*\s*total$", traced.stderr, re.MULTILINE)
        assert total is not None, traced.stderr
    # 4 blocks a second, a few calls for each; and once a second a look by two other threads.
    assert int(total[1]) < 5 * 60
