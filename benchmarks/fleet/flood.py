"""Maximum throughput of one mosquitto, driven by its own clients in C.

Python clients would be slower than the broker, so they would be the bottleneck.
"""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from benchmarks.fleet.broker import Broker
from benchmarks.fleet.nodes import Fleet, Node
from serd.events.event import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LIMIT_S: Final = 300.0
_SUBSCRIBED_S: Final = 1.0


def flood(folder: Path, *, events: int, publishers: int) -> dict[str, Any]:
    """Publish events with QoS 1 from a few clients to one QoS 1 subscriber, at full speed.

    Args:
        folder: Folder for the broker and the payloads.
        events: Number of events in total.
        publishers: Number of clients that publish them.
    """
    folder.mkdir(parents=True)
    each = events // publishers
    files = [_payloads(folder / f"payloads-{number}", number, each) for number in range(publishers)]
    size = files[0].stat().st_size / each
    with Broker(folder / "broker") as broker:
        where = ["-h", "127.0.0.1", "-p", str(broker.port), "-q", "1"]
        with (folder / "came").open("wb") as file:
            subscriber = subprocess.Popen(
                ["mosquitto_sub", *where, "-t", "serd/+/emotion", "-C", str(each * publishers),
                 "-i", "flood", "-c"], stdout=file,
            )  # fmt: skip
        time.sleep(_SUBSCRIBED_S)  # time to subscribe; from then on its session is persistent
        begun, before = time.monotonic(), broker.processor_s
        senders: list[subprocess.Popen[bytes]] = []
        for number, path in enumerate(files):
            with path.open("rb") as lines:
                topic = f"serd/node-{number:04}/emotion"
                senders.append(
                    subprocess.Popen(["mosquitto_pub", *where, "-t", topic, "-l"], stdin=lines)
                )
        try:
            subscriber.wait(_LIMIT_S)
            wall_s = time.monotonic() - begun
            for sender in senders:
                sender.wait(_LIMIT_S)
        finally:
            for process in [*senders, subscriber]:
                process.kill()
                process.wait()
        cpu_s = broker.processor_s - before
        came = [UUID(one.decode()).bytes for one in _ids(folder / "came")]
        return {
            "events": each * publishers,
            "publishers": publishers,
            "bytes": round(size),
            "missing": each * publishers - len(set(came)),
            "twice": len(came) - len(set(came)),
            "wall_s": round(wall_s, 2),
            "events_per_s": round(each * publishers / wall_s),
            "broker_cpu_s": round(cpu_s, 2),
            "broker_cpu_percent": round(100 * cpu_s / wall_s, 1),
            "broker_cpu_us_per_event": round(1e6 * cpu_s / (each * publishers), 1),
            "peak_rss_mb": round(broker.peak_mb, 1),
            "complaints": broker.log(),
        }


def _payloads(path: Path, number: int, count: int) -> Path:
    """Write events of one node to a file, one per line."""
    node = Node(Fleet(0, number), number, 1.0)
    with path.open("wb") as file:
        file.writelines(encode(node.event(1.5)) + b"\n" for _ in range(count))
    return path


def _ids(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            found = re.search(rb'"id":"([^"]+)"', line)
            if found is not None:
                yield found[1]
