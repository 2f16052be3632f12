"""A small broker inside serd for machines without one: loopback only, nothing stored.

It is amqtt (extra ``serd-emotion[embedded]``) on a thread with an event loop of its own. Everybody
on this machine may connect and nobody from elsewhere can. For more than trying serd out, a
mosquitto is the better broker.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from serd.errors import ConfigError, UnavailableError
from serd.network import LOOPBACK, free_port, why_port_is_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)

_START_S: Final = 30.0
_SHUTDOWN_S: Final = 1.0
_PORTS_TRIED: Final = 5
_LOGGERS: Final = ("amqtt", "transitions")
_PROTOCOL_NAME: Final = b"\x00\x04MQTT"
_PROTOCOL_LEVEL: Final = 4
"""MQTT 3.1.1, the newest version that amqtt supports."""
_HEADER_MAX: Final = 5
"""Maximum size of a packet's type and length, in bytes."""
_UNKNOWN_VERSION: Final = b"\x20\x02\x00\x01"
"""CONNACK of MQTT 3.1.1: unacceptable protocol version."""
_PACKET_MAX: Final = 1024 * 1024
"""Largest packet that it reads, in bytes; serd's own largest, the announcement to Home Assistant,
has 8 to 10 kB."""
_RETAINED_MAX: Final = 16 * 1024 * 1024
"""Total size of the retained messages that it keeps, in bytes; a node of serd leaves 20 kB."""
_RETAINED_OVERHEAD: Final = 512
"""Bytes that a retained message takes in addition to topic and payload."""


class EmbeddedBroker:
    """A broker on loopback that runs between :meth:`start` and :meth:`stop`.

    Args:
        port: TCP port; 0 picks a free one, see :attr:`port`.
    """

    host: Final = LOOPBACK

    def __init__(self, port: int = 0) -> None:
        self.port = port
        """The port it listens on, once it is started."""
        self._any_port = port == 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start; the broker accepts connections when this returns.

        Raises:
            ConfigError: The package that it is made of is not installed.
            UnavailableError: It cannot listen on that port.
        """
        broker_type = _import_broker()
        for attempt in range(1, _PORTS_TRIED + 1):
            if self._any_port:
                self.port = free_port()
            try:
                self._start(broker_type)
            except UnavailableError:
                # The free port may have been taken meanwhile.
                if not self._any_port or attempt == _PORTS_TRIED:
                    raise
            else:
                return

    def stop(self, timeout: float = 5.0) -> None:
        """Close all connections and stop; does nothing if the broker does not run."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._leave is not None and thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave.set)
        thread.join(timeout)
        if thread.is_alive():
            _log.warning("the embedded broker does not end; it is left to the end of the process")

    def _start(self, broker_type: type[Any]) -> None:
        _check_port(self.port)
        self._started.clear()
        self._failure = None
        self._thread = threading.Thread(
            target=self._run, args=(broker_type,), name="serd-broker", daemon=True
        )
        self._thread.start()
        if not self._started.wait(_START_S):
            raise UnavailableError("the embedded broker does not start")
        if (failure := self._outcome()) is not None:
            self._thread.join()
            self._thread = None
            raise UnavailableError(
                f"the embedded broker cannot listen on {self.host}:{self.port}: {failure}"
            ) from failure

    def _outcome(self) -> BaseException | None:
        return self._failure

    def _run(self, broker_type: type[Any]) -> None:
        # amqtt logs every client that disconnects without notice, which is of no use to users of
        # serd. Failures at the start are raised as exceptions.
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            asyncio.run(self._serve(broker_type))
        except Exception as error:  # noqa: BLE001 - raised by start(), or logged
            if self._started.is_set():
                _log.warning("the embedded broker ended: %s", error)
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self, broker_type: type[Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        broker = broker_type(_configuration(self.host, self.port))
        await broker.start()
        self._started.set()
        try:
            await self._leave.wait()
        finally:
            await broker.shutdown()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            if others:
                await asyncio.wait(others, timeout=_SHUTDOWN_S)
            await asyncio.sleep(0)  # closed transports are released in the next iteration


def _configuration(host: str, port: int) -> dict[str, Any]:
    # Only these plugins: the default ones log every packet and publish system statistics.
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }


class _TooLargeError(EOFError):
    """A client announces a packet that is too large; the text says how large."""


class _PacketSizes:
    """Follows the packets in a stream of bytes, to know the size of each before it is read."""

    def __init__(self) -> None:
        self._body = 0  # bytes left of the current packet
        self._length: int | None = None  # as far as it is known; None before a packet
        self._shift = 0

    def feed(self, data: bytes) -> None:
        """Process the next bytes of the stream.

        Raises:
            _TooLargeError: A packet that begins in them is too large.
        """
        at = 0
        while at < len(data):
            if self._body:
                step = min(self._body, len(data) - at)
                self._body -= step
                at += step
                continue
            byte = data[at]
            at += 1
            if self._length is None:  # the type of a packet
                self._length, self._shift = 0, 0
                continue
            self._length |= (byte & 127) << self._shift
            self._shift += 7
            if self._length > _PACKET_MAX:
                raise _TooLargeError(f"a packet of {self._length} bytes or more")
            if byte < 128:
                self._body, self._length = self._length, None


class _FirstBytes:
    """A stream whose first bytes can be peeked at, and which ends before a packet too large.

    Args:
        reader: The stream, unread.
        on_large: Called before it ends because of a packet that is too large.
    """

    def __init__(self, reader: asyncio.StreamReader, on_large: Callable[[str], None]) -> None:
        self._reader = reader
        self._on_large = on_large
        self._sizes = _PacketSizes()
        self._head = b""

    async def protocol_level(self) -> int:
        """The protocol version of a CONNECT packet; 0 if it is not one.

        Raises:
            EOFError: The stream ends too early.
        """
        self._head = await self._reader.readexactly(2)
        while self._head[-1] & 0x80 and len(self._head) < _HEADER_MAX:
            self._head += await self._reader.readexactly(1)
        name = await self._reader.readexactly(len(_PROTOCOL_NAME) + 1)
        self._head += name
        return name[-1] if name.startswith(_PROTOCOL_NAME) else 0

    async def readexactly(self, count: int) -> bytes:
        """As in :class:`asyncio.StreamReader`.

        Raises:
            EOFError: The stream ends too early, or a packet is too large.
        """
        head, self._head = self._head[:count], self._head[count:]
        return self._followed(head + await self._reader.readexactly(count - len(head)))

    async def read(self, count: int = -1) -> bytes:
        """As in :class:`asyncio.StreamReader`.

        Raises:
            EOFError: A packet is too large.
        """
        if not self._head:
            return self._followed(await self._reader.read(count))
        end = len(self._head) if count < 0 else count
        head, self._head = self._head[:end], self._head[end:]
        return self._followed(head)

    def _followed(self, data: bytes) -> bytes:
        try:
            self._sizes.feed(data)
        except _TooLargeError as error:
            self._on_large(str(error))
            raise
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class _Bounds:
    """What a broker takes and keeps; each limit that is reached is logged once."""

    def __init__(self) -> None:
        self._retained_bytes = 0
        self._logged: set[str] = set()

    def exceeded(self, what: str) -> None:
        """Log that a client was disconnected because of the size of a packet."""
        self._log_once(
            "packet",
            f"the embedded broker disconnected a client that sends {what}: it takes {_PACKET_MAX} "
            "at most; for larger messages, install mosquitto and set mqtt.host: localhost",
        )

    def admit(self, topic: str, data: bytes | None, before: bytes | None) -> bytes | None:
        """What to retain of a message.

        Args:
            topic: Its topic.
            data: Its payload; None or empty to clear the topic.
            before: What the topic has now, if anything.

        Returns:
            The payload; None if there is no room, because what was there before is no longer true.
        """
        freed = len(topic) + len(before) + _RETAINED_OVERHEAD if before is not None else 0
        wanted = len(topic) + len(data) + _RETAINED_OVERHEAD if data else 0
        if self._retained_bytes - freed + wanted > _RETAINED_MAX:
            self._log_once(
                "retained",
                "the embedded broker keeps no further retained messages, because they exceed "
                f"{_RETAINED_MAX} bytes; clear those that nobody needs, or restart serd",
            )
            data, wanted = None, 0
        self._retained_bytes += wanted - freed
        return data

    def _log_once(self, kind: str, text: str) -> None:
        if kind not in self._logged:
            self._logged.add(kind)
            _log.warning("%s", text)


class _Table(dict[str, Any]):
    """A dictionary that may change while it is iterated over."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.keys()))

    def items(self) -> Any:
        """A snapshot of all entries."""
        return list(super().items())


def check(port: int) -> None:
    """Check whether an embedded broker could be started.

    Args:
        port: Its TCP port.

    Raises:
        ConfigError: Its package is not installed.
        UnavailableError: It cannot listen on that port.
    """
    if importlib.util.find_spec("amqtt") is None:
        raise _missing("amqtt")
    _check_port(port)


def _missing(package: str) -> ConfigError:
    return ConfigError(
        f"mqtt.host: embedded needs a package that is not installed: {package}",
        remedy="install serd-emotion[embedded], or set mqtt.host to a broker of yours",
    )


def _check_port(port: int) -> None:
    if reason := why_port_is_taken(port):
        raise UnavailableError(
            f"the embedded broker cannot listen on {LOOPBACK}:{port}: {reason}",
            remedy="another broker may be running there; set mqtt.port, or use that broker",
        )


def _import_broker() -> type[Any]:
    try:
        from amqtt.broker import Broker  # noqa: PLC0415 - optional, and takes half a second
    except ImportError as error:
        raise _missing(error.name or str(error)) from error

    class TidyBroker(Broker):  # type: ignore[misc, unused-ignore]
        """Fixes problems of the original with several clients.

        It leaves connections to the garbage collector; it iterates over tables that change
        meanwhile and loses a connection over that; it sends each new client the retained messages
        of everybody's subscriptions; it does not answer MQTT 5 clients; and it takes and keeps
        messages of any size.
        """

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._subscriptions = _Table()
            self._retained_messages = _Table()
            self._bounds = _Bounds()

        async def retain_message(
            self, source_session: Any, topic_name: str, data: bytes | None, qos: int | None = None
        ) -> None:
            before = self._retained_messages.get(topic_name)
            data = self._bounds.admit(topic_name, data, before.data if before else None)
            await super().retain_message(source_session, topic_name, data, qos)

        async def _publish_retained_messages_for_subscription(
            self, subscription: tuple[str, int], session: Any
        ) -> None:
            subscribers = self._subscriptions.get(subscription[0], ())
            if any(subscriber is session for subscriber, _ in subscribers):
                await super()._publish_retained_messages_for_subscription(subscription, session)

        async def stream_connected(
            self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
        ) -> None:
            try:
                first = _FirstBytes(reader, self._bounds.exceeded)
                if await first.protocol_level() > _PROTOCOL_LEVEL:
                    # The original would read MQTT 5 properties as a client id, and wait.
                    writer.write(_UNKNOWN_VERSION)
                    await writer.drain()
                    return
                await super().stream_connected(first, writer, listener_name)
            except (OSError, EOFError) as error:  # the client may be gone already
                _log.debug("the embedded broker lost a client: %s", error)
            finally:
                writer.close()

    return TidyBroker
