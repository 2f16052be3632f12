"""Publishes a node's events and values, and receives its commands, without blocking the pipeline.

The publisher has its own thread for everything that touches the network. It reconnects in the
background for ever. Each connection is a new client and a new MQTT session
(:mod:`serd.mqtt.link`), so the client library never sends anything on its own: after a lost
connection, or in the next process, every event that the broker has not acknowledged is sent again
in order, with the same id and the same bytes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from serd.backoff import Backoff, Throttle
from serd.errors import ConfigError
from serd.events.state import encode_state
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
from serd.mqtt.outbox import Outbox
from serd.mqtt.refusals import PoisonDetector, Refusals
from serd.mqtt.retained import RetainedValues, clear
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
    from serd.mqtt.outbox import EventStore

_log = logging.getLogger(__name__)

_STEP_S: Final = 1.0
_ANSWERS_MAX: Final = 64
_OFFLINE_S: Final = 0.5
_JOURNAL_RETRY_S: Final = 1.0
_FLAPS_SUSPICIOUS: Final = 3
_LENGTH_BYTES: Final = 3  # by which the length field may be longer than that of an empty packet


class MqttPublisher:
    """The publisher of one node.

    Args:
        settings: The configuration's ``mqtt`` section.
        node: The node's name.
        store: The journal; used on the publisher's thread only.
        on_mute: Called with the value of a mute command, on a thread that it may block.
        on_sensitivity: Called likewise with a sensitivity; None: the model has none.
        corrections: Whether Home Assistant should offer corrections.
        commands: Further commands that the node accepts.
        backoff: Intervals between attempts to connect.
        version: serd's version, for Home Assistant.
        thread_name: Name of the thread; the part after " of " starts its log messages.
        former: Names of removed nodes whose remaining events are to be sent as well.
        name: The node's display name, for Home Assistant.
        words: The language of the entities' names in Home Assistant.

    Raises:
        ConfigError: Secrets or certificates cannot be used, or the names make no valid topic.
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
        self._outbox = Outbox(store, self.topics, former)
        self._retained = RetainedValues()
        self._answers: deque[tuple[str, bytes]] = deque(maxlen=_ANSWERS_MAX)
        self._discovery = discovery_topic(self.topics, settings.discovery_prefix)
        if settings.discovery:  # first; filled in when the packet limit is known
            self._retained.put(self._discovery, b"", qos=1)
        self._discovery_payload = partial(
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
        self._backoff = backoff or Backoff()
        self._wake = Wake()
        self._progress = threading.Condition()
        self._thread: threading.Thread | None = None
        self._thread_name = thread_name
        self._stopping = False
        self._forget = False
        self._deadline = 0.0
        self._connected = False
        self._reason = "not started"
        self._flaps = 0
        self._version = ""
        self._blamed = False
        self._cleared = False
        self._connections = 0
        self._connection_failures = 0
        self._repeat_all = Throttle()
        self._poison = PoisonDetector(set(self._outbox.topics))
        self._refusals = Refusals()
        self._status = OwnStatus(
            self.topics,
            settings.keepalive_s,
            self._warnings,
            self._refusals,
            partial(self._publish, retain=True),
        )
        self.heartbeat = time.monotonic()
        """When the thread last made a round (monotonic); up to 10 s ago while it connects."""
        self.latencies = self._outbox.latencies
        """Latency of every event in seconds, at its first hand-over."""

    # ------------------------------------------------------------------ for the pipeline

    def announce(
        self,
        *,
        event: Event | None = None,
        state: RoomState | None = None,
        speech: bool | None = None,
        muted: bool | None = None,
    ) -> None:
        """Publish what is given, together. Never blocks.

        Args:
            event: An event that was just journalled.
            state: The room's state.
            speech: Whether somebody is speaking.
            muted: Whether the microphone is muted.
        """
        changed = event is not None
        if event is not None:
            self._outbox.add(event)
        if speech is not None:
            changed |= self._retained.put(self.topics.speech, encode_switch(speech), qos=0)
        if muted is not None:
            changed |= self._retained.put(self.topics.mute, encode_switch(muted), qos=1)
        if state is not None:
            changed |= self._retained.put(self.topics.state, encode_state(state), qos=1)
        if changed:
            self._wake.set()

    def sensitivity(self, sensitivity: Sensitivity) -> None:
        """Publish the sensitivity."""
        self._put(self.topics.sensitivity, sensitivity.encode(), qos=1)

    def telemetry(self, figures: Mapping[str, Any]) -> None:
        """Publish telemetry; keys as in :class:`serd.events.telemetry.Telemetry`."""
        self._put(self.topics.telemetry, msgspec.json.encode(figures), qos=0)

    def answer(self, topic: str, payload: bytes) -> None:
        """Publish the answer to a command, not retained. While offline, the latest few are kept."""
        self._answers.append((topic, payload))
        self._wake.set()

    def _put(self, topic: str, payload: bytes, *, qos: int) -> None:
        if self._retained.put(topic, payload, qos=qos):
            self._wake.set()

    # ------------------------------------------------------------------ for the daemon

    @property
    def conflict(self) -> str:
        """A sentence if another client uses this node's name, else empty."""
        return self._status.conflict

    @property
    def latency_ms(self) -> float | None:
        """Latency of the latest event; None before the first."""
        return self._outbox.latency_ms

    @property
    def connected(self) -> bool:
        """Whether the connection is up."""
        return self._connected

    @property
    def reason(self) -> str:
        """Why the connection is down; empty while it is up."""
        return self._reason

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def counters(self) -> dict[str, int]:
        """Counters since the start."""
        return {
            **self._outbox.counts,
            "connection_failures": self._connection_failures,
            "reconnects": max(0, self._connections - 1),
            "commands_ignored": self._commands.ignored,
            "in_flight": self._outbox.in_flight,
        }

    def start(self) -> None:
        """Start to connect in the background."""
        if self._thread is None:
            self._commands.start()
            self._thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
            self._thread.start()

    def leave(self, timeout: float = 2.0, *, forget: bool = False) -> None:
        """Begin to :meth:`stop` and return at once, so that several can do so at the same time.

        Args:
            timeout: Time limit in seconds.
            forget: Remove everything retained, because the node was temporary.
        """
        if not self._stopping:
            self._forget = forget
            self._deadline = time.monotonic() + timeout
            self._stopping = True
            self._wake.set()

    def stop(self, timeout: float = 2.0) -> None:
        """Send what is left within the time limit, publish ``offline``, and end.

        What is not acknowledged stays in the journal for the next process.
        """
        self.leave(timeout)
        if self._thread is not None:
            self._thread.join(self._time_left() + _OFFLINE_S)
        if not self.alive:
            self._wake.close()
        self._commands.stop(self._time_left())

    def revive(self) -> bool:
        """Start the thread again after it died; returns True."""
        self._thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
        self._thread.start()
        return True

    def drain(self, timeout: float) -> bool:
        """Wait until the broker has every event and value; False after ``timeout`` seconds."""
        with self._progress:
            return self._progress.wait_for(self._drained, timeout)

    def _drained(self) -> bool:
        return self._connected and self._outbox.idle and self._retained.idle

    @property
    def trouble(self) -> str:
        """What the broker refuses of this node, in words; empty if nothing."""
        return self._refusals.trouble

    @property
    def undelivered(self) -> str:
        """Why events wait although the connection is up; empty if they do not."""
        return self._outbox.undelivered

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._session()
            except LinkError as error:
                self._connection_lost(error.message)
            except ConfigError as error:  # a certificate or password file was removed
                self._connection_lost(str(error))
            except Exception:  # noqa: BLE001 - a bug must not silence the node
                _log.exception("unexpected error in the MQTT publisher; it reconnects")
                self._connection_lost("an error in serd")
            self._pause(self._backoff.next())
        self._change(connected=False, reason="stopped")
        if self._forget and self._connections and not self._cleared:
            _log.warning("the broker still keeps what %s has said; `serd forget %s` clears it",
                         self.topics.node, self.topics.node)  # fmt: skip

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
            self._begin(link)
            while not self._stopping:
                self._round(link, _STEP_S)
            self._finish(link)
        except LinkError:
            if self._connected:
                self._status.ended(link)
            self._blamed = bool(link.blame)
            if link.blame is not None:
                # With QoS 0 only, nothing is ever in flight.
                waiting = link.in_flight > 0 or not link.limits.qos
                self._poison.disconnected(in_flight=waiting, reason=link.blame)
            raise
        finally:
            self._collect()  # the last acknowledgements; these events need not be sent again
            link.abandon()

    def _begin(self, link: Link) -> None:
        """Subscribe and schedule everything on a new connection."""
        limits = link.limits
        # A broker that acknowledges nothing, or everything, has to prove itself by an echo.
        proven = self._embedded or (limits.gives_reasons and limits.qos > 0)
        self._refusals.unreadable([])
        self._status.begin(link, embedded=self._embedded, proven=proven)
        wanted = [*self._commands.topics, self.topics.status]
        if self._birth is not None:
            wanted.append(self._birth)
        link.subscribe(wanted)
        if not proven:
            link.subscribe(self._outbox.topics)
        self._version = limits.version
        self._blamed = False
        self._refusals.report_limits(limits, self._access.address)
        self._put_discovery(limits)
        self._outbox.begin(proven=proven)
        self._retained.restart()
        self._backoff.connected()
        self._connections += 1
        self._change(connected=True, reason="")

    def _put_discovery(self, limits: Limits) -> None:
        """Publish Home Assistant's discovery payload, as long as the broker accepts it."""
        if self._birth is None:
            return
        topic = self._discovery
        most = min(limits.packet_bytes, self._poison.bytes_max(topic) or limits.packet_bytes)
        room = most - packet_bytes(topic, b"", limits) - _LENGTH_BYTES
        whole = self._discovery_payload()
        payload = self._discovery_payload(bytes_max=room)
        if self._retained.put(topic, payload, qos=1) and len(payload) < len(whole):
            _log.warning("the announcement to Home Assistant is shortened from %d to %d bytes: the "
                         "broker takes messages of %d at most, and some entities may be missing",
                         len(whole), len(payload), most)  # fmt: skip

    def _round(self, link: Link, timeout: float) -> None:
        """Hand over what is due, wait for the network, and process what came in."""
        self.heartbeat = time.monotonic()
        self._repeat_on_request(link)
        self._outbox.hand_over(partial(self._has_room, link), partial(self._publish, link))
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
        if link.unreadable_filters:
            self._refusals.unreadable(link.unreadable_filters)
        while link.received:
            self._receive(link, link.received.popleft())
        self._collect()
        if self._drained():
            self._poison.delivered()
            with self._progress:
                self._progress.notify_all()

    def _hand_over_values(self, link: Link) -> None:
        for message in self._retained.due():
            if not self._has_room(link):
                return
            topic, payload, qos = message
            delivery = self._publish(link, topic, payload, qos=qos, retain=True)
            self._retained.handed(message, delivery)
            if not qos and delivery.refusal is None:
                self._refusals.accepted(topic)

    def _hand_over_answers(self, link: Link) -> None:
        while self._answers and self._has_room(link):
            topic, payload = self._answers.popleft()
            self._publish(link, topic, payload)

    def _has_room(self, link: Link) -> bool:
        """Whether another message may be handed over now."""
        return not (link.congested or (self._poison.one_at_a_time and link.in_flight))

    def _publish(
        self, link: Link, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False
    ) -> Delivery:
        """Hand a message over, unless the broker is known to refuse it."""
        size = packet_bytes(topic, payload, link.limits)
        if (refusal := self._poison.refusal(topic, size)) is not None:
            return Delivery(refusal=refusal)
        self._poison.sent(topic, size)
        qos = 1 if self._poison.one_at_a_time else qos
        return link.publish(topic, payload, qos=qos, retain=retain)

    def _receive(self, link: Link, message: Incoming) -> None:
        topic, payload = message.topic, message.payload
        if topic == self._birth:
            # The retained one comes after subscribing, when everything was just sent anyway.
            if payload == ONLINE and not message.retain:
                self._repeat_all.wanted = True
        elif topic in self._outbox.topics:
            if self._outbox.came_back(topic, payload):
                link.unsubscribe(topic)
        elif topic == self.topics.status:
            self._status.receive(payload, retained=message.retain)
        else:
            self._commands.receive(topic, payload, retained=message.retain)

    def _repeat_on_request(self, link: Link) -> None:
        """Publish again what others have asked for, at a limited rate."""
        if self._has_room(link) and self._repeat_all.due():
            self._retained.restart()
            self._status.publish(link, ONLINE)
        if self._has_room(link):
            self._status.correct(link)

    def _finish(self, link: Link) -> None:
        """Send what is left within the time limit, then ``offline``."""
        while not self._drained() and (left := self._time_left() - _OFFLINE_S) > 0:
            self._round(link, left)
        if not link.make_room(self._deadline):
            return  # without a DISCONNECT, the last will says that it is offline
        receipt = self._status.publish(link, OFFLINE)
        while not receipt.settled and (left := self._time_left()) > 0:
            link.step(left)
        if self._forget:
            self._cleared = clear(link, self._retained, self.topics, self._deadline)
        link.close(self._time_left())

    def _collect(self) -> None:
        """Process what became of the messages handed over."""
        self._outbox.collect(self._refusals)
        for topic, why in self._retained.outcomes():
            self._refusals.settle(topic, why)
        self._status.collect()

    def _time_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _connection_lost(self, reason: str) -> None:
        """Count a lost or failed connection and set the state."""
        self._connection_failures += 1
        if self._connected:
            # The broker's reason, or a suspected message, explains short connections well enough.
            explained = self._blamed or self._poison.one_at_a_time
            unexplained = self._backoff.short_lived and not explained
            self._flaps = self._flaps + 1 if unexplained else 0
            if self._flaps >= _FLAPS_SUSPICIOUS:
                self._status.conflict = "another client seems to use this node's client id"
                reason += f" again and again; does another client call itself {self._client_id}?"
        self._change(connected=False, reason=reason)

    def _change(self, *, connected: bool, reason: str) -> None:
        """Set the connection state, and report a change."""
        if (connected, reason) == (self._connected, self._reason):
            return
        self._connected, self._reason = connected, reason
        if connected:
            _log.info(
                "connected to the broker at %s (MQTT %s)", self._access.address, self._version
            )
        elif self._stopping:
            _log.info("disconnected from the broker")
        else:
            _log.warning("no broker: %s; events wait in the journal", reason)
        with self._progress:
            self._progress.notify_all()
