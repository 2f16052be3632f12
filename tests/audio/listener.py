"""A helper process for the tests that holds a microphone and executes one command per line.

Commands: ``format RATE CHANNELS``, ``open``, ``close``, ``read SECONDS``, ``drain`` (until the
device stops), ``save PATH``. Each is answered with one JSON object. PortAudio reads ALSA's
configuration once per process, so a test with its own configuration needs a separate process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serd.audio import microphone as module
from serd.audio.microphone import Microphone
from serd.errors import SerdError

if TYPE_CHECKING:
    from serd.audio.source import Block


class Listener:
    """A microphone and the blocks read from it."""

    def __init__(self) -> None:
        self.microphone = Microphone()
        self.blocks: list[Block] = []

    def command(self, verb: str, *arguments: str) -> dict[str, Any]:
        """Execute one command and return its result."""
        try:
            result = getattr(self, f"do_{verb}")(*arguments) or {}
        except SerdError as error:
            result = {"error": type(error).__name__, "message": str(error)}
        stats = self.microphone.stats
        return {
            **result,
            "rate": stats.rate,
            "channels": stats.channels,
            "opens": stats.opens,
            "overflow_samples": stats.overflow_samples,
            "name": self.microphone.name,
        }

    def do_format(self, rate: str, channels: str) -> None:
        """Open the device in this format from now on, as if it were its native format."""
        module.formats = lambda device, channel="mix": [(int(rate), int(channels))]

    def do_open(self) -> None:
        self.microphone.open()

    def do_close(self) -> None:
        self.microphone.close()

    def do_read(self, seconds: str) -> None:
        wanted = round(float(seconds) * 16_000)
        while wanted > 0:
            block = self.microphone.read(1.0)
            if block is not None:
                self.blocks.append(block)
                wanted -= len(block)

    def do_drain(self) -> None:
        while True:
            block = self.microphone.read(1.0)
            if block is not None:
                self.blocks.append(block)

    def do_save(self, path: str) -> dict[str, Any]:
        np.save(Path(path), np.concatenate([block.samples for block in self.blocks]))
        report = [
            {"position": b.position, "samples": len(b), "lost": b.lost, "arrived": b.arrived}
            for b in self.blocks
        ]
        self.blocks = []
        return {"blocks": report}


def main() -> None:
    """Serve commands until standard input ends."""
    listener = Listener()
    for line in sys.stdin:
        print(json.dumps(listener.command(*line.split())), flush=True)
    listener.microphone.close()


if __name__ == "__main__":
    main()
