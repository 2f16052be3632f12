"""A small MQTT 5 broker with rules that mosquitto cannot be given.

It disconnects a client over a topic, as some brokers do instead of refusing the message; it refuses
subscriptions; and it acknowledges slowly, so that too many messages in flight are noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self

from tests.broker import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_AUTHORIZED = 0x87
PACKET_TOO_LARGE = 0x95
QUOTA_EXCEEDED = 0x97
_RECEIVE_MAXIMUM_EXCEEDED = 0x93
_UNANSWERED_S = 2.0


class StrictBroker:
    """The broker, on a free loopback port.

    Args:
        receive_maximum: Number of messages that a client may have in flight.
        acknowledge_after_s: Delay of each acknowledgement.
        hang_up: Reason codes with which it disconnects a client that publishes on these topics.
        unreadable: Topics that nobody may subscribe to.
        at_once: Whether it closes such a connection before the client has read why.
    """

    def __init__(
        self,
        *,
        receive_maximum: int = 100,
        acknowledge_after_s: float = 0.0,
        hang_up: dict[str, int] | None = None,
        unreadable: tuple[str, ...] = (),
        at_once: bool = False,
    ) -> None:
        self.receive_maximum = receive_maximum
        self.acknowledge_after_s = acknowledge_after_s
        self.hang_up = hang_up if hang_up is not None else {}
        self.unreadable = unreadable
        self.at_once = at_once
        self.port = 0
        self.connections = 0
        self.violations: list[str] = []
        """Topics of messages by which a client had too many in flight."""
        self.hung_up: list[str] = []
        """Topics over which a client was disconnected."""
        self.messages: list[tuple[str, bytes]] = []
        """Topic and payload of every message accepted, wills included."""
        self.retained: dict[str, bytes] = {}
        self.on_message: Callable[[str, bytes], object] = lambda _topic, _payload: None
        self._subscribers: list[tuple[str, asyncio.StreamWriter]] = []
        self._loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="strict-broker")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def on(self, topic: str) -> list[bytes]:
        """Payloads accepted on a topic so far."""
        return [payload for name, payload in list(self.messages) if name == topic]

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._leave.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports are released in the next iteration

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self, reader, writer)
        try:
            with contextlib.suppress(EOFError, OSError, asyncio.CancelledError):
                await client.serve()
        finally:
            self._subscribers = [each for each in self._subscribers if each[1] is not writer]
            if client.will is not None:
                self.accept(*client.will, retain=True)
            writer.close()

    def subscribe(self, topic_filter: str, writer: asyncio.StreamWriter) -> None:
        """Add a subscription and send what is retained."""
        self._subscribers.append((topic_filter, writer))
        for topic, payload in self.retained.items():
            if _matches(topic_filter, topic):
                writer.write(_publish(topic, payload, retain=True))

    def accept(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Record a message and pass it on."""
        self.messages.append((topic, payload))
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for topic_filter, writer in self._subscribers:
            if _matches(topic_filter, topic):
                writer.write(_publish(topic, payload, retain=False))
        self.on_message(topic, payload)


class _Client:
    def __init__(
        self, broker: StrictBroker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._broker = broker
        self._reader = reader
        self._writer = writer
        self._in_flight = 0
        self.will: tuple[str, bytes] | None = None
        """Topic and payload; None after DISCONNECT."""

    async def serve(self) -> None:
        """Answer packets until the connection ends."""
        broker, writer = self._broker, self._writer
        while True:
            head, body = await self._packet()
            match head >> 4:
                case 1:
                    broker.connections += 1
                    self.will = _will(body)
                    stated = b"\x21" + broker.receive_maximum.to_bytes(2, "big")
                    writer.write(_packet(0x20, b"\0\0" + _length(len(stated)) + stated))
                case 3:
                    if not await self._publish(head, body):
                        return
                case 8:
                    self._subscribe(body)
                case 10:
                    writer.write(_packet(0xB0, body[:2] + b"\0\0"))
                case 12:
                    writer.write(_packet(0xD0, b""))
                case 14:
                    self.will = None
                    return

    def _subscribe(self, body: bytes) -> None:
        broker, filters = self._broker, _filters(body)
        refused = [name in broker.unreadable for name in filters]
        codes = bytes(NOT_AUTHORIZED if no else 1 for no in refused)
        self._writer.write(_packet(0x90, body[:2] + b"\0" + codes))
        for name, no in zip(filters, refused, strict=True):
            if not no:
                broker.subscribe(name, self._writer)

    async def _publish(self, head: int, body: bytes) -> bool:
        """Take a message; returns whether the connection goes on."""
        broker, qos = self._broker, head >> 1 & 3
        at = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:at].decode()
        number = body[at : at + 2] if qos else b""
        at += len(number)
        skip, at = _read_length(body, at)
        if topic in broker.hang_up:
            broker.hung_up.append(topic)
            await self._disconnect(broker.hang_up[topic])
            return False
        if qos:
            self._in_flight += 1
            if self._in_flight > broker.receive_maximum:
                broker.violations.append(topic)
                await self._disconnect(_RECEIVE_MAXIMUM_EXCEEDED)
                return False
            asyncio.get_running_loop().call_later(
                broker.acknowledge_after_s, self._acknowledge, number
            )
        broker.accept(topic, body[at + skip :], retain=bool(head & 1))
        return True

    def _acknowledge(self, number: bytes) -> None:
        self._in_flight -= 1
        if not self._writer.is_closing():
            self._writer.write(_packet(0x40, number))

    async def _disconnect(self, reason: int) -> None:
        self._writer.write(_packet(0xE0, bytes([reason])))
        await self._writer.drain()
        if not self._broker.at_once:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reader.read(), _UNANSWERED_S)

    async def _packet(self) -> tuple[int, bytes]:
        head = (await self._reader.readexactly(1))[0]
        length = b""
        while not length or length[-1] & 128:
            length += await self._reader.readexactly(1)
        return head, await self._reader.readexactly(_read_length(length, 0)[0])


def _will(connect: bytes) -> tuple[str, bytes] | None:
    skip, at = _read_length(connect, 10)
    at += skip
    at += 2 + int.from_bytes(connect[at : at + 2], "big")  # the client id
    if not connect[7] & 4:
        return None
    skip, at = _read_length(connect, at)
    at += skip
    fields = []
    for _ in range(2):
        end = at + 2 + int.from_bytes(connect[at : at + 2], "big")
        fields.append(connect[at + 2 : end])
        at = end
    return fields[0].decode(), fields[1]


def _filters(subscribe: bytes) -> list[str]:
    skip, at = _read_length(subscribe, 2)
    at += skip
    found = []
    while at < len(subscribe):
        end = at + 2 + int.from_bytes(subscribe[at : at + 2], "big")
        found.append(subscribe[at + 2 : end].decode())
        at = end + 1
    return found


def _matches(topic_filter: str, topic: str) -> bool:
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in {"+", levels[place]}:
            return False
    return len(wanted) == len(levels)


def _publish(topic: str, payload: bytes, *, retain: bool) -> bytes:
    name = topic.encode()
    return _packet(0x30 | retain, len(name).to_bytes(2, "big") + name + b"\0" + payload)


def _packet(head: int, body: bytes) -> bytes:
    return bytes([head]) + _length(len(body)) + body


def _length(number: int) -> bytes:
    """A variable byte integer (MQTT 5.0, 1.5.5)."""
    encoded = b""
    while True:
        number, low = divmod(number, 128)
        encoded += bytes([low | (128 if number else 0)])
        if not number:
            return encoded


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer, and the offset after it."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
