"""Just enough of an MQTT 3.1.1 broker to take a daemon's messages on loopback.

It lets `serd bench` measure the way to the broker on a machine that has none. It acknowledges what
it gets at once and keeps the events; it delivers nothing to anybody.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from serd.errors import UnavailableError

if TYPE_CHECKING:
    from typing import Any, Self

_CONNECT: Final = 1
_PUBLISH: Final = 3
_SUBSCRIBE: Final = 8
_PINGREQ: Final = 12
_PROTOCOL_LEVEL: Final = 4
"""Of MQTT 3.1.1; a newer one is refused, and the daemon then speaks this."""


class Sink:
    """Listens on a port of 127.0.0.1 for one daemon after the other; a context manager.

    Raises:
        UnavailableError: If no port can be had.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        """The payloads that came on topics ending in ``/emotion``."""
        try:
            self._listener = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            raise UnavailableError(f"no port of 127.0.0.1 can be had: {error}") from error
        self.port: int = self._listener.getsockname()[1]
        self._wanted: set[bytes] = set()
        self._thread = threading.Thread(target=self._serve, name="serd-sink", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A blocked accept() does not notice close(); shutdown() wakes it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._wanted = set()
            with connection, connection.makefile("rb") as stream:
                try:
                    while self._answer(stream, connection):
                        pass
                except (OSError, EOFError):
                    continue

    def _answer(self, stream: Any, connection: socket.socket) -> bool:
        """Take one packet and answer it; False at the end of the connection."""
        first = stream.read(1)
        if not first:
            return False
        kind, quality = first[0] >> 4, first[0] >> 1 & 3
        body = _exactly(stream, _remaining_length(stream))
        if kind == _CONNECT:
            newer = body[6] > _PROTOCOL_LEVEL
            connection.sendall(b"\x20\x02\x00" + (b"\x01" if newer else b"\x00"))
            return not newer
        if kind == _PUBLISH:
            (length,) = struct.unpack_from(">H", body)
            topic, rest = body[2 : 2 + length], body[2 + length :]
            if quality:
                connection.sendall(b"\x40\x02" + rest[:2])
                rest = rest[2:]
            if topic in self._wanted:  # whoever publishes sees that it is let
                packet = struct.pack(">H", len(topic)) + topic + rest
                connection.sendall(b"\x30" + _length(len(packet)) + packet)
            if topic.endswith(b"/emotion"):
                self.events.append(msgspec.json.decode(rest))
        elif kind == _SUBSCRIBE:
            filters = _filters(body[2:])
            self._wanted |= set(filters)
            granted = len(filters)
            connection.sendall(bytes((0x90, 2 + granted)) + body[:2] + b"\x00" * granted)
        elif kind == _PINGREQ:
            connection.sendall(b"\xd0\x00")
        return True


def _remaining_length(stream: Any) -> int:
    """MQTT 3.1.1, section 2.2.3: seven bits a byte, the lowest first."""
    length = 0
    for shift in (0, 7, 14, 21):
        byte = _exactly(stream, 1)[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return length


def _length(length: int) -> bytes:
    """The same, written."""
    written = bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        written.append(low | 0x80 if length else low)
        if not length:
            return bytes(written)


def _filters(body: bytes) -> list[bytes]:
    """The topic filters that a SUBSCRIBE asks for."""
    found, at = [], 0
    while at + 2 <= len(body):
        (size,) = struct.unpack_from(">H", body, at)
        found.append(body[at + 2 : at + 2 + size])
        at += 2 + size + 1
    return found


def _exactly(stream: Any, count: int) -> bytes:
    data: bytes = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
