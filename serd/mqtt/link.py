"""One connection to the broker, from CONNECT to its end.

A link never reconnects; its owner makes a new one. A new link is a new MQTT session, so the client
library keeps nothing from the last connection, and the publisher alone decides what is sent again
and in which order.

It uses MQTT 5 if the broker does, because such a broker states its limits (:class:`Limits`) and
why it refuses a message; otherwise MQTT 3.1.1.

Everything happens on the owner's thread, in :meth:`Link.open` and :meth:`Link.step`: there are no
callbacks on other threads and no locks.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from paho.mqtt.enums import LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from serd.errors import UnavailableError
from serd.mqtt.client import (
    PACKET_LIMIT,
    explain,
    explain_alert,
    explain_connack,
    explain_end,
    explain_refusal,
    explain_silence,
)

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence

    import paho.mqtt.client as paho
    from paho.mqtt.reasoncodes import ReasonCode

    from serd.mqtt.access import Access
    from serd.mqtt.client import Giant, Incoming, Wake

_CONNECT_TIMEOUT_S: Final = 5.0
_MISC_INTERVAL_S: Final = 1.0
_RECEIVE_BUFFER: Final = 64 * 1024
_EARLY_CLOSE_S: Final = 1.0
_UNLIMITED: Final = 268_435_455 + 5  # largest MQTT packet
_MAYBE_OLD: Final = {
    "Unsupported protocol version",
    "Malformed packet",
    "Protocol error",
    "Unspecified error",
}
"""Reasons by which a broker may mean that it does not support MQTT 5."""
_MESSAGE_REASONS: Final = {
    "Unspecified error", "Malformed packet", "Protocol error", "Implementation specific error",
    "Not authorized", "Topic name invalid", "Packet too large", "Quota exceeded",
    "Payload format invalid", "Retain not supported", "QoS not supported",
}  # fmt: skip
"""Reasons that say that the broker closed the connection because of a message."""


class LinkError(UnavailableError):
    """The broker cannot be reached, or the connection is lost; the message says why."""


class Limits(NamedTuple):
    """The broker's limits; an MQTT 3.1.1 broker does not state any."""

    version: str = "3.1.1"
    """MQTT version: 5 or 3.1.1."""
    packet_bytes: int = _UNLIMITED
    """Largest packet in bytes."""
    retain: bool = True
    """Whether it supports retained messages."""
    qos: int = 1
    """Highest quality of service that it supports, at most 1."""
    in_flight: int = 65_535
    """Number of messages that may wait for an acknowledgement."""

    @property
    def gives_reasons(self) -> bool:
        """Whether it says why it refuses a message."""
        return self.version == "5"


class Refusal(NamedTuple):
    """Why the broker does not accept a message."""

    reason: str
    """The reason; a sentence together with the topic before it."""
    size: int | None = None
    """The packet's size in bytes if that is the reason, which is then permanent."""
    retry_at: float | None = None
    """Until when (monotonic) the message is not sent at all; None: it may be sent at any time."""


class Delivery:
    """What became of a message."""

    __slots__ = ("_info", "acknowledged", "refusal")

    def __init__(
        self, info: paho.MQTTMessageInfo | None = None, refusal: Refusal | None = None
    ) -> None:
        self._info = info
        self.acknowledged = False
        self.refusal = refusal
        """Why it was not accepted; None if it was, or if that is not known yet."""

    def is_published(self) -> bool:
        """Whether it was acknowledged; with QoS 0, whether it was sent."""
        return self.acknowledged or (self._info is not None and self._info.is_published())

    @property
    def settled(self) -> bool:
        """Whether it was acknowledged or refused."""
        return self.refusal is not None or self.is_published()


class Link:
    """One connection.

    Args:
        access: Address and login.
        client_id: The client id.
        will: Topic and payload of the last will (QoS 1, retained), if any.
    """

    def __init__(
        self, access: Access, client_id: str, *, will: tuple[str, bytes] | None = None
    ) -> None:
        self._access = access
        self._client_id = client_id
        self._will = will
        self.limits = Limits()
        """The broker's limits, known once the link is open."""
        self.taken_over = False
        """Whether the broker closed it because another client connected with the same id."""
        self.blame: str | None = None
        """The broker's reason if it closed the connection, possibly because of a message: the name
        of an MQTT 5 reason code, or empty if it gave none; None if no message is to blame."""
        self._begin(access.versions()[0])

    def _begin(self, version: MQTTProtocolVersion) -> None:
        """Make a client for the next attempt to connect."""
        self._client = client = self._access.client(self._client_id, version)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.max_inflight_messages = 0  # the owner limits messages in flight itself
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_log = self._on_log
        client.on_socket_open = _tune
        if self._will is not None:
            topic, payload = self._will
            client.will_set(topic, payload, min(1, self.limits.qos), self.limits.retain)
        self._connack: ReasonCode | None = None
        self._subscribed: list[ReasonCode] | None = None
        self._asked: dict[int, Sequence[str]] = {}  # filters, by the id of their SUBSCRIBE
        self.unreadable_filters: list[str] = []
        """Topic filters to which the broker does not let us subscribe."""
        self._lost: str | None = None  # the reason, to follow the address
        self._paho_error = ""
        self._outstanding: dict[int, Delivery] = {}

    @property
    def received(self) -> deque[Incoming]:
        """Received messages, for the owner to take."""
        return self._client.received

    @property
    def giants(self) -> deque[Giant]:
        """Received messages that were too large to be kept."""
        return self._client.giants

    @property
    def unreadable(self) -> int:
        """Number of received messages without a readable topic."""
        return self._client.unreadable

    def open(self, *, give_up: Callable[[], bool] | None = None, wake: Wake | None = None) -> None:
        """Connect and log in; blocks for a few seconds at most.

        Args:
            give_up: Checked after each wake-up; True ends the attempt.
            wake: Interrupts the wait.

        Raises:
            LinkError: The broker cannot be reached or refuses the login.
        """
        access = self._access
        versions = access.versions()
        failure = ""
        for version in versions:
            if self._lost is not None:
                self._begin(version)
            found = self._attempt(version, give_up, wake)
            if found is None:
                if version != versions[0]:
                    access.prefer_mqtt311()
                return
            failure = found
        access.try_mqtt5()
        if not failure:
            failure = explain_silence(access, at_once=_closes_early(access))
        raise LinkError(failure)

    def _attempt(
        self,
        version: MQTTProtocolVersion,
        give_up: Callable[[], bool] | None,
        wake: Wake | None,
    ) -> str | None:
        """Connect with one version of MQTT.

        Returns:
            None if the link is open, else the reason, empty if the broker gave none; another
            version may work.

        Raises:
            LinkError: It failed for a reason that applies to every version.
        """
        access = self._access
        for _ in range(3):  # without what the broker says that it does not support
            self._connect(version)
            if (failure := self._await_answer(give_up, wake)) is not None:
                return failure
            connack = self._connack
            if connack is None or not connack.is_failure:
                return None
            self.abandon()
            reason = connack.getName()
            if reason == "Retain not supported" and self.limits.retain:
                self.limits = self.limits._replace(retain=False)
            elif reason == "QoS not supported" and self.limits.qos:
                self.limits = self.limits._replace(qos=0)
            else:
                break
            self._begin(version)
        assert connack is not None  # noqa: S101 - for the type checker
        text = explain_connack(connack, access)
        if version == MQTTProtocolVersion.MQTTv5 and reason in _MAYBE_OLD:
            return text
        raise LinkError(text)

    def _connect(self, version: MQTTProtocolVersion) -> None:
        access = self._access
        properties = None
        if version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = PACKET_LIMIT
        try:
            self._client.connect(
                access.host, access.port, access.keepalive_s, properties=properties
            )
        except (OSError, ValueError) as error:
            self.abandon()
            text = explain(error, access)
            if not isinstance(error, ConnectionRefusedError) and "closed the connection" in text:
                text = explain_silence(access, at_once=_closes_early(access))
            raise LinkError(text) from None

    def _await_answer(self, give_up: Callable[[], bool] | None, wake: Wake | None) -> str | None:
        """Wait for CONNACK; returns and raises as :meth:`_attempt`."""
        access = self._access
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while self._connack is None:
            left = deadline - time.monotonic()
            if left <= 0:
                self.abandon()
                return f"{access.address} accepts connections but does not speak MQTT"
            if self._lost is not None or self._client.socket() is None:
                alert = explain_alert(self._paho_error)
                self.abandon()
                if alert:
                    raise LinkError(f"{access.address}: {alert}")
                return ""
            if self._wait(left, wake) and give_up is not None and give_up():
                self.abandon()
                raise LinkError(f"connecting to {access.address} was given up")
        return None

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> Delivery:
        """Hand a message over; returns at once.

        Retain flag and QoS are reduced to what the broker supports; a message that is too large is
        not sent.

        Raises:
            LinkError: The connection is lost.
        """
        limits = self.limits
        qos = min(qos, limits.qos)
        size = packet_bytes(topic, payload, limits)
        if size > limits.packet_bytes:
            return Delivery(refusal=Refusal(
                f"has {size} bytes, and the broker takes {limits.packet_bytes} at most", size
            ))  # fmt: skip
        info = self._client.publish(topic, payload, qos, retain and limits.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS or self._lost is not None:
            raise LinkError(self._why_lost())
        if not qos:
            return Delivery(info)
        delivery = self._outstanding[info.mid] = Delivery()
        return delivery

    def deliver(self, topic: str, payload: bytes, *, retain: bool, timeout: float) -> None:
        """Publish with QoS 1 and wait until the broker has acknowledged it.

        Raises:
            LinkError: The connection is lost.
            UnavailableError: The broker refuses the message, or does not acknowledge it in time.
        """
        delivery = self.publish(topic, payload, qos=1, retain=retain)
        deadline = time.monotonic() + timeout
        while not delivery.is_published():
            if delivery.refusal is not None:
                raise UnavailableError(f"{topic} {delivery.refusal.reason}")
            if (left := deadline - time.monotonic()) <= 0:
                raise UnavailableError(f"the broker does not acknowledge what is sent to {topic}")
            self.step(left)

    def round_trip(
        self, messages: Sequence[tuple[str, bytes]], timeout: float
    ) -> tuple[set[str], dict[str, Refusal]]:
        """Publish to subscribed topics and wait for the messages to come back.

        A broker may acknowledge a message and drop it.

        Returns:
            The topics whose messages came back, and those that the broker says it refuses.

        Raises:
            LinkError: The connection is lost.
        """
        deadline = time.monotonic() + timeout
        sent = {}
        for topic, payload in messages:
            self.make_room(deadline)
            sent[topic] = self.publish(topic, payload, qos=1, retain=False)
        back: set[str] = set()
        refused: dict[str, Refusal] = {}
        while sent.keys() - back - refused.keys() and (left := deadline - time.monotonic()) > 0:
            self.step(left)
            back |= {message.topic for message in self.received if not message.retain}
            refused |= {topic: each.refusal for topic, each in sent.items() if each.refusal}
        return back & sent.keys() - refused.keys(), refused

    def subscribe(self, filters: Sequence[str], *, qos: int = 1) -> None:
        """Subscribe to topic filters.

        Raises:
            LinkError: The connection is lost.
        """
        code, mid = self._client.subscribe([(name, qos) for name in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise LinkError(self._why_lost())
        self._asked[mid] = filters

    def unsubscribe(self, topic: str) -> None:
        """Unsubscribe from a topic filter.

        Raises:
            LinkError: The connection is lost.
        """
        code, _ = self._client.unsubscribe(topic)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise LinkError(self._why_lost())

    @property
    def in_flight(self) -> int:
        """Number of messages that the broker has not acknowledged."""
        return len(self._outstanding)

    @property
    def congested(self) -> bool:
        """Whether no more messages should be handed over now.

        Either the network is congested, or too many messages wait for an acknowledgement.
        """
        return self._client.want_write() or len(self._outstanding) >= self.limits.in_flight

    def make_room(self, deadline: float) -> bool:
        """Wait until another message may be handed over.

        Args:
            deadline: When to give up (monotonic).

        Returns:
            Whether there is room.

        Raises:
            LinkError: The connection is lost.
        """
        while self.congested:
            if (left := deadline - time.monotonic()) <= 0:
                return False
            self.step(left)
        return True

    @property
    def subscription(self) -> bool | None:
        """Whether all subscriptions were granted; None until the broker has answered."""
        if self._subscribed is None:
            return None
        return not any(code.is_failure for code in self._subscribed)

    def wait_for_subscription(self, timeout: float) -> bool | None:
        """Wait for the broker's answer to a subscription; see :attr:`subscription`.

        Raises:
            LinkError: The connection is lost.
        """
        deadline = time.monotonic() + timeout
        while self.subscription is None and (left := deadline - time.monotonic()) > 0:
            self.step(left)
        return self.subscription

    def step(self, timeout: float, wake: Wake | None = None) -> None:
        """Send and receive, waiting at most ``timeout`` seconds or until ``wake`` is set.

        Raises:
            LinkError: The connection is lost.
        """
        self._wait(timeout, wake)
        if self._lost is not None or self._client.socket() is None:
            raise LinkError(self._why_lost())

    def close(self, timeout: float = 1.0) -> None:
        """Send DISCONNECT, so that the broker does not publish the last will, and close."""
        if self._lost is None and self._client.socket() is not None:
            self._client.disconnect()
            deadline = time.monotonic() + timeout
            while self._client.socket() is not None and time.monotonic() < deadline:
                self._wait(0.05, None)
        self.abandon()

    def abandon(self) -> None:
        """Close without DISCONNECT, as a crash would; the broker publishes the last will."""
        client = self._client
        sock = client.socket()
        if self._lost is None:
            self._lost = ""
        if sock is not None:
            # connect_async is the public way to drop a socket without sending anything.
            client.connect_async(self._access.host, self._access.port)
        # Break the reference cycle, so that both are freed without the garbage collector.
        client.on_connect = client.on_disconnect = client.on_publish = None
        client.on_log = client.on_subscribe = client.on_socket_open = None

    def _wait(self, timeout: float, wake: Wake | None) -> bool:
        """Poll, read, write and keep alive once. Returns whether it was woken."""
        sock = self._client.socket()
        if sock is None:
            return False
        timeout = max(0.0, min(timeout, _MISC_INTERVAL_S))
        # With TLS only: bytes that OpenSSL has already received and decrypted.
        decrypted: Callable[[], int] | None = getattr(sock, "pending", None)
        pending = decrypted is not None and decrypted() > 0
        poll = select.poll()
        wanted = select.POLLIN | (select.POLLOUT if self._client.want_write() else 0)
        poll.register(sock.fileno(), wanted)
        if wake is not None:
            poll.register(wake.fileno(), select.POLLIN)
        ready = dict(poll.poll(0 if pending else timeout * 1000))
        woken = wake is not None and wake.fileno() in ready
        if wake is not None and woken:
            wake.clear()
        state = ready.get(sock.fileno(), 0)
        if pending or state & ~select.POLLOUT:
            self._read()
        if state & select.POLLOUT and self._client.socket() is not None:
            self._client.loop_write()
        self._client.loop_misc()
        return woken

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - paho decodes what strangers may send
            self.abandon()
            self._lost = f"sends what is not MQTT ({type(error).__name__})"

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, reason: ReasonCode,
        more: Properties | None,
    ) -> None:  # fmt: skip
        self._connack = reason
        if client.protocol == MQTTProtocolVersion.MQTTv5 and more and not reason.is_failure:
            stated = more.json()  # type: ignore[no-untyped-call]
            self.limits = Limits(
                version="5",
                packet_bytes=stated.get("MaximumPacketSize", _UNLIMITED),
                retain=self.limits.retain and bool(stated.get("RetainAvailable", True)),
                qos=min(self.limits.qos, stated.get("MaximumQoS", 1)),
                in_flight=stated.get("ReceiveMaximum", 65_535),
            )

    def _on_disconnect(
        self, _client: object, _data: object, flags: paho.DisconnectFlags, reason: ReasonCode,
        _more: object,
    ) -> None:  # fmt: skip
        name = reason.getName()
        if self._lost is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self.blame = name if name in _MESSAGE_REASONS else None
            self.taken_over = name == "Session taken over"
            self._lost = explain_end(name, self._client_id)
        elif name == "Keep alive timeout":
            self._lost = "no longer answers"
        else:
            self.blame = None if self.limits.gives_reasons else ""
            self._lost = "sends what is not MQTT" if name == "Protocol error" else ""

    def _on_subscribe(
        self, _client: object, _data: object, mid: int, reasons: list[ReasonCode], _more: object
    ) -> None:
        self._subscribed = (self._subscribed or []) + reasons
        filters = self._asked.pop(mid, ())
        self.unreadable_filters += [
            name for name, reason in zip(filters, reasons, strict=False) if reason.is_failure
        ]

    def _on_publish(
        self, _client: object, _data: object, mid: int, reason: ReasonCode, _more: object
    ) -> None:
        delivery = self._outstanding.pop(mid, None)
        if delivery is None:
            return
        if reason.is_failure:
            delivery.refusal = Refusal(explain_refusal(reason))
        else:
            delivery.acknowledged = True

    def _on_log(self, _client: object, _data: object, level: int, text: str) -> None:
        # paho only logs socket errors. A refused client certificate shows in no other way, because
        # TLS 1.3 reports it after the handshake.
        if level == LogLevel.MQTT_LOG_ERR:
            self._paho_error = text

    def _why_lost(self) -> str:
        address = self._access.address
        if alert := explain_alert(self._paho_error):
            return f"{address}: {alert}"
        return f"{address} {self._lost}" if self._lost else f"connection to {address} lost"


def packet_bytes(topic: str, payload: bytes, limits: Limits) -> int:
    """Size of a PUBLISH packet with QoS 1, in bytes (MQTT 5.0, section 3.3)."""
    rest = 2 + len(topic.encode()) + 2 + (1 if limits.gives_reasons else 0) + len(payload)
    length = 1
    while rest >= 128**length:
        length += 1
    return 1 + length + rest


def _closes_early(access: Access) -> bool:
    """Whether the broker closes a new connection before anything is sent.

    Some brokers do that when they have as many connections as they allow.
    """
    try:
        with socket.create_connection((access.host, access.port), timeout=_EARLY_CLOSE_S) as probe:
            return not probe.recv(1)
    except ConnectionResetError:
        return True
    except OSError:
        return False


def _tune(_client: object, _data: object, sock: object) -> None:
    if isinstance(sock, socket.socket):
        # No Nagle algorithm: an event must not wait for the last one's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
