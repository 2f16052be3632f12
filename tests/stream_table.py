"""Measure how soon serd receives a stream, initially and after faults.

Run it with ``python -m tests.stream_table``.

Each row is measured with a real sender, a real serd and a real broker on loopback, and is printed
for the table in docs/sources.md. In seconds; the speech has an utterance of 1.5 s in every 2.1 s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests import streams
from tests.broker import Mosquitto, Recorder, mosquitto
from tests.faults.proof import EMOTION
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.streams import Sender

GIVE_UP_S = 120.0

LONG_S = 40.0
"""An outage after which the retry delay no longer grows, whether it lasts this long or an hour."""

SENDERS: dict[str, Callable[[Path], Sender]] = {
    "RTSP, 16-bit PCM at 16 kHz": lambda home: streams.rtsp(home, password="a-secret-word",
                                                            login="camera:a-secret-word"),
    "RTSP, G.711 beside a picture": lambda home: streams.rtsp(home, "camera"),
    "RTSP, Opus": lambda home: streams.rtsp(home, "opus"),
    "HTTP, MP3": streams.http,
    "HTTP, AAC in MPEG-TS": lambda home: streams.http(home, "ts"),
    "icecast2, MP3": streams.icecast,
    "UDP, AAC in MPEG-TS": streams.udp,
    "SRT, AAC in MPEG-TS": streams.srt,
}  # fmt: skip
"""Each kind of sender, by its name in the table."""


class Trial:
    """serd listening to one sender.

    Args:
        home: An empty folder.
        broker: The broker to which serd publishes.
        recorder: A subscriber to what serd publishes.
        sender: Already started.
    """

    def __init__(self, home: Path, broker: Mosquitto, recorder: Recorder, sender: Sender) -> None:
        self.sender = sender
        self.recorder = recorder
        self.node = Node(home, broker.port, "--source", sender.url)

    def next_event(self, since: float) -> float:
        """Wait for the next event; return the seconds since the given moment."""
        before = len(self.recorder.on(EMOTION))
        self.recorder.wait(lambda: len(self.recorder.on(EMOTION)) > before, GIVE_UP_S)
        return time.monotonic() - since

    def reported(self, since: float) -> float:
        """Wait until the loss is logged; return the seconds since the given moment."""
        count = sum("trying again" in line for line in self.node.log)
        streams.waited(
            lambda: sum("trying again" in line for line in self.node.log) > count, GIVE_UP_S
        )
        return time.monotonic() - since

    def fault(
        self, cause: Callable[[], object], repair: Callable[[], object]
    ) -> tuple[float, float]:
        """Cause a fault and repair it; seconds until it is reported and, then, until an event."""
        caused = time.monotonic()
        cause()
        reported = self.reported(caused)
        recoveries = self.recoveries()
        repair()
        repaired = time.monotonic()
        streams.waited(lambda: self.recoveries() > recoveries, GIVE_UP_S)
        return reported, self.next_event(repaired)

    def recoveries(self) -> int:
        """How often the source has become available again."""
        return sum("there again" in line for line in self.node.log)


def row(home: Path, name: str) -> str:
    """Measure one sender; return its row of the table."""
    with (
        mosquitto(home) as broker,
        Recorder(broker.port) as recorder,
        SENDERS[name](home) as sender,
    ):
        trial = Trial(home, broker, recorder, sender)
        begun = time.monotonic()
        with trial.node as node:
            node.wait_log("listening to")
            listening = time.monotonic() - begun
            first = trial.next_event(begun)
            killed = trial.fault(sender.kill, sender.start)
            frozen = trial.fault(sender.freeze, sender.thaw)
            absent = trial.fault(sender.kill, lambda: start_after_long(sender))[1]
            assert not any("a-secret-word" in line for line in node.log), node.log
            node.stop()
    cells = (listening, first, *killed, *frozen, absent)
    return f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"


def start_after_long(sender: Sender) -> None:
    """Start a sender once serd has long since reached its maximum retry delay."""
    time.sleep(LONG_S)
    sender.start()


def main() -> None:
    """Measure all senders, or those whose names contain an argument."""
    columns = ("sender", "listening", "first event", "killed: reported", "back: event",
               "frozen: reported", "resumed: event", "back after long: event")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for name in SENDERS:
        if len(sys.argv) > 1 and not any(word in name for word in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            try:
                print(row(Path(folder), name), flush=True)
            except AssertionError as error:
                print(f"| {name} | {str(error)[:300]} |", flush=True)


if __name__ == "__main__":
    main()
