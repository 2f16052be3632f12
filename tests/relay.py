"""A TCP relay between a client and a server, with which tests simulate network faults."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from io import BufferedIOBase


class Relay:
    """Forwards every connection to a loopback port, until a fault is switched on.

    Args:
        target: The server's port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._stopping = False
        self.deaf = False
        """True: nothing is forwarded in either direction, but connections stay open."""
        self.swallow_answers = False
        """True: data from the server is discarded."""
        self.accepted = 0
        """Connections accepted so far."""
        self._thread = threading.Thread(target=self._run, name="relay")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        self.shut()

    def shut(self) -> None:
        """Refuse new connections and close the open ones."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            for pair in self._pairs:
                for end in pair:
                    end.close()
            self._pairs.clear()

    def reopen(self) -> None:
        """Accept connections again, on the same port."""
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))

    def cut(self) -> None:
        """Close the open connections, but accept new ones."""
        self.shut()
        self.reopen()

    def _run(self) -> None:
        while not self._stopping:
            with self._lock, contextlib.suppress(OSError):
                self._round()

    def _round(self) -> None:
        sockets = {end: (pair, end is pair[0]) for pair in self._pairs for end in pair}
        listening = [self._listener] if self._listener is not None else []
        watched = [] if self.deaf else list(sockets)
        ready, _, _ = select.select([*listening, *watched], [], [], 0.005)
        for end in ready:
            if end is self._listener:
                client, _ = end.accept()
                self.accepted += 1
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._pairs.append((client, server))
                continue
            pair, from_client = sockets[end]
            try:
                data = end.recv(65536)
                if not data:
                    raise ConnectionError
                if from_client or not self.swallow_answers:
                    pair[1 if from_client else 0].sendall(data)
            except OSError:
                if pair in self._pairs:
                    self._pairs.remove(pair)
                    pair[0].close()
                    pair[1].close()


class OldBroker:
    """A proxy that makes a broker appear to support only MQTT 3.1.1.

    Args:
        target: The broker's port.
        most: The largest packet in bytes; a client that sends a larger one is disconnected.
    """

    def __init__(self, target: int, *, most: int = 1 << 30) -> None:
        self._target = target
        self._most = most
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0
        """Connections rejected so far because of another MQTT version."""
        self.oversized: list[int] = []
        """Sizes in bytes of the packets that were too large."""
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="old-broker")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                for work in (self._client_to_server, self._server_to_client):
                    thread = threading.Thread(target=work, args=(client, server), name="old-broker")
                    self._threads.append(thread)
                    thread.start()

    def _client_to_server(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), client.makefile("rb") as stream:
            while True:
                packet = read_packet(stream)
                if packet[0] == 0x10 and b"MQTT\x05" in packet[:16]:
                    self.refused += 1
                    client.sendall(b"\x20\x02\x00\x01")
                    break
                if len(packet) > self._most:
                    self.oversized.append(len(packet))
                    break
                server.sendall(packet)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _server_to_client(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def read_packet(stream: BufferedIOBase) -> bytes:
    """Read the next complete MQTT packet from a stream.

    Raises:
        EOFError: The stream has ended.
    """
    head = stream.read(2)
    while len(head) > 1 and head[-1] & 128:
        head += stream.read(1)
    if len(head) < 2:
        raise EOFError
    length = sum((byte & 127) << 7 * place for place, byte in enumerate(head[1:]))
    return head + stream.read(length)
