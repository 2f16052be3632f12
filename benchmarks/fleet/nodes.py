"""Simulated nodes, which publish all that serd publishes over MQTT; a process runs hundreds.

``python -m benchmarks.fleet.nodes PORT FIRST COUNT SECONDS EVERY_S FILE``: connects, prints
``ready``, waits for a line on standard input, publishes for SECONDS, waits for the last
acknowledgement, writes what was sent to FILE (:data:`~benchmarks.fleet.records.SENT`) and prints
its counts as JSON.

Each node has its own client, set up as serd's: paho, MQTT 3.1.1, client id, last will, retained
status, state, speech, mute and telemetry, discovery, subscriptions, events with QoS 1. One selector
drives them all, because a thousand threads would measure the scheduler.
"""

from __future__ import annotations

import heapq
import json
import random
import selectors
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import paho.mqtt.client as paho
from msgspec.structs import replace
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.fleet import records
from benchmarks.fleet.processes import allow_files
from serd.events.clock import rfc3339
from serd.events.event import Event, encode, make, model_ref
from serd.events.state import REPEAT_S, RoomState, encode_state
from serd.events.telemetry import Telemetry
from serd.model.decision import Prediction
from serd.model.emotions import EMOTIONS
from serd.mqtt.discovery import birth_topic, discovery_payload, discovery_topic
from serd.mqtt.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable

TELEMETRY_S: Final = 60.0
"""The default of ``mqtt.telemetry_s``."""

_MODEL = model_ref("default", "1.1", "4ab79e786ecd4ab79e786ecd")
_KEEPALIVE_S: Final = 60
_MISC_S: Final = 5.0
_DRAIN_S: Final = 120.0
_PREFIX: Final = "homeassistant"


def name(number: int) -> str:
    """Name of a node."""
    return f"node-{number:04}"


class Fleet:
    """State shared by the nodes of this process: the selector, scheduled calls and the records.

    Args:
        port: Port of the broker on loopback.
        seed: Seed of all random numbers.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.random = random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.sent: list[list[Any]] = []
        self.messages = 0
        self.refused = 0
        self.reconnects = 0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Schedule a call at a monotonic time."""
        self._order += 1
        heapq.heappush(self._agenda, (moment, self._order, act))

    def turn(self) -> None:
        """Run the calls that are due, then handle network events."""
        now = time.monotonic()
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2]()
        left = self._agenda[0][0] - time.monotonic() if self._agenda else 0.1
        for key, mask in self.selector.select(min(0.1, max(0.0, left))):
            key.data.ready(mask)


class Node:
    """One simulated node.

    Args:
        fleet: The fleet that it belongs to.
        number: Determines its name.
        every_s: Mean time between two utterances, in seconds.
    """

    def __init__(self, fleet: Fleet, number: int, every_s: float) -> None:
        self._fleet = fleet
        self._every_s = every_s
        self.topics = Topics("serd", name(number))
        self.connected = False
        self.speaking = True
        self.unacked: dict[int, list[Any]] = {}
        self._seq = 0
        self._mood = fleet.random.choice(EMOTIONS)
        self._registered: tuple[Any, int] | None = None
        self._ending = False
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"serd-{self.topics.node}",
            clean_session=True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)
        client.will_set(self.topics.status, b"offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._client = client

    def connect(self) -> None:
        """Start to connect; the rest happens as the socket becomes ready."""
        try:
            self._client.connect("127.0.0.1", self._fleet.port, _KEEPALIVE_S)
        except OSError:
            self._fleet.refused += 1
            self._fleet.at(time.monotonic() + 1.0, self.connect)
            return
        self._watch()

    def ready(self, mask: int) -> None:
        """Handle a socket that is readable or writable."""
        if mask & selectors.EVENT_READ:
            self._client.loop_read()
        if mask & selectors.EVENT_WRITE and self._client.socket() is not None:
            self._client.loop_write()
        self._watch()

    def begin(self) -> None:
        """Start publishing, each node at a random time."""
        fleet, now = self._fleet, time.monotonic()
        fleet.at(now + fleet.random.uniform(0, self._every_s), self._speak)
        fleet.at(now + fleet.random.uniform(0, TELEMETRY_S), self._tell_health)
        fleet.at(now + fleet.random.uniform(0, REPEAT_S), self._repeat_state)
        fleet.at(now + fleet.random.uniform(0, _MISC_S), self._misc)

    def end(self) -> None:
        """Publish ``offline`` and disconnect."""
        self._ending = True
        self._publish(self.topics.status, b"offline", qos=1, retain=True)
        self._client.disconnect()
        self._watch()

    def _speak(self) -> None:
        if not self.speaking:
            return
        self._publish(self.topics.speech, b"ON", qos=0, retain=True)
        lasts = self._fleet.random.uniform(0.5, 3.0)
        self._fleet.at(time.monotonic() + lasts, lambda: self._spoken(lasts))

    def _spoken(self, lasts: float) -> None:
        fleet = self._fleet
        event = self.event(lasts)
        payload = encode(event)
        record = [records.key(event.id), time.monotonic_ns(), 0, time.time_ns()]
        info = self._client.publish(self.topics.emotion, payload, qos=1)
        fleet.messages += 1
        fleet.sent.append(record)
        self.unacked[info.mid] = record
        self._publish(self.topics.speech, b"OFF", qos=0, retain=True)
        self._tell_state(event)
        self._watch()
        if self.speaking:
            pause = fleet.random.expovariate(1 / max(0.01, self._every_s - 1.75))
            fleet.at(time.monotonic() + pause, self._speak)

    def event(self, lasts: float) -> Event:
        """An event like the pipeline's, for an utterance that has just ended."""
        chance = self._fleet.random
        shares = [chance.random() ** 4 for _ in EMOTIONS]
        scores = {one: share / sum(shares) for one, share in zip(EMOTIONS, shares, strict=True)}
        top = max(scores, key=lambda one: scores[one])
        now_ms = time.time_ns() // 1_000_000
        self._seq += 1
        event = make(
            node=self.topics.node,
            started_ms=now_ms - round(1000 * lasts),
            ended_ms=now_ms,
            duration_s=lasts,
            prediction=Prediction(
                emotion=top, confidence=scores[top], scores=scores,
                valence=chance.uniform(-1, 1), arousal=chance.uniform(-1, 1),
            ),
            level_dbfs=chance.uniform(-45, -15),
            model=_MODEL,
        )  # fmt: skip
        return replace(event, seq=self._seq, latency_ms=round(chance.uniform(4, 40), 1))

    def _tell_state(self, event: Event | None) -> None:
        state = RoomState(
            emotion=None if event is None else event.emotion,
            confidence=None if event is None else event.confidence,
            mood=self._mood,
            mood_valence=0.125,
            mood_arousal=-0.25,
            speech=False,
            muted=False,
            updated_at=rfc3339(time.time_ns() // 1_000_000),
        )
        self._publish(self.topics.state, encode_state(state), qos=1, retain=True)

    def _repeat_state(self) -> None:
        self._tell_state(None)
        self._fleet.at(time.monotonic() + REPEAT_S, self._repeat_state)

    def _tell_health(self) -> None:
        counts = dict.fromkeys(Telemetry.__struct_fields__, 0)
        figures = Telemetry(**{**counts, "version": "0", "condition": "listening",
                               "trouble": None, "events": self._seq})  # type: ignore[arg-type] # fmt: skip
        self._publish(self.topics.telemetry, msgspec.json.encode(figures), qos=0, retain=True)
        self._fleet.at(time.monotonic() + TELEMETRY_S, self._tell_health)

    def _misc(self) -> None:
        self._client.loop_misc()
        self._watch()
        self._fleet.at(time.monotonic() + _MISC_S, self._misc)

    def _publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain)
        self._fleet.messages += 1
        self._watch()

    def _watch(self) -> None:
        """Update which events of the socket the selector waits for."""
        sock = self._client.socket()
        wanted = selectors.EVENT_READ
        if sock is not None and self._client.want_write():
            wanted |= selectors.EVENT_WRITE
        now = None if sock is None else (sock, wanted)
        if now == self._registered:
            return
        if self._registered is not None:
            self._fleet.selector.unregister(self._registered[0])
        if now is not None:
            self._fleet.selector.register(now[0], wanted, self)
        self._registered = now

    def _on_connect(
        self, client: paho.Client, _d: object, _f: object, reason: Any, _m: object
    ) -> None:
        if reason.is_failure:
            self._fleet.refused += 1
            return
        self.connected = True
        topics = self.topics
        wanted = (topics.mute_set, topics.status, birth_topic(_PREFIX))
        client.subscribe([(one, 1) for one in wanted])
        self._publish(topics.status, b"online", qos=1, retain=True)
        announcement = discovery_payload(topics, version="0", telemetry_s=TELEMETRY_S)
        self._publish(discovery_topic(topics, _PREFIX), announcement, qos=1, retain=True)
        self._publish(topics.mute, b"OFF", qos=1, retain=True)
        self._tell_state(None)

    def _on_disconnect(self, *_all: object) -> None:
        if self._registered is not None:
            # The library closes the socket after this call; a closed one cannot be unregistered.
            self._fleet.selector.unregister(self._registered[0])
            self._registered = None
        if self._ending:
            return
        self.connected = False
        self._fleet.reconnects += 1
        self._fleet.at(time.monotonic() + self._fleet.random.uniform(0.5, 2.0), self.connect)

    def _on_publish(self, _c: object, _d: object, mid: int, _reason: object, _m: object) -> None:
        record = self.unacked.pop(mid, None)
        if record is not None:
            record[2] = time.monotonic_ns()


def main(*, port: int, first: int, count: int, seconds: float, every_s: float, path: Path) -> None:
    """Run these nodes for a while."""
    allow_files(count)
    fleet = Fleet(port, first)
    nodes = [Node(fleet, first + number, every_s) for number in range(count)]
    begun = time.monotonic()
    for node in nodes:
        node.connect()
        fleet.turn()
    while not all(node.connected for node in nodes):
        fleet.turn()
    connect_s = time.monotonic() - begun
    print("ready", flush=True)
    fleet.selector.register(sys.stdin, selectors.EVENT_READ, _Line(fleet))
    while sys.stdin in {key.fileobj for key in fleet.selector.get_map().values()}:
        fleet.turn()
    for node in nodes:
        node.begin()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        fleet.turn()
    for node in nodes:
        node.speaking = False
    give_up = time.monotonic() + _DRAIN_S
    # Utterances that have begun end within 3 s; then wait for the last acknowledgements.
    settled = time.monotonic() + 3.5
    while time.monotonic() < settled or (
        any(node.unacked for node in nodes) and time.monotonic() < give_up
    ):
        fleet.turn()
    for node in nodes:
        node.end()
    records.write(path, [tuple(record) for record in fleet.sent], records.SENT)
    counts = {
        "connect_s": round(connect_s, 3),
        "messages": fleet.messages,
        "refused": fleet.refused,
        "reconnects": fleet.reconnects,
    }
    print(json.dumps(counts), flush=True)


class _Line:
    """Reads one line from standard input."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def ready(self, _mask: int) -> None:
        """Read the line and unregister standard input."""
        sys.stdin.readline()
        self._fleet.selector.unregister(sys.stdin)


if __name__ == "__main__":
    words = sys.argv[1:]
    main(
        port=int(words[0]),
        first=int(words[1]),
        count=int(words[2]),
        seconds=float(words[3]),
        every_s=float(words[4]),
        path=Path(words[5]),
    )
