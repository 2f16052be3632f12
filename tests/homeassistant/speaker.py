"""A running daemon that receives speech from the test through a pipe."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from serd.audio import SAMPLE
from serd.audio.file import read_mono16k
from serd.audio.format import SAMPLE_RATE
from serd.model.model_file import ModelFile, pack
from tests.system.node import Node, json_lines, run_serd

if TYPE_CHECKING:
    from pathlib import Path


def clearest_utterance(home: Path) -> dict[str, Any]:
    """The uncut utterance of the sample with the highest confidence."""
    rows = json_lines(run_serd("classify", "--json", str(SAMPLE), home=home).stdout)
    whole = [row for row in rows if row["end_s"] - row["start_s"] < 2.9]
    return max(
        (row for row in whole if row["emotion"] != "uncertain"),
        key=lambda row: float(row["confidence"]),
    )


def model_with_swapped_labels(emotion: str, instead_of: str, path: Path) -> Path:
    """The default model with two of its labels swapped.

    The sample's voices express no emotion; this produces the wanted label and changes nothing else.
    """
    original = ModelFile.load()
    swapped = {emotion: instead_of, instead_of: emotion}
    labels = tuple(swapped.get(label, label) for label in original.labels)
    path.write_bytes(pack(original.network, labels, original.info))
    return path


class Speaker:
    """A node on standard input that keeps running in silence; a context manager.

    Args:
        home: Its folder.
        port: Port of the broker.
        node: Name of the node.
        settings: Additional settings, ``KEY=VALUE``.
    """

    def __init__(self, home: Path, port: int, *, node: str, settings: tuple[str, ...] = ()) -> None:
        home.mkdir(exist_ok=True)
        self._fifo = home / "microphone"
        if not self._fifo.exists():
            os.mkfifo(self._fifo)
        options = [part for setting in settings for part in ("--set", setting)]
        self.node = Node(
            home,
            port,
            *options,
            "--source",
            "-",
            node=node,
            # The pipe is opened for reading and writing, so that it never ends.
            wrapper=("sh", "-c", f'exec "$0" -m serd "$@" <>"{self._fifo}"', sys.executable),
        )
        self._pipe = -1

    def __enter__(self) -> Self:
        self.node.__enter__()
        self._pipe = os.open(self._fifo, os.O_RDWR)
        self.node.wait_log("ready")
        return self

    def __exit__(self, *exception: object) -> None:
        self.node.__exit__(*exception)
        os.close(self._pipe)

    def say(self, utterance: dict[str, Any], *, times: int = 1) -> None:
        """Send an utterance of the sample, with silence around it; returns at once.

        The daemon reads it as fast as it can, not in real time.
        """
        samples = read_mono16k(SAMPLE)
        start = round((utterance["start_s"] - 0.3) * SAMPLE_RATE)
        voice = samples[max(0, start) : round((utterance["end_s"] + 0.1) * SAMPLE_RATE)]
        silence = np.zeros(SAMPLE_RATE, np.float32)
        sound = (np.concatenate([silence, voice, silence]) * 32767).astype("<i2").tobytes()
        threading.Thread(target=self._write, args=(sound * times,), daemon=True).start()

    def _write(self, sound: bytes) -> None:
        view = memoryview(sound)
        try:
            while view:
                view = view[os.write(self._pipe, view[:4096]) :]
        except OSError:  # the test is over
            return


def decode(payload: bytes) -> dict[str, Any]:
    """Parse the JSON object in a message."""
    decoded: dict[str, Any] = json.loads(payload)
    return decoded
