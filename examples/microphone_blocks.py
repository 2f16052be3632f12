#!/usr/bin/env python3
"""Feed the default microphone to serd block by block, and print each prediction as JSON.

    python examples/microphone_blocks.py

It needs neither daemon nor broker: the audio callback only copies blocks into a bounded queue, and
the main thread feeds them to a stream. Ctrl-C ends it.
"""

from __future__ import annotations

import queue
import sys
from typing import Any

import sounddevice

from serd import Classifier

RATE_HZ = 48_000
BLOCK_FRAMES = 4_800  # 0.1 s
blocks: queue.Queue[Any] = queue.Queue(maxsize=100)


def callback(samples: Any, _frames: int, _time: Any, status: Any) -> None:
    """Runs on the audio thread, so it must never wait."""
    if status:
        print(status, file=sys.stderr)
    try:
        blocks.put_nowait(samples.copy())  # int16, shape [frames, 1]
    except queue.Full:
        print("too slow: a block was dropped", file=sys.stderr)


def main() -> None:
    """Listen until Ctrl-C."""
    stream = Classifier.load().stream(RATE_HZ)
    microphone = sounddevice.InputStream(
        RATE_HZ, BLOCK_FRAMES, channels=1, dtype="int16", callback=callback
    )
    try:
        with microphone:
            print("listening; Ctrl-C ends it", file=sys.stderr, flush=True)
            while True:
                for prediction in stream.feed(blocks.get()):
                    print(prediction.to_json(), flush=True)
    except KeyboardInterrupt:
        for prediction in stream.finish():
            print(prediction.to_json(), flush=True)


if __name__ == "__main__":
    main()
