"""The MQTT client library, made safe: bounded input, a way to wake it, its errors in plain words.

paho keeps every incoming message in memory, however large (256 MB are legal), takes quadratic time
over MQTT 5 properties, and drops the connection over a topic that is not UTF-8. Anybody who may
publish could use that, and a *retained* message would do it again at every connection. So
:class:`BoundedClient` skips what is too large, ignores properties, and counts what it cannot read.
"""

from __future__ import annotations

import errno
import select
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MessageType, MQTTErrorCode, MQTTProtocolVersion

from serd.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.reasoncodes import ReasonCode

    from serd.mqtt.access import Access

MESSAGE_LIMIT: Final = 256 * 1024
"""Largest message accepted, in bytes; serd's own largest, the discovery payload, has 8 to 10
kB."""

PACKET_LIMIT: Final = 32 * 1024 * 1024
"""Maximum Packet Size that an MQTT 5 broker is asked to respect, in bytes. The broker withholds
larger packets; those between the two limits are skipped and reported with topic and size."""

_CHUNK: Final = 64 * 1024
_HEAD: Final = 2 + 65_535 + 2  # the longest topic there can be, and a packet identifier
_GIANTS_KEPT: Final = 16


class Incoming(NamedTuple):
    """A received message."""

    topic: str
    payload: bytes
    retain: bool
    """Whether the broker had stored it before the subscription."""


class Giant(NamedTuple):
    """A message that was skipped because of its size."""

    topic: str
    """Escaped for printing."""
    size: int
    """Size of the packet in bytes, topic included."""


class BoundedClient(paho.Client):
    """paho's client with its own, bounded parser for PUBLISH packets.

    The overridden methods are private to paho; it offers no public hook at this level.
    """

    received: deque[Incoming]
    """Messages for the owner to take after each read."""
    giants: deque[Giant]
    """The latest messages that were too large."""
    unreadable: int
    """Number of messages whose topic was not UTF-8."""

    def watch(self) -> None:
        """Set up the counters; call once, before connecting."""
        self.received = deque()
        self.giants = deque(maxlen=_GIANTS_KEPT)
        self.unreadable = 0

    def _sock_recv(self, bufsize: int) -> bytes:
        packet = self._in_packet
        if packet["remaining_length"] > MESSAGE_LIMIT:
            del packet["packet"][_HEAD:]
        return super()._sock_recv(min(bufsize, _CHUNK))

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except ConnectionError:
            if self._sock is None:
                raise
            # Closed by the broker, which may have said why: leave it to the next read, which finds
            # its DISCONNECT, or the end of the connection.
            raise BlockingIOError from None

    def _packet_handle(self) -> MQTTErrorCode:
        packet = self._in_packet
        if packet["command"] & 0xF0 == MessageType.PUBLISH:
            return self._take(packet["command"], packet["packet"], packet["remaining_length"])
        if packet["remaining_length"] > MESSAGE_LIMIT:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._packet_handle()

    def _take(self, head: int, body: bytearray, size: int) -> MQTTErrorCode:
        qos = head >> 1 & 3
        length = int.from_bytes(body[:2], "big")
        at = 2 + length + (2 if qos else 0)
        if qos > 1 or len(body) < at:  # serd subscribes with QoS 1 at most
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        topic = bytes(body[2 : 2 + length])
        if size > MESSAGE_LIMIT:
            self.giants.append(Giant(ascii(topic.decode("utf-8", "replace"))[1:-1], size))
        else:
            payload_at = self._past_properties(body, at)
            if payload_at is None:
                return MQTTErrorCode.MQTT_ERR_PROTOCOL
            try:
                self.received.append(
                    Incoming(topic.decode(), bytes(body[payload_at:]), bool(head & 1))
                )
            except UnicodeDecodeError:
                self.unreadable += 1
        if qos:
            return self._send_puback(int.from_bytes(body[at - 2 : at], "big"))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _past_properties(self, body: bytearray, at: int) -> int | None:
        """Offset of the payload; None if the packet is malformed."""
        if self.protocol != MQTTProtocolVersion.MQTTv5:
            return at
        length = 0
        for place in range(4):  # a variable byte integer (MQTT 5.0, 1.5.5)
            if at + place >= len(body):
                return None
            byte = body[at + place]
            length |= (byte & 127) << 7 * place
            if byte < 128:
                end = at + place + 1 + length
                return end if end <= len(body) else None
        return None


class Wake:
    """Interrupts a :meth:`serd.mqtt.link.Link.step` or :meth:`wait` from any thread or signal."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._set = False

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._read.fileno()

    def set(self) -> None:
        """Interrupt. Never blocks; further calls before :meth:`clear` have no effect."""
        if self._set:
            return
        self._set = True
        try:
            self._write.send(b"\0")
        except OSError:  # full, so a wake-up is pending; or closed
            return

    def clear(self) -> None:
        """Reset."""
        try:
            while len(self._read.recv(64)) == 64:
                pass
        except OSError:
            pass
        # Last, so that no wake-up is lost: whoever found the flag set before this line made their
        # news available before the caller looks. Cleared first, the byte of a set() in between
        # would be drained while the flag stays up, and no further byte would ever be sent.
        self._set = False

    def wait(self, timeout: float) -> None:
        """Sleep until interrupted or ``timeout`` seconds have passed."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        poll.poll(max(0.0, timeout) * 1000)
        self.clear()

    def close(self) -> None:
        """Close the descriptors."""
        self._read.close()
        self._write.close()

    def __del__(self) -> None:
        """Close the descriptors of an owner that failed half-way."""
        self.close()


def explain(error: BaseException, access: Access) -> str:
    """Say why the connection could not be made."""
    address = access.address
    sentence: str
    if (tls := sys.modules.get("ssl")) and isinstance(error, tls.SSLError):
        sentence = f"{address}: {_explain_tls(error)}"
    elif isinstance(error, ConnectionRefusedError):
        sentence = f"connection refused: is a broker running at {address}?"
    elif isinstance(error, socket.gaierror):
        sentence = f"the name {access.host} is not known: {error.strerror or error}"
    elif isinstance(error, TimeoutError):
        sentence = f"{address} does not answer"
    elif isinstance(error, OSError) and error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        sentence = f"there is no way to {address}: {error.strerror}"
    elif isinstance(error, ConnectionResetError):
        sentence = f"{address} closed the connection"
    elif isinstance(error, ConfigError):
        sentence = error.message
    else:
        sentence = f"{address}: {getattr(error, 'strerror', None) or error}"
    return sentence


def _explain_tls(error: ssl.SSLError) -> str:
    refused = getattr(error, "verify_message", None)  # of an SSLCertVerificationError
    if refused is not None:
        return f"the broker's certificate is not accepted: {refused}"
    return explain_alert(str(error)) or f"TLS failed: {error.reason or error}"


def explain_connack(reason: ReasonCode, access: Access) -> str:
    """Say why the broker refused the login."""
    # paho hands MQTT 3.1.1's return codes over as MQTT 5 reason codes.
    text = str(reason)
    if text in {"Bad user name or password", "Not authorized"}:
        if access.username is None:
            return f"{access.address} wants a user name and a password"
        return f"{access.address}: wrong user name or password for {access.username!r}"
    if text in {"Server busy", "Quota exceeded", "Connection rate exceeded", "Server unavailable"}:
        return (
            f"{access.address} takes no more connections ({text.lower()}): are all that it allows "
            "in use (mosquitto: max_connections)?"
        )
    return f"{access.address} refuses the connection: {text.lower()}"


def explain_silence(access: Access, *, at_once: bool) -> str:
    """Say why the broker may have closed the connection without an answer.

    Args:
        access: Address and login.
        at_once: Whether it closes connections before receiving anything.
    """
    if at_once:
        return (
            f"{access.address} closes new connections at once: are all that it allows in use "
            "(mosquitto: max_connections), or may this machine not connect?"
        )
    # With TLS 1.3 the alert that says so may be lost in the reset that follows it.
    wants = "a client certificate (mqtt.tls.cert)" if access.tls else "TLS (mqtt.tls.ca)"
    return f"{access.address} closed the connection without an answer: does it want {wants}?"


def explain_end(reason: str, client_id: str) -> str:
    """Say why an MQTT 5 broker ended a connection; the text follows the broker's address.

    Args:
        reason: Name of the MQTT 5 reason code.
        client_id: The client id of this connection.
    """
    if reason == "Session taken over":
        return f"has another client that calls itself {client_id}, and ended this connection for it"
    return f"ended the connection: {reason.lower()}"


def explain_refusal(reason: ReasonCode) -> str:
    """Say why an MQTT 5 broker did not accept a message; the text follows the topic."""
    text = str(reason)
    if text == "Not authorized":
        return "is forbidden by the broker's access rules"
    return f"is not taken by the broker: {text.lower()}"


def explain_hang_up(reason: str) -> str:
    """Say what an MQTT 5 broker refuses by ending the connection; the text follows the topic.

    Args:
        reason: Name of the MQTT 5 reason code.
    """
    refused = (
        "is forbidden by the broker's access rules, and the broker"
        if reason == "Not authorized"
        else "is not taken by the broker, which"
    )
    return f"{refused} ends the connection after it ({reason.lower()})"


def explain_alert(text: str) -> str | None:
    """Translate the peer's TLS alert; None if the text mentions none."""
    known = {
        "CERTIFICATE_REQUIRED": "the broker wants a client certificate: set mqtt.tls.cert and key",
        "UNKNOWN_CA": "the broker does not know who signed the client certificate",
        "CERTIFICATE_EXPIRED": "the client certificate has expired",
        "CERTIFICATE_REVOKED": "the client certificate is revoked",
        "BAD_CERTIFICATE": "the broker does not accept the client certificate",
        "HANDSHAKE_FAILURE": "the broker refuses the TLS handshake (a client certificate missing?)",
        "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
        "RECORD_LAYER_FAILURE": "what answers there does not speak TLS",
    }
    upper = text.upper().replace(" ", "_")
    return next((words for sign, words in known.items() if sign in upper), None)
