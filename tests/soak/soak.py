"""A day of audio through serd as fast as possible, with a broker that fails at random.

The audio is generated here and piped into ``serd run``: random speech, noise and silence, at
varying levels. A separate segmenter on the same samples counts the events to expect.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

from serd.audio import SAMPLE
from serd.config.schema import SpeechConfig
from serd.speech import Segmenter, make_vad
from tests.broker import Recorder, mosquitto
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tests.broker import Mosquitto

RATE = 16_000
EMOTION = "serd/test-room/emotion"
CATCH_UP_S = 120.0


@dataclass(frozen=True)
class Measurement:
    """Resource usage of the process, from /proc."""

    hours: float
    """Hours of audio written to it so far."""
    rss_mb: float
    fds: int
    threads: int


@dataclass
class Report:
    """The result of a run."""

    hours: float
    wall_s: float = 0.0
    expected: int = 0
    received: int = 0
    """Distinct ids that the subscriber received."""
    deliveries: int = 0
    """Messages received, including redeliveries."""
    journalled: int = 0
    gaps: int = 0
    out_of_order: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    exit_code: int | None = None
    reconnects: int = 0
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def settled(self) -> Measurement:
        """Usage after the first hour or, in a shorter run, after the first third."""
        limit = min(1.0, self.hours / 3)
        return next(m for m in self.measurements if m.hours >= limit)

    @property
    def last(self) -> Measurement:
        """Usage at the end."""
        return self.measurements[-1]

    @property
    def growth(self) -> float:
        """Relative growth of the resident memory since `settled`."""
        return self.last.rss_mb / self.settled.rss_mb - 1.0

    def problems(self) -> list[str]:
        """Every requirement that is not met."""
        found = {
            f"{self.expected} events expected, {self.received} received": (
                self.expected != self.received
            ),
            f"{self.journalled} events in the journal": self.journalled != self.received,
            f"{self.gaps} gaps in seq": self.gaps > 0,
            f"{self.out_of_order} events out of order": self.out_of_order > 0,
            f"exit code {self.exit_code}": self.exit_code != 0,
            f"RSS grew by {self.growth:.1%}": self.growth > 0.05,
            f"{self.last.fds} file descriptors, {self.settled.fds} before": (
                self.last.fds > self.settled.fds + 2
            ),
            f"{self.last.threads} threads, {self.settled.threads} before": (
                self.last.threads > self.settled.threads
            ),
        }
        return [problem for problem, is_so in found.items() if is_so]

    def table(self) -> str:
        """A table for the terminal."""
        failures = ", ".join(f"{n} x {name}" for name, n in sorted(self.failures.items()))
        rows = [
            ("sound", f"{self.hours:g} h in {self.wall_s:.0f} s"),
            ("broker failures", failures or "none"),
            ("reconnects", f"{self.reconnects}"),
            ("events expected", f"{self.expected}"),
            ("events received", f"{self.received} ({self.deliveries} deliveries)"),
            ("events in the journal", f"{self.journalled}"),
            ("gaps in seq", f"{self.gaps}"),
            ("out of order", f"{self.out_of_order}"),
            (f"RSS after {self.settled.hours:.1f} h", f"{self.settled.rss_mb:.1f} MB"),
            ("RSS at the end", f"{self.last.rss_mb:.1f} MB ({self.growth:+.1%})"),
            ("file descriptors", f"{self.settled.fds} -> {self.last.fds}"),
            ("threads", f"{self.settled.threads} -> {self.last.threads}"),
            ("exit code", f"{self.exit_code}"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def sound(hours: float, rng: random.Random) -> Iterator[NDArray[np.int16]]:
    """Random speech, noise and silence, in pieces of some seconds up to a minute."""
    speech, _ = sf.read(SAMPLE, dtype="float32")
    noise = np.random.default_rng(rng.randrange(1 << 32))
    left = round(hours * 3600 * RATE)
    while left > 0:
        kind = rng.choice(["speech", "speech", "noise", "silence"])
        if kind == "speech":
            piece = speech * np.float32(10 ** (rng.uniform(-12, 6) / 20))
        elif kind == "noise":
            size = rng.randrange(5 * RATE, 60 * RATE)
            level = np.float32(10 ** (rng.uniform(-60, -30) / 20))
            piece = level * noise.standard_normal(size, np.float32)
        else:
            piece = np.zeros(rng.randrange(5 * RATE, 60 * RATE), np.float32)
        piece = piece[:left]
        left -= len(piece)
        yield (np.clip(piece, -1.0, 32_767 / 32_768) * 32_768).astype("<i2")


class Breaker:
    """Makes the broker fail in random ways and at random times, until `end` is called."""

    def __init__(
        self, broker: Mosquitto, recorder: Recorder, node: Node, rng: random.Random
    ) -> None:
        self._broker, self._recorder, self._node, self._rng = broker, recorder, node, rng
        self.counts: dict[str, int] = {}
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="breaker")

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Cause no more failures."""
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        faults: dict[str, Callable[[], None]] = {
            "restart": self._restart, "absence": self._absence, "freeze": self._freeze,
            "kill": self._kill,
        }  # fmt: skip
        try:
            while not self._stopping.wait(self._rng.uniform(0.5, 5.0)):
                name = self._rng.choice(list(faults))
                faults[name]()
                self.counts[name] = self.counts.get(name, 0) + 1
        except BaseException as error:  # noqa: BLE001 - raised in end()
            self._error = error

    def _restart(self) -> None:
        with self._subscriber_back():
            self._broker.restart()

    def _absence(self) -> None:
        with self._subscriber_back():
            self._broker.stop()
            self._stopping.wait(self._rng.uniform(0.5, 4.0))
            self._broker.start()

    def _freeze(self) -> None:
        self._broker.pause()
        self._stopping.wait(self._rng.uniform(0.5, 9.0))
        self._broker.resume()

    def _kill(self) -> None:
        # A killed broker loses what it had queued for a subscriber; that is not serd's fault. So
        # serd is stopped until the subscriber has received that and has reconnected.
        self._node.send(signal.SIGSTOP)
        try:
            time.sleep(0.5)
            with self._subscriber_back():
                self._broker.restart(kill=True)
        finally:
            self._node.send(signal.SIGCONT)

    @contextlib.contextmanager
    def _subscriber_back(self) -> Iterator[None]:
        before = self._recorder.connections
        yield
        self._recorder.wait(lambda: self._recorder.connections > before, CATCH_UP_S)


def measure(pid: int, hours: float) -> Measurement:
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Measurement(
        hours=hours,
        rss_mb=int(fields["VmRSS"].split()[0]) / 1024,
        fds=len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208 - its entries come and go
        threads=int(fields["Threads"]),
    )


def soak(
    hours: float, folder: Path, *, seed: int = 1, say: Callable[[str], None] = lambda _text: None
) -> Report:
    """Run the soak test.

    Args:
        hours: Hours of audio.
        folder: An empty folder for the journal and the broker.
        seed: Seed of the audio and of the failures.
        say: Called with a line of progress for each measurement.
    """
    report = Report(hours)
    begun = time.monotonic()
    reading, writing = os.pipe()
    speech = SpeechConfig()
    segmenter = Segmenter(speech, make_vad(speech))
    queue = "max_queued_messages 0"  # for the subscriber; the default is 1000
    with (
        mosquitto(folder, extra=(queue,)) as broker,
        Recorder(broker.port, EMOTION, persistent="soak") as recorder,
        Node(folder, broker.port, "--source", "-", "--pace", "fast", "--set", "mqtt.keepalive_s=5",
             "--set", "log.level=warning", stdin=reading) as node,
    ):  # fmt: skip
        os.close(reading)
        breaker = Breaker(broker, recorder, node, random.Random(seed + 1))
        breaker.start()
        given = 0
        next_look = 0.0
        step = min(1.0, hours / 12)
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for piece in sound(hours, random.Random(seed)):
                rest = memoryview(piece.tobytes())
                while rest:
                    rest = rest[pipe.write(rest) or 0 :]
                segmenter.feed(piece.astype(np.float32) / np.float32(32_768))
                given += len(piece)
                if given / RATE / 3600 >= next_look:
                    next_look += step
                    report.measurements.append(measure(node.pid, given / RATE / 3600))
                    seen = report.measurements[-1]
                    say(f"{seen.hours:5.2f} h  {time.monotonic() - begun:5.0f} s  "
                        f"RSS {seen.rss_mb:.1f} MB  {seen.fds} fds  {seen.threads} threads  "
                        f"{segmenter.counters.utterances} events so far")  # fmt: skip
            segmenter.flush()
            report.measurements.append(measure(node.pid, hours))
        breaker.end()
        report.exit_code = node.wait()
        report.expected = segmenter.counters.utterances
        report.failures = breaker.counts
        deadline = time.monotonic() + CATCH_UP_S
        while True:
            events = [json.loads(payload) for payload in recorder.on(EMOTION)]
            if len({event["id"] for event in events}) >= report.expected:
                break
            if time.monotonic() > deadline:
                break
            time.sleep(1)
        report.reconnects = sum("no broker" in line for line in node.log)
    report.wall_s = time.monotonic() - begun
    first: dict[str, int] = {}
    for event in events:
        first.setdefault(event["id"], event["seq"])
    seqs = list(first.values())
    report.deliveries, report.received = len(events), len(first)
    report.gaps = len(set(range(1, max(seqs, default=0) + 1)) - set(seqs))
    report.out_of_order = sum(after < before for before, after in pairwise(seqs))
    from tests.faults.proof import journalled

    report.journalled = len(journalled(folder))
    return report
