"""One connection to the broker, from CONNECT to its end.

A link never reconnects: whoever owns it makes a new one. A new link is a new MQTT session, so the
client library holds nothing over from the last connection, and what is sent again, and in which
order, is decided in one place (the publisher, from the journal).

Everything happens on the owner's thread, in :meth:`Link.open` and :meth:`Link.step`: there are no
callbacks on foreign threads and no locks.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from paho.mqtt.enums import LogLevel, MQTTErrorCode

from serd.errors import UnavailableError
from serd.mqtt.reasons import explain, explain_alert, explain_connack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import paho.mqtt.client as paho
    from paho.mqtt.reasoncodes import ReasonCode

    from serd.mqtt.access import Access
    from serd.mqtt.wake import Wake

_CONNECT_TIMEOUT_S: Final = 5.0
_MISC_INTERVAL_S: Final = 1.0
_MESSAGE_LIMIT: Final = 256 * 1024  # the largest message of serd, the discovery, has 6 kB
_RECEIVE_BUFFER: Final = 64 * 1024


class LinkError(UnavailableError):
    """The broker cannot be reached, or the connection to it is lost; says why."""


class Link:
    """One connection.

    Args:
        access: Where to and with which login.
        client_id: The client's name on the broker.
        will: Topic and payload of the last will (QoS 1, retained), if there shall be one.
    """

    def __init__(
        self, access: Access, client_id: str, *, will: tuple[str, bytes] | None = None
    ) -> None:
        self._access = access
        self._client = access.client(client_id)
        self._client.connect_timeout = _CONNECT_TIMEOUT_S
        self._client.max_inflight_messages = 0  # no second window: the owner has its own
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_log = self._on_log
        self._client.on_subscribe = self._on_subscribe
        self._client.on_socket_open = _tune
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)
        self._connack: ReasonCode | None = None
        self._lost: str | None = None
        self._complaint = ""
        self._subscribed: list[ReasonCode] | None = None
        self.received: deque[paho.MQTTMessage] = deque()
        """Messages that came in and wait for the owner."""

    def open(self, *, give_up: Callable[[], bool] | None = None, wake: Wake | None = None) -> None:
        """Connect and log in; blocks for at most some seconds.

        Args:
            give_up: Asked when woken: True ends the attempt.
            wake: What wakes it.

        Raises:
            LinkError: With the reason in words.
        """
        access = self._access
        try:
            self._client.connect(access.host, access.port, access.keepalive_s)
        except (OSError, ValueError) as error:
            self.abandon()
            raise LinkError(explain(error, access)) from None
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while self._connack is None:
            left = deadline - time.monotonic()
            if left <= 0:
                self.abandon()
                raise LinkError(f"{access.address} accepts connections but does not speak MQTT")
            if self._lost is not None or self._client.socket() is None:
                raise LinkError(self._why_refused())
            if self._wait(left, wake) and give_up is not None and give_up():
                self.abandon()
                raise LinkError(f"connecting to {access.address} was given up")
        if self._connack.is_failure:
            self.abandon()
            raise LinkError(explain_connack(self._connack, access))

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool
    ) -> paho.MQTTMessageInfo:
        """Hand a message over; returns at once.

        Raises:
            LinkError: The connection is lost.
        """
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS or self._lost is not None:
            raise LinkError(self._why_lost())
        return info

    def subscribe(self, filters: Sequence[str], *, qos: int = 1) -> None:
        """Ask for the messages of these filters.

        Raises:
            LinkError: The connection is lost.
        """
        code, _ = self._client.subscribe([(name, qos) for name in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise LinkError(self._why_lost())

    @property
    def congested(self) -> bool:
        """Whether what was handed over still waits for the network; hand over no more then."""
        return self._client.want_write()

    @property
    def subscription(self) -> bool | None:
        """None until the broker has answered a subscription, then whether it granted all of it."""
        if self._subscribed is None:
            return None
        return not any(code.is_failure for code in self._subscribed)

    def step(self, timeout: float, wake: Wake | None = None) -> None:
        """Do what the network wants, waiting at most ``timeout`` seconds or until ``wake``.

        Raises:
            LinkError: The connection is lost.
        """
        self._wait(timeout, wake)
        if self._lost is not None or self._client.socket() is None:
            raise LinkError(self._why_lost())

    def close(self, timeout: float = 1.0) -> None:
        """Say DISCONNECT, so that the broker does not publish the last will, and close."""
        if self._lost is None and self._client.socket() is not None:
            self._client.disconnect()
            deadline = time.monotonic() + timeout
            while self._client.socket() is not None and time.monotonic() < deadline:
                self._wait(0.05, None)
        self.abandon()

    def abandon(self) -> None:
        """Close without a word, as a crash would; the broker publishes the last will."""
        sock = self._client.socket()
        self._lost = self._lost or "closed"
        if sock is not None:
            # Unregisters nothing and says nothing: connect_async is the public way to drop one.
            self._client.connect_async(self._access.host, self._access.port)
        # A client that knows its link, and the link its client, would stay until the garbage
        # collector finds both.
        self._client.on_connect = self._client.on_disconnect = self._client.on_message = None
        self._client.on_log = self._client.on_subscribe = self._client.on_socket_open = None

    def _wait(self, timeout: float, wake: Wake | None) -> bool:
        """One round of poll, read, write and keep-alive. True if woken."""
        sock = self._client.socket()
        if sock is None:
            return False
        timeout = max(0.0, min(timeout, _MISC_INTERVAL_S))
        # Of a TLS connection only: what was received with the last read and waits in OpenSSL.
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
            self._client.loop_read()
            self._refuse_giants()
        if state & select.POLLOUT and self._client.socket() is not None:
            self._client.loop_write()
        self._client.loop_misc()
        return woken

    def _refuse_giants(self) -> None:
        """Hang up on a message that would fill the memory.

        MQTT 3.1.1 has no way to tell the broker a limit (up to 256 MB is legal), and the client
        library none to tell it ours, so this looks at the packet that it is reading; a few MB of
        it may be in memory by then.
        """
        packet = getattr(self._client, "_in_packet", {})
        if packet.get("remaining_length", 0) > _MESSAGE_LIMIT:
            self.abandon()
            self._lost = f"a message of {packet['remaining_length']} bytes is refused"

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        self._connack = reason

    def _on_disconnect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        self._lost = self._lost or str(reason)

    def _on_subscribe(
        self, _client: object, _data: object, _mid: int, reasons: list[ReasonCode], _more: object
    ) -> None:
        self._subscribed = (self._subscribed or []) + reasons

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.received.append(message)

    def _on_log(self, _client: object, _data: object, level: int, text: str) -> None:
        # The library swallows socket errors and only logs them; a refused client certificate,
        # for one, is told in no other way (TLS 1.3 reports it after the handshake).
        if level == LogLevel.MQTT_LOG_ERR:
            self._complaint = text

    def _why_refused(self) -> str:
        if told := explain_alert(self._complaint):
            return f"{self._access.address}: {told}"
        # With TLS 1.3 the alert that says so may be lost in the reset that follows it.
        wants = "a client certificate (mqtt.tls.cert)" if self._access.tls else "TLS (mqtt.tls.ca)"
        return (
            f"{self._access.address} closed the connection without an answer: does it want {wants}?"
        )

    def _why_lost(self) -> str:
        if told := explain_alert(self._complaint):
            return f"{self._access.address}: {told}"
        if self._lost is not None and "keep alive" in self._lost.lower():
            return f"{self._access.address} no longer answers"
        if self._lost is not None and "refused" in self._lost:
            return f"{self._access.address}: {self._lost}"
        return f"connection to {self._access.address} lost"


def _tune(_client: object, _data: object, sock: object) -> None:
    if isinstance(sock, socket.socket):
        # Without Nagle's algorithm: an event must not wait for the acknowledgement of the last.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The client library reads up to 100 buffers in one go; see Link._refuse_giants.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
