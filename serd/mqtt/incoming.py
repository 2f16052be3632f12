"""What comes in from the broker, bounded: whoever may publish decides on its size and its bytes.

The client library keeps every message whole, however large (256 MB are legal), takes time that
grows with the square of the number of its MQTT 5 properties, and gives up the connection over
what it cannot decode. A message that is *retained* would come again with every connection. So
this reads past what is too large, passes over properties, and hands out or counts the rest.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MessageType, MQTTErrorCode, MQTTProtocolVersion

MESSAGE_LIMIT: Final = 256 * 1024
"""Bytes of the largest message that is taken; serd's own largest, the discovery, has 6 kB."""

PACKET_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of the largest packet that an MQTT 5 broker is asked to send. What is larger never comes;
what is not can be warned of, with its topic and size, at the cost of reading past it."""

_CHUNK: Final = 64 * 1024
_HEAD: Final = 2 + 65_535 + 2  # the longest topic there can be, and a packet identifier
_GIANTS_KEPT: Final = 16


class Incoming(NamedTuple):
    """A message as it came."""

    topic: str
    payload: bytes
    retain: bool
    """Whether the broker had it before we asked for it."""


class Giant(NamedTuple):
    """A message that was read past."""

    topic: str
    """Printable."""
    size: int
    """Bytes of the packet, its topic included."""


class BoundedClient(paho.Client):
    """The client library's client, but for PUBLISH packets, which it reads as said above.

    The methods that are replaced are not the library's public ones: it has none at this depth.
    """

    received: deque[Incoming]
    """Messages that wait for their owner, who takes them after each read."""
    giants: deque[Giant]
    """Messages that were too large, the latest few."""
    unreadable: int
    """Messages that make no sense: topics that are not UTF-8, for example."""

    def watch(self) -> None:
        """Begin; to be called once, before the connection is made."""
        self.received = deque()
        self.giants = deque(maxlen=_GIANTS_KEPT)
        self.unreadable = 0

    def _sock_recv(self, bufsize: int) -> bytes:
        packet = self._in_packet
        if packet["remaining_length"] > MESSAGE_LIMIT:
            del packet["packet"][_HEAD:]
        return super()._sock_recv(min(bufsize, _CHUNK))

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
        if qos > 1 or len(body) < at:  # we ask for no more than QoS 1
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
        """Where the payload begins; None if that is nowhere."""
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
