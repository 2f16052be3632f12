"""Publishes what a node says, and takes its commands; nothing in it can hold up the pipeline.

The publisher has a thread of its own, and everything that touches the network or waits for the
broker happens there. It connects in the background for ever. Each connection is a new client and
a new MQTT session (:mod:`serd.mqtt.link`), so nothing is sent behind its back: after a lost
connection, or in the next process, every event that the broker has not acknowledged is sent again
in order, with the same id and the same bytes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from serd.backoff import Answer, Backoff
from serd.errors import ConfigError, SerdError
from serd.events.event import encode
from serd.events.state import encode_state
from serd.histogram import Histogram
from serd.logs import RepeatedWarnings
from serd.mqtt.access import Access
from serd.mqtt.client import MESSAGE_LIMIT, Wake
from serd.mqtt.commands import (
    Command,
    Commands,
    encode_switch,
    mute_command,
    sensitivity_command,
)
from serd.mqtt.discovery import birth_topic, discovery_payload, discovery_topic
from serd.mqtt.link import Delivery, Link, LinkError, packet_bytes
from serd.mqtt.outbox import Board, EventQueue, EventStore
from serd.mqtt.refusals import Echo, Refusals, Suspicion
from serd.mqtt.status import OFFLINE, ONLINE, OwnStatus
from serd.mqtt.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from serd.config import MqttConfig, Sensitivity
    from serd.events.event import Event
    from serd.events.state import RoomState
    from serd.language import Catalogue
    from serd.mqtt.client import Incoming
    from serd.mqtt.link import Limits

_log = logging.getLogger(__name__)

_STEP_S: Final = 1.0
_ANSWERS: Final = 64
_GOODBYE_S: Final = 0.5
_STORE_PAUSE_S: Final = 1.0
_FLAPS_SUSPICIOUS: Final = 3
_LENGTH_BYTES: Final = 3  # by which the length of a packet may be longer than that of an empty one

LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0, 600.0)
"""Buckets of the time from the end of speech to the hand-over, seconds: the small ones while a
broker is there, the large ones for what waited for one."""


class Publisher(Protocol):
    """Where the daemon sends what it has to say. No method blocks, save ``stop`` and ``drain``."""

    @property
    def connected(self) -> bool:
        """Whether a broker is listening now."""

    def start(self) -> None:
        """Begin to connect, in the background."""

    def stop(self, timeout: float = 2.0) -> None:
        """Say what is left to say, then ``offline``, and end; within ``timeout`` seconds."""

    def drain(self, timeout: float) -> bool:
        """Wait until everything is delivered; False if it is not within ``timeout`` seconds."""

    def event_journalled(self, event: Event) -> None:
        """An event was written to the journal and waits there to be published."""

    def state(self, state: RoomState) -> None:
        """The room's state is now this."""

    def speech(self, on: bool) -> None:
        """Whether somebody speaks."""

    def muted(self, on: bool) -> None:
        """Whether the microphone is closed."""

    def sensitivity(self, sensitivity: Sensitivity) -> None:
        """How readily emotions are told."""

    def telemetry(self, figures: Mapping[str, Any]) -> None:
        """Figures of health; keys as in :mod:`serd.mqtt.discovery`."""

    def counters(self) -> dict[str, int]:
        """What was done so far; names as in the telemetry."""


class MqttPublisher:
    """The publisher of one node, over a real broker.

    Args:
        settings: The configuration's ``mqtt`` section.
        node: Name of the node.
        store: The journal; read and acknowledged on the publisher's thread.
        on_mute: Called with the wish of a mute command, on a thread that may be blocked.
        on_sensitivity: Likewise with a sensitivity; None: the node takes none.
        corrections: Whether Home Assistant is to offer corrections.
        commands: What else the node can be told to do.
        on_connection: Called at each change with whether a broker is there and why not, on the
            publisher's thread; it must not block.
        backoff: Waits between attempts.
        version: Of serd, for Home Assistant.
        thread_name: Of its thread; what follows " of " begins its messages in the log.
        former: Names of nodes that there are no more, whose waiting events it sends as well.
        name: What people call the node, for Home Assistant.
        words: In whose language Home Assistant is told.

    Raises:
        ConfigError: Secrets or certificates cannot be used, or the names make no topic.
    """

    def __init__(
        self,
        settings: MqttConfig,
        node: str,
        store: EventStore,
        *,
        on_mute: Callable[[bool], None] | None = None,
        on_sensitivity: Callable[[Sensitivity], None] | None = None,
        corrections: bool = False,
        commands: Sequence[Command] = (),
        on_connection: Callable[[bool, str], None] | None = None,
        backoff: Backoff | None = None,
        version: str = "unknown",
        thread_name: str = "serd-mqtt",
        former: Sequence[str] = (),
        name: str | None = None,
        words: Catalogue | None = None,
    ) -> None:
        self.topics = Topics(settings.base_topic, node)
        self._access = Access(settings)
        self._embedded = settings.embedded
        self._client_id = settings.client_id or f"serd-{node}"
        self._birth = birth_topic(settings.discovery_prefix) if settings.discovery else None
        self._store = store
        self._events = EventQueue(store, node)
        # What a node left behind that is not called so any more goes out under its old name.
        self._queues = {
            Topics(settings.base_topic, name).emotion: EventQueue(store, name) for name in former
        }
        self._queues[self.topics.emotion] = self._events
        self._board = Board()
        self._answers: deque[tuple[str, bytes]] = deque(maxlen=_ANSWERS)
        self._discovery = discovery_topic(self.topics, settings.discovery_prefix)
        if settings.discovery:  # first of all values; how long it may be, a connection tells
            self._board.put(self._discovery, b"", qos=1)
        self._announcement = partial(
            discovery_payload,
            self.topics,
            version=version,
            telemetry_s=settings.telemetry_s,
            sensitivity=on_sensitivity is not None,
            corrections=corrections,
            name=name,
            words=words,
        )
        self._warnings = RepeatedWarnings(_log)
        mute = mute_command(self.topics.mute_set, on_mute or (lambda _on: None))
        if on_sensitivity is not None:
            command = sensitivity_command(self.topics.sensitivity_set, on_sensitivity)
            commands = [command, *commands]
        self._commands = Commands([mute, *commands], warnings=self._warnings)
        self._on_connection = on_connection
        self._backoff = backoff or Backoff()
        self._wake = Wake()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._thread_name = thread_name
        self._stopping = False
        self._forget = False
        self._deadline = 0.0
        self._connected = False
        self._reason = "not started"
        self._flaps = 0
        self._spoken = ""
        self._subscription_refused = False
        self._store_trouble: str | None = None
        self._store_retry_at = 0.0
        self._counts = {"connections": 0, "published": 0, "acknowledged": 0, "redelivered": 0,
                        "connection_failures": 0, "publish_failures": 0, "left_out": 0}  # fmt: skip
        self._everything = Answer()
        self._suspicion = Suspicion(set(self._queues))
        self._refusals = Refusals()
        self._status = OwnStatus(self.topics, settings.keepalive_s, self._warnings, self._refusals)
        self.heartbeat = time.monotonic()
        """When the thread last came round (monotonic); it may be 10 s ago while it connects."""
        self.latency_ms: float | None = None
        """Of the event that was handed over last; None until there was one."""
        self.latencies = Histogram(LATENCY_S)
        """Seconds, of every event at its first hand-over."""

    # What the pipeline calls: a lock for an instant, never the network, never the disk.

    def event_journalled(self, event: Event) -> None:
        """An event was written to the journal and waits there to be published."""
        self._events.add(event)
        self._wake.set()

    def state(self, state: RoomState) -> None:
        """The room's state is now this."""
        self._put(self.topics.state, encode_state(state), qos=1)

    def speech(self, on: bool) -> None:
        """Whether somebody speaks."""
        self._put(self.topics.speech, encode_switch(on), qos=0)

    def muted(self, on: bool) -> None:
        """Whether the microphone is closed."""
        self._put(self.topics.mute, encode_switch(on), qos=1)

    def sensitivity(self, sensitivity: Sensitivity) -> None:
        """How readily emotions are told."""
        self._put(self.topics.sensitivity, sensitivity.encode(), qos=1)

    def telemetry(self, figures: Mapping[str, Any]) -> None:
        """Figures of health."""
        self._put(self.topics.telemetry, msgspec.json.encode(figures), qos=0)

    def answer(self, topic: str, payload: bytes) -> None:
        """Answer a command: once, not retained; of many that wait for a broker the latest."""
        self._answers.append((topic, payload))
        self._wake.set()

    def _put(self, topic: str, payload: bytes, *, qos: int) -> None:
        if self._board.put(topic, payload, qos=qos):
            self._wake.set()

    # What the daemon calls.

    @property
    def conflict(self) -> str:
        """That another client uses this node's name, in words; empty if none does."""
        return self._status.conflict

    @property
    def connected(self) -> bool:
        """Whether a broker is listening now."""
        return self._connected

    @property
    def reason(self) -> str:
        """Why no broker is listening; empty while one is."""
        return self._reason

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def counters(self) -> dict[str, int]:
        """What was done so far."""
        counts = dict(self._counts)
        counts["reconnects"] = max(0, counts.pop("connections") - 1)
        counts["commands_ignored"] = self._commands.ignored
        counts["in_flight"] = self._events.in_flight
        return counts

    def start(self) -> None:
        """Begin to connect, in the background, and go on for ever."""
        if self._thread is None:
            self._commands.start()
            self._thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
            self._thread.start()

    def leave(self, timeout: float = 2.0, *, forget: bool = False) -> None:
        """Begin to :meth:`stop`, and return at once: several can leave at the same time.

        Args:
            timeout: Seconds that it may take.
            forget: Clear all that is retained of the node: it was only here for a while.
        """
        if not self._stopping:
            self._forget = forget
            self._deadline = time.monotonic() + timeout
            self._stopping = True
            self._wake.set()

    def stop(self, timeout: float = 2.0) -> None:
        """Send what is left while there is time, say ``offline``, and end.

        What is not acknowledged by then stays in the journal for the next process.
        """
        self.leave(timeout)
        if self._thread is not None:
            self._thread.join(self._left() + _GOODBYE_S)
        if not self.alive:
            self._wake.close()
        self._commands.stop(max(0.0, self._deadline - time.monotonic()))

    def revive(self) -> bool:
        """Start the thread again after it died; True."""
        self._thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
        self._thread.start()
        return True

    def drain(self, timeout: float) -> bool:
        """Wait until the broker has acknowledged every event, and has every retained value."""
        with self._news:
            return self._news.wait_for(self._drained, timeout)

    def _drained(self) -> bool:
        return self._connected and self._all_sent and self._board.idle

    @property
    def _all_sent(self) -> bool:
        return all(queue.idle for queue in self._queues.values())

    @property
    def trouble(self) -> str:
        """What the broker does not take of this node, in words; empty if it takes everything."""
        return self._refusals.trouble

    @property
    def undelivered(self) -> str:
        """Why events will not be delivered soon, though a broker is there; empty if they will."""
        for topic, queue in self._queues.items():
            if queue.refusal is not None and queue.refused_in_a_row > 1:  # once may be a moment
                return f"{topic} {queue.refusal.reason}"
        return ""

    # The publisher's thread.

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._session()
            except LinkError as error:
                self._lost(error.message)
            except ConfigError as error:  # a certificate or password file that is now gone
                self._lost(str(error))
            except Exception:  # noqa: BLE001 - a bug here must not silence the node for ever
                _log.exception("the MQTT publisher stumbled and begins anew")
                self._lost("an error in serd")
            self._pause(self._backoff.next())
        self._change(connected=False, reason="stopped")

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self.heartbeat = time.monotonic()
            self._wake.wait(min(left, _STEP_S))

    def _session(self) -> None:
        link = Link(self._access, self._client_id, will=(self.topics.status, OFFLINE))
        try:
            self.heartbeat = time.monotonic()
            link.open(give_up=lambda: self._stopping, wake=self._wake)
            self._welcome(link)
            while not self._stopping:
                self._turn(link, _STEP_S)
            self._farewell(link)
        except LinkError:
            if self._connected:
                self._status.ended(link)
            if link.blamed:
                self._suspicion.hung_up(in_flight=link.in_flight > 0)
            raise
        finally:
            self._collect()  # what was acknowledged in the same breath need not be sent again
            link.abandon()

    def _welcome(self, link: Link) -> None:
        limits = link.limits
        # A broker that acknowledges nothing, or whatever it gets, proves itself by what comes back.
        proven = self._embedded or (limits.tells_reasons and limits.qos > 0)
        self._status.begin(link, embedded=self._embedded, proven=proven)
        wanted = [*self._commands.topics, self.topics.status]
        if self._birth is not None:
            wanted.append(self._birth)
        link.subscribe(wanted)
        if not proven:
            link.subscribe(list(self._queues))
        self._spoken = limits.version
        self._refusals.tell_limits(limits, self._access.address)
        self._announce(limits)
        for queue in self._queues.values():
            queue.begin(proven=proven)
        self._board.restart()
        self._backoff.connected()
        self._counts["connections"] += 1
        self._change(connected=True, reason="")

    def _announce(self, limits: Limits) -> None:
        """Put up the announcement to Home Assistant, as long as the broker takes it."""
        if self._birth is None:
            return
        topic = self._discovery
        most = min(limits.packet_bytes, self._suspicion.bytes_max(topic) or limits.packet_bytes)
        room = most - packet_bytes(topic, b"", limits) - _LENGTH_BYTES
        whole, payload = self._announcement(), self._announcement(bytes_max=room)
        if self._board.put(topic, payload, qos=1) and len(payload) < len(whole):
            _log.warning("the announcement to Home Assistant is shortened from %d to %d bytes: the "
                         "broker takes messages of %d at most, and some entities may be missing",
                         len(whole), len(payload), most)  # fmt: skip

    def _turn(self, link: Link, timeout: float) -> None:
        """Hand over what can be, let the network work, take what came."""
        self.heartbeat = time.monotonic()
        self._answer(link)
        self._hand_over_events(link)
        self._hand_over_values(link)
        self._hand_over_answers(link)
        self._warnings.flush()
        link.step(timeout, self._wake)
        while link.giants:
            topic, size = link.giants.popleft()
            self._warnings.warn(
                f"giant {topic}",
                f"a message of {size} bytes on {topic} was not taken: a node takes "
                f"{MESSAGE_LIMIT} at most",
            )
        if link.subscription is False and not self._subscription_refused:
            self._subscription_refused = True
            _log.warning("the broker does not let serd subscribe to %s: check its access list; "
                         "commands will not arrive", self.topics.mute_set)  # fmt: skip
        while link.received:
            self._receive(link, link.received.popleft())
        self._collect()
        if self._drained():
            self._suspicion.well()
            with self._news:
                self._news.notify_all()

    def _hand_over_events(self, link: Link) -> None:
        if time.monotonic() < self._store_retry_at:
            return
        try:
            for topic, queue in self._queues.items():
                self._hand_over(link, topic, queue)
            self._store.flush(if_due=True)
        except LinkError:
            self._counts["publish_failures"] += 1
            raise
        except SerdError as error:
            self._counts["publish_failures"] += 1
            self._store_retry_at = time.monotonic() + _STORE_PAUSE_S
            if self._store_trouble != error.message:
                self._store_trouble = error.message
                _log.warning("events cannot be published now: %s", error)
        else:
            self._store_trouble = None

    def _hand_over(self, link: Link, topic: str, queue: EventQueue) -> None:
        # A congested network gets no more: what is handed over cannot be taken back.
        while self._has_room(link) and (waiting := queue.next()) is not None:
            event = self._store.hand_over(waiting)
            payload = encode(event)
            delivery = self._publish(link, topic, payload, qos=1, retain=False)
            queue.handed(event, delivery if queue.proven else Echo(delivery, payload))
            self.latency_ms = event.latency_ms
            self._counts["published"] += 1
            if waiting.latency_ms is not None:
                self._counts["redelivered"] += 1
            elif event.latency_ms is not None:
                self.latencies.observe(event.latency_ms / 1000)

    def _hand_over_values(self, link: Link) -> None:
        for posting in self._board.due():
            if not self._has_room(link):
                return
            topic, payload, qos = posting
            delivery = self._publish(link, topic, payload, qos=qos, retain=True)
            self._board.posted(posting, delivery)
            if not qos and delivery.refusal is None:
                self._refusals.taken(topic)

    def _hand_over_answers(self, link: Link) -> None:
        while self._answers and self._has_room(link):
            topic, payload = self._answers.popleft()
            self._publish(link, topic, payload, qos=1, retain=False)

    def _has_room(self, link: Link) -> bool:
        """Whether a further message may be handed over now."""
        return not (link.congested or (self._suspicion.careful and link.in_flight))

    def _publish(
        self, link: Link, topic: str, payload: bytes, *, qos: int, retain: bool
    ) -> Delivery:
        """Hand a message over, unless it is known that the broker does not take it."""
        size = packet_bytes(topic, payload, link.limits)
        if (refusal := self._suspicion.refusal(topic, size)) is not None:
            return Delivery(refusal=refusal)
        self._suspicion.handed(topic, size)
        qos = 1 if self._suspicion.careful else qos
        return link.publish(topic, payload, qos=qos, retain=retain)

    def _receive(self, link: Link, message: Incoming) -> None:
        topic, payload = message.topic, message.payload
        if topic == self._birth:
            # On subscribing comes the retained one; what it asks for has just been sent.
            if payload == ONLINE and not message.retain:
                self._everything.wanted = True
        elif topic in self._queues:
            if self._queues[topic].came_back(payload):
                link.unsubscribe(topic)
        elif topic == self.topics.status:
            self._status.receive(payload, retained=message.retain)
        else:
            self._commands.receive(topic, payload, retained=message.retain)

    def _answer(self, link: Link) -> None:
        """Say again what others have asked for, at most every few seconds and not into a jam."""
        if link.congested:
            return
        if self._everything.due():
            self._board.restart()
            self._status.say(link, ONLINE)
        self._status.say_again(link)

    def _farewell(self, link: Link) -> None:
        """Send what is left while there is time, then say ``offline`` and see it arrive."""
        while not self._drained() and (left := self._left() - _GOODBYE_S) > 0:
            self._turn(link, left)
        receipt = self._status.say(link, OFFLINE)
        while not receipt.settled and (left := self._left()) > 0:
            link.step(left)
        if self._forget:
            self._clear(link)
        link.close(self._left())

    def _clear(self, link: Link) -> None:
        """Take back all that is retained, the status last."""
        topics = [topic for topic in self._board.topics if topic != self.topics.status]
        receipts = [
            link.publish(topic, b"", qos=1, retain=True) for topic in (*topics, self.topics.status)
        ]
        while not all(receipt.settled for receipt in receipts):
            if self._left() <= 0:
                _log.warning("the broker still keeps what %s has said; `serd forget %s` clears it",
                             self.topics.node, self.topics.node)  # fmt: skip
                return
            link.step(self._left())

    def _collect(self) -> None:
        """See what has become of what was handed over."""
        for topic, queue in self._queues.items():
            refused = queue.refused
            acknowledged = queue.collect()
            self._counts["acknowledged"] += acknowledged
            if acknowledged:
                self._refusals.taken(topic)
            while queue.left_out:
                seq, refusal = queue.left_out.popleft()
                self._counts["left_out"] += 1
                self._refusals.refused(topic, refusal, then="such events are left out")
                _log.debug("event %d is left out: it %s", seq, refusal.reason)
            if queue.refused != refused and queue.refusal is not None:
                self._counts["publish_failures"] += 1
                self._refusals.refused(topic, queue.refusal, then="events wait in the journal")
        for topic, why in self._board.outcomes():
            self._refusals.judge(topic, why)
        self._status.look()

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _lost(self, reason: str) -> None:
        """The connection could not be made or is lost."""
        self._counts["connection_failures"] += 1
        if self._connected:
            # After what was on its way then, a broker may have hung up: another client is no guess.
            guess = self._backoff.short_lived and not self._suspicion.careful
            self._flaps = self._flaps + 1 if guess else 0
            if self._flaps >= _FLAPS_SUSPICIOUS:
                self._status.conflict = "another client seems to use this node's client id"
                reason += f" again and again; does another client call itself {self._client_id}?"
        self._change(connected=False, reason=reason)

    def _change(self, *, connected: bool, reason: str) -> None:
        """Remember the state, and tell it once."""
        if (connected, reason) == (self._connected, self._reason):
            return
        self._connected, self._reason = connected, reason
        if connected:
            _log.info("connected to the broker at %s (MQTT %s)", self._access.address, self._spoken)
        elif self._stopping:
            _log.info("disconnected from the broker")
        else:
            _log.warning("no broker: %s; events wait in the journal", reason)
        with self._news:
            self._news.notify_all()
        if self._on_connection is not None:
            try:
                self._on_connection(connected, reason)
            except Exception:  # noqa: BLE001 - the thread must outlive its listeners
                _log.exception("a listener to the broker's coming and going failed")
