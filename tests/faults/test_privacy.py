"""Audio is never written: every write of a real daemon, traced from outside."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from serd.model.emotions import EMOTIONS, UNCERTAIN
from tests.faults.talk import RATE, utterance
from tests.system.node import Node, serd_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Mosquitto, Recorder

pytestmark = [pytest.mark.broker, pytest.mark.slow]

HOURS = float(os.environ.get("SOAK_HOURS", "0.25"))
"""Hours of speech, at fast pace."""

CALLS = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,msync"
LONGEST = 65_536
"""Bytes of each write that are traced."""


def writes(trace: Path) -> Iterator[tuple[bytes, bytes]]:
    """The system calls of a trace that write data, with that data."""
    with trace.open("rb") as lines:
        for line in lines:
            name = line.split(b"(", 1)[0].split()[-1]
            parts = re.findall(rb'"((?:\\x[0-9a-f]{2})+)"', line)
            if parts:
                yield name, bytes.fromhex(b"".join(parts).replace(b"\\x", b"").decode())


def test_no_write_contains_audio(tmp_path: Path, broker: Mosquitto, recorder: Recorder) -> None:
    """Search all writes to files, sockets and pipes for 16 consecutive bytes of the speech.

    The speech is searched for as 16-bit and as float samples, at every offset. Such a run of
    samples is unlikely to occur anywhere else.
    """
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    sample, _ = sf.read(SAMPLE, dtype="int16")
    rounds = max(1, round(HOURS * 3600 * RATE / len(sample)))
    path = tmp_path / "speech.wav"
    sf.write(path, np.tile(sample, rounds), RATE, subtype="PCM_16")
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-xx", "-s", str(LONGEST), "-e", f"trace={CALLS}", "-o", str(trace)]
    node = Node(tmp_path, broker.port, "--source", str(path), "--pace", "fast",
                wrapper=[*strace, *serd_command()])  # fmt: skip
    with node:
        assert node.wait() == 0, node.log
    recorder.wait_for("serd/test-room/status", b"offline")
    assert recorder.on("serd/test-room/emotion")

    needles = _needles(sample)
    seen = 0
    for name, data in writes(trace):
        seen += len(data)
        found = needles & {data[i : i + 16] for i in range(len(data) - 15)}
        assert not found, f"{name!r} wrote audio: {data[:64]!r}"
    assert seen > 10_000 * rounds / 20  # the trace did record what serd wrote
    # And the search does find audio where there is some: in the file that serd read.
    planted = path.read_bytes()[4000 + 2 * RATE * 6 :][: 2 * RATE]
    assert needles & {planted[i : i + 16] for i in range(len(planted) - 15)}


def _needles(sample: np.ndarray[tuple[int], np.dtype[np.int16]]) -> set[bytes]:
    """The bytes of loud runs of samples, in the formats that serd handles."""
    found: set[bytes] = set()
    floats = sample.astype("<f4") / np.float32(32768.0)
    # The hop is shorter than any write of audio. A run is 8 samples of 16 bits or 4 of 32 bits.
    for start in range(0, len(sample) - 8, 4):
        run = sample[start : start + 8]
        if np.abs(run).min() > 256 and len(set(run.tolist())) == 8:
            found.add(run.astype("<i2").tobytes())
            found.add(floats[start : start + 4].tobytes())
    assert len(found) > 10_000
    return found


def test_only_journal_files_are_written_to_the_disk(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    speech = tmp_path / "speech.wav"
    sf.write(speech, np.tile(utterance(), 20), RATE)
    with Node(home, broker.port, "--source", str(speech), "--pace", "fast") as node:
        assert node.wait() == 0, node.log
    files = {str(found.relative_to(home)) for found in home.rglob("*") if found.is_file()}
    assert files <= {
        f"journal.db{end}" for end in ("", "-wal", "-shm", "-lock", "-mark", "-latency")
    }
    recorder.wait_count("serd/test-room/emotion", 20)
    assert sum(found.stat().st_size for found in home.rglob("*")) < 200_000


@pytest.mark.parametrize(("level", "logged"), [("info", False), ("debug", True)])
def test_emotions_are_logged_only_at_debug_level(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, level: str, logged: bool
) -> None:
    speech = tmp_path / "speech.wav"
    sf.write(speech, np.tile(utterance(), 3), RATE)
    source = ("--source", str(speech), "--pace", "fast", "--set", f"log.level={level}")
    with Node(tmp_path, broker.port, *source) as node:
        assert node.wait() == 0, node.log
        node.wait_log("disconnected from the broker")
        log = "\n".join(node.log)
    recorder.wait_count("serd/test-room/emotion", 3)
    assert any(label in log for label in (*EMOTIONS, UNCERTAIN)) is logged, log
