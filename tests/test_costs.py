"""Costs of serd that can be counted without a clock: memory, detector calls, system calls."""

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
"""Allowance for Python's own allocations (free lists, a resized set); a leak is far larger."""

Samples = npt.NDArray[np.float32]


def feed_all(recogniser: Recogniser, samples: Samples) -> int:
    """Feed samples as the daemon does; return the number of blocks."""
    fed = blocks = 0
    while fed < len(samples):
        count = recogniser.batch_samples
        recogniser.feed(samples[fed : fed + count])
        fed += count
        blocks += 1
    return blocks


@pytest.mark.parametrize("sound", [speech, silence], ids=["speech", "silence"])
@pytest.mark.slow
def test_memory_does_not_grow_while_listening(sound: object) -> None:
    samples = sound(30.0)  # type: ignore[operator] # one of the two
    settings = SpeechConfig()
    recogniser = Recogniser(Segmenter(settings, make_vad(settings)), Classifier.load())
    feed_all(recogniser, samples)
    recogniser.flush()
    tracemalloc.start()
    grown = []
    try:
        feed_all(recogniser, samples)
        recogniser.flush()
        # The test runner's threads sometimes allocate as well, but a leak in recognition shows up
        # every time.
        for _ in range(3):
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(4):
                blocks = feed_all(recogniser, samples)
                recogniser.flush()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            grown.append(after - before)
    finally:
        tracemalloc.stop()
    assert blocks > 100
    assert min(grown) < SETTLED_BYTES, grown


def test_silence_hardly_reaches_the_detector_and_never_the_front_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = SpeechConfig()
    vad = make_vad(settings)
    calls = 0
    is_speech = vad.is_speech

    def counted(frame: npt.NDArray[np.int16]) -> bool:
        nonlocal calls
        calls += 1
        return is_speech(frame)

    monkeypatch.setattr(vad, "is_speech", counted)
    recogniser = Recogniser(Segmenter(settings, vad), Classifier.load())
    feed_all(recogniser, silence(5.0))  # the noise floor of the room has to be learnt first
    calls = 0
    monkeypatch.setattr(recogniser._front_end, "push", lambda _samples: pytest.fail("pushed"))
    assert feed_all(recogniser, silence(60.0)) == 250  # blocks of 240 ms
    assert calls < 20


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
    # 4 blocks a second with a few calls each, and two other threads that poll once a second.
    assert int(total[1]) < 5 * 60
