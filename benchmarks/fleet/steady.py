"""Nodes at a realistic rate for some minutes: loss, latency and cost."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.fleet import records
from benchmarks.fleet.broker import Broker
from benchmarks.fleet.consumers import Consumers
from benchmarks.fleet.postgres import Cluster
from benchmarks.fleet.processes import children_s, peak_mb, processor_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

PROCESSES: Final = 2
"""Number of processes that the nodes are divided among."""

_START_S: Final = 120.0
_END_S: Final = 180.0
_STORED_S: Final = 120.0
_FIGURES: Final = ("stored", "known", "rejected", "batches", "commit_ms")


class Speakers:
    """The simulated nodes, in a few processes.

    Args:
        folder: Folder for the records.
        port: Port of the broker.
        load: Number of nodes, duration and rate.
    """

    def __init__(self, folder: Path, port: int, load: Load) -> None:
        self._paths = []
        self._processes = []
        self._seconds = load.seconds
        share = -(-load.nodes // PROCESSES)
        for number in range(PROCESSES):
            first, count = number * share, min(share, load.nodes - number * share)
            path = folder / f"sent-{number}.npy"
            words = [port, first, count, load.seconds, load.every_s, path]
            self._paths.append(path)
            self._processes.append(_module("nodes", *words))

    def begin(self) -> None:
        """Wait until all are connected, then let them publish."""
        for process in self._processes:
            _expect(process, "ready")
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def finish(self) -> tuple[NDArray[Any], dict[str, float]]:
        """Wait until they have ended; returns what they sent, and their counts."""
        told = []
        for process in self._processes:
            out, _ = process.communicate(timeout=self._seconds + _END_S)
            if process.returncode != 0:
                raise RuntimeError(f"the simulated nodes ended with {process.returncode}")
            told.append(json.loads(out.splitlines()[-1]))
        sent = [records.read(path, records.SENT) for path in self._paths]
        counts = {key: sum(one[key] for one in told) for key in told[0] if key != "connect_s"}
        counts["connect_s"] = max(one["connect_s"] for one in told)
        return np.concatenate(sent), counts

    def kill(self) -> None:
        """Kill them."""
        for process in self._processes:
            process.kill()
            process.communicate()


class Tail:
    """``serd tail --node +`` into a pipe or on a terminal; counts the events that it shows.

    Args:
        folder: Folder for its output.
        port: Port of the broker.
        terminal: Whether its output is a terminal of 120 columns.
    """

    def __init__(self, folder: Path, port: int, *, terminal: bool) -> None:
        self._path = folder / ("tail-terminal" if terminal else "tail-pipe")
        self._errors = folder / f"{self._path.name}.err"
        outer, inner = pty.openpty() if terminal else os.pipe()
        command = [sys.executable, "-m", "serd", "tail", "--node", "+", "--no-history"]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*command, "--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={port}"],
                stdout=inner, stderr=errors, stdin=subprocess.DEVNULL,
                env={**os.environ, "COLUMNS": "120", "TERM": "xterm-256color"},
            )  # fmt: skip
        os.close(inner)
        self._reader = threading.Thread(target=self._read, args=(outer,))
        self._reader.start()
        deadline = time.monotonic() + _START_S
        while b"connected" not in self._errors.read_bytes():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"serd tail: {self._errors.read_text()}")
            time.sleep(0.05)
        self._before_s = processor_s(self._process.pid)

    def _read(self, outer: int) -> None:
        with self._path.open("wb") as out:
            try:
                while data := os.read(outer, 65536):
                    out.write(data)
            except OSError:  # reading a terminal fails once the other end is closed
                pass
            finally:
                os.close(outer)

    def figures(self, wall_s: float) -> dict[str, float]:
        """End it; returns its cost and the number of events that it showed."""
        pid = self._process.pid
        cpu_s, memory = processor_s(pid) - self._before_s, peak_mb(pid)
        self.end()
        return {
            "cpu_percent": round(100 * cpu_s / wall_s, 2),
            "rss_mb": round(memory, 1),
            "events": self._path.read_bytes().count(b"\n"),
            "told_missed": self._errors.read_bytes().count(b"missed"),
        }

    def end(self) -> None:
        """End it. Not with SIGINT, which background processes may ignore."""
        self._process.terminate()
        self._process.wait(_START_S)
        self._reader.join(_START_S)


@dataclass(frozen=True)
class Load:
    """Number of nodes, duration and rate, and a callback for progress."""

    nodes: int
    seconds: float
    every_s: float
    tell: Callable[[str], None]


def pace(folder: Path, load: Load) -> dict[str, Any]:
    """Nodes, an observer and two tails, without a database, to measure the tails."""
    folder.mkdir(parents=True)
    with Broker(folder / "broker") as broker:
        return _run(folder, broker, load)


def stored(folder: Path, load: Load) -> dict[str, Any]:
    """The same with three consumers into PostgreSQL, one of which is killed half way.

    It stays down for a tenth of the time, then starts again with its client id, as a service
    manager would restart it.
    """
    folder.mkdir(parents=True)
    with (
        Cluster() as cluster,
        Broker(folder / "broker") as broker,
        Consumers(folder, broker.port, cluster.dsn) as consumers,
    ):
        found = _run(folder, broker, load, (cluster, consumers))
        living = consumers.processes.values()
        found["consumer_cpu_s"] = round(
            consumers.spent_s + sum(processor_s(one.pid) for one in living), 2
        )
        found["consumer_rss_mb"] = round(max(peak_mb(one.pid) for one in living), 1)
        found["consumer_exit_codes"] = [consumers.end(name) for name in consumers.names]
        found["consumers"] = [
            {what: consumers.figure(name, what) for what in _FIGURES} for name in consumers.names
        ]
        found["database_cpu_s"] = round(children_s(cluster.pid), 2)
        return found


def _run(
    folder: Path,
    broker: Broker,
    load: Load,
    database: tuple[Cluster, Consumers] | None = None,
) -> dict[str, Any]:
    observer = _module("observer", broker.port, folder / "came.npy")
    speakers, tails = None, {}
    try:
        _expect(observer, "ready")
        tails = {kind: Tail(folder, broker.port, terminal=kind == "terminal")
                 for kind in ("pipe", "terminal")}  # fmt: skip
        speakers = Speakers(folder, broker.port, load)
        busy = os.getloadavg()[0]
        speakers.begin()
        begun, cpu_before = time.monotonic(), broker.processor_s
        load.tell(f"{load.nodes} nodes are connected and speak for {load.seconds:.0f} s")
        with _killing(database, load):
            sent, counts = speakers.finish()
        wall_s, cpu_s = time.monotonic() - begun, broker.processor_s - cpu_before
        load.tell(f"{len(sent)} events were sent")
        acknowledged = {bytes(one["id"]): one for one in sent if one["acked_ns"]}
        found: dict[str, Any] = {
            "nodes": load.nodes, "seconds": load.seconds, "every_s": load.every_s,
            "wall_s": round(wall_s, 1),
            "load_before": round(busy, 2), "load_after": round(os.getloadavg()[0], 2),
            "sent": len(sent), "acknowledged": len(acknowledged), **counts,
        }  # fmt: skip
        found["ack_ms"] = records.percentiles(
            [(int(one["acked_ns"]) - int(one["sent_ns"])) / 1e6 for one in acknowledged.values()]
        )
        found["broker"] = {
            "cpu_s": round(cpu_s, 2), "cpu_percent": round(100 * cpu_s / wall_s, 2),
            "peak_rss_mb": round(broker.peak_mb, 1), "complaints": broker.log(),
        }  # fmt: skip
        if database is not None:
            found["stored"] = _stored(database[0], acknowledged)
        observer.terminate()
        observer.communicate(timeout=_END_S)
        found["observed"] = _observed(records.read(folder / "came.npy", records.CAME), acknowledged)
        found["tail"] = {kind: tail.figures(wall_s) for kind, tail in tails.items()}
        return found
    finally:
        for tail in tails.values():
            tail.end()
        if speakers is not None:
            speakers.kill()
        observer.kill()
        observer.communicate()


@contextlib.contextmanager
def _killing(database: tuple[Cluster, Consumers] | None, load: Load) -> Iterator[None]:
    """Kill a consumer half way, and restart it a little later."""
    if database is None:
        yield
        return
    consumers = database[1]
    over = threading.Event()

    def kill() -> None:
        name = consumers.names[1]
        if not over.wait(load.seconds / 2):
            consumers.kill(name)
            load.tell(f"{name} was killed")
            over.wait(load.seconds / 10)
            consumers.start(name)
            load.tell(f"{name} was started again")

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _observed(came: NDArray[Any], acknowledged: dict[bytes, Any]) -> dict[str, Any]:
    """Which acknowledged events a QoS 1 subscriber received."""
    first: dict[bytes, int] = {}
    for one in came:
        first.setdefault(bytes(one["id"]), int(one["came_ns"]))
    latencies = [(first[key] - int(one["sent_ns"])) / 1e6
                 for key, one in acknowledged.items() if key in first]  # fmt: skip
    return {
        "missing": len(acknowledged.keys() - first.keys()),
        "twice": len(came) - len(first),
        "latency_ms": records.percentiles(latencies),
    }


def _stored(cluster: Cluster, acknowledged: dict[bytes, Any]) -> dict[str, Any]:
    """Which acknowledged events are in the table, once all are there or time is up."""
    deadline = time.monotonic() + _STORED_S
    with cluster.connect() as connection:
        while True:
            rows = connection.execute(
                "SELECT id, (extract(epoch FROM stored_at) * 1e9)::bigint FROM serd.event"
            ).fetchall()
            there = {row[0].bytes: int(row[1]) for row in rows}
            missing = acknowledged.keys() - there.keys()
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        gaps = connection.execute("SELECT coalesce(sum(missing), 0)::int FROM serd.gap").fetchone()
    assert gaps is not None
    return {
        "rows": len(rows),
        "missing": len(missing),
        "twice": len(rows) - len(there),
        "unacknowledged": len(there.keys() - acknowledged.keys()),
        "gaps": gaps[0],
        "latency_ms": records.percentiles(
            [(there[key] - int(one["wall_ns"])) / 1e6
             for key, one in acknowledged.items() if key in there]
        ),
    }  # fmt: skip


def _module(name: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.fleet.{name}", *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line != word:
        raise RuntimeError(f"{process.args!r} said {line!r}")
