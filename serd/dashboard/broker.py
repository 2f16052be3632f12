"""The thread that follows the broker, and the way of its messages into the event loop."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from serd.dashboard.history import Seen
from serd.dashboard.nodes import Rooms
from serd.dashboard.stream import Hub
from serd.errors import UnavailableError
from serd.mqtt.access import Access
from serd.mqtt.commands import encode_switch, send
from serd.mqtt.link import Link
from serd.mqtt.messages import ClearedMessage
from serd.mqtt.retained import forget
from serd.mqtt.topics import Topics
from serd.version import VERSION

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from serd.config import MqttConfig
    from serd.mqtt.commands import CorrectRequest, CorrectResult
    from serd.mqtt.messages import Message

_log = logging.getLogger(__name__)

WAITING_MAX: Final = 20_000
"""Messages that wait for the event loop; when there are more, the oldest go."""

PATIENCE_S: Final = 180.0
"""The thread that follows may be silent for so long: looking up a name may take minutes where
nobody answers."""

CORRECTIONS_MAX: Final = 10_000
"""Corrections that are remembered."""

_ONCE: Final = 500  # messages taken before others have their turn
_AGAIN_S: Final = 1.0

_PATIENCE_S: Final = 5.0
_AT_ONCE: Final = 4


class Messages(Protocol):
    """What is followed; :class:`serd.mqtt.follower.Follower` is one."""

    @property
    def address(self) -> str:
        """Where the broker is, for people."""

    @property
    def heartbeat(self) -> float:
        """When the iteration last gave a sign of life, monotonic seconds."""

    def __iter__(self) -> Iterator[Message]:
        """Messages until :meth:`stop`."""

    def stop(self) -> None:
        """End the iteration, soon, from any thread."""


class Watch:
    """What is known of the nodes, kept up to date while :meth:`start` to :meth:`stop`.

    Args:
        follow: Makes what is followed; it is given the callback for changes of the connection.
        base: The topics' base, to be shown.
    """

    def __init__(
        self, follow: Callable[[Callable[[bool, str], None]], Messages], *, base: str = "serd"
    ) -> None:
        self.rooms = Rooms()
        self.seen = Seen()
        self.corrections: dict[str, str | None] = {}
        """What was said by this dashboard, by event: an emotion, ``not``, or None: taken back."""
        self.hub = Hub(self.rooms, self.info)
        self._base = base
        self._messages = follow(self._tell_connection)
        self._waiting: deque[Message] = deque(maxlen=WAITING_MAX)
        self._scheduled = False
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="serd-dashboard-mqtt", daemon=True)
        self.stumbled = 0
        """Messages that a bug in the dashboard kept from being taken."""
        self.connected = False
        """Whether the broker is there."""
        self.reason = "connecting"
        """Why it is not."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to follow; messages are taken on this loop."""
        self._loop = loop
        self._thread.start()

    def stop(self, timeout: float = 0.3) -> None:
        """End it; does not wait long for a broker that does not answer."""
        self._stopping.set()
        self.hub.close()
        self._messages.stop()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def info(self) -> dict[str, Any]:
        """What is said of the dashboard itself."""
        return {
            "version": VERSION,
            "broker": self._messages.address,
            "base_topic": self._base,
            "connected": self.connected,
            "reason": self.reason,
            "nodes": len(self.rooms),
            "browsers": len(self.hub),
            "dropped": self.hub.dropped,
            "ignored": self.rooms.ignored + self.stumbled,
        }

    @property
    def trouble(self) -> str:
        """Why what is shown may be old, though nobody says so; empty while all is well.

        A broker that is away is not meant: that is shown.
        """
        if self._loop is None or self._stopping.is_set():
            return ""
        if not self._thread.is_alive():
            return "the thread that follows the broker has died"
        silent = time.monotonic() - self._messages.heartbeat
        if silent > PATIENCE_S:
            return f"the thread that follows the broker has been silent for {silent:.0f} s"
        return ""

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception:  # noqa: BLE001 - a thread that dies unseen shows old rooms for ever
                _log.exception("following the broker stumbled and begins anew")
                self._stopping.wait(_AGAIN_S)
            else:
                return

    def _follow(self) -> None:
        for message in self._messages:
            self._waiting.append(message)
            if not self._scheduled:
                self._scheduled = True
                self._call(self._drain)

    def _call(self, work: Callable[..., object], *arguments: object) -> None:
        if self._loop is None:  # nothing is followed before start()
            return
        try:
            self._loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:  # the loop has ended before us
            self._stopping.set()
            self._messages.stop()

    def _drain(self) -> None:
        # Cleared first: a message that comes while these are taken schedules the next round.
        self._scheduled = False
        for _ in range(min(_ONCE, len(self._waiting))):
            message = self._waiting.popleft()
            try:
                self.take(message)
            except Exception:  # noqa: BLE001 - the next one may be of another room
                self.stumbled += 1
                _log.exception("a message of %s could not be taken", message.node)
        if self._waiting:
            self._scheduled = True
            self._call(self._drain)

    def said(self, event_id: str, word: str | None) -> None:
        """Remember what somebody said of an event by this dashboard; the oldest is given up."""
        self.corrections.pop(event_id, None)
        self.corrections[event_id] = word
        if len(self.corrections) > CORRECTIONS_MAX:
            del self.corrections[next(iter(self.corrections))]

    def take(self, message: Message) -> None:
        """Take one message, on the loop's thread."""
        if isinstance(message, ClearedMessage):
            if self.rooms.clear(message):
                self.hub.room_changed(message.node)
                self.hub.info_changed()
            return
        changed = self.rooms.take(message)
        if changed is None:
            return
        room, event = changed
        if event is not None:
            self.seen.add(event)
            self.hub.event_came(event)
        self.hub.room_changed(room.name)

    def _tell_connection(self, connected: bool, reason: str) -> None:
        self._call(self._set_connection, connected, reason)

    def _set_connection(self, connected: bool, reason: str) -> None:
        if connected:
            _log.info("connected to the broker at %s", self._messages.address)
        elif reason != "stopped":
            _log.warning("%s; trying again until it works", reason)
        self.connected, self.reason = connected, reason
        self.hub.info_changed()


class Switch(Protocol):
    """Sends commands."""

    def send(self, node: str, on: bool) -> None:
        """Tell a node to close (``on``) or open its microphone; blocks until the broker has it.

        Raises:
            SerdError: The broker cannot be reached, or does not take it.
        """

    def correct(self, node: str, request: CorrectRequest) -> CorrectResult:
        """Tell a node what an utterance really was; blocks until it answers.

        Raises:
            SerdError: As :meth:`send`, or the node does not answer.
        """

    def forget(self, node: str) -> None:
        """Clear what a node has left on the broker; blocks until that is done.

        Raises:
            SerdError: As :meth:`send`.
        """


class MqttSwitch:
    """Sends commands to the broker of the configuration.

    Args:
        settings: The configuration's ``mqtt`` section.

    Raises:
        ConfigError: Secrets or certificates cannot be used.
    """

    def __init__(self, settings: MqttConfig) -> None:
        self._access = Access(settings)
        self._settings = settings
        self._base = settings.base_topic
        self._at_once = threading.BoundedSemaphore(_AT_ONCE)

    def correct(self, node: str, request: CorrectRequest) -> CorrectResult:
        """As the protocol says."""
        with self._at_once:
            return send(self._access, Topics(self._base, node), request)

    def forget(self, node: str) -> None:
        """As the protocol says."""
        with self._at_once:
            forget(self._settings, node)

    def send(self, node: str, on: bool) -> None:
        """As the protocol says."""
        topic = Topics(self._base, node).mute_set
        with self._at_once:
            link = Link(self._access, f"serd-dashboard-{secrets.token_hex(4)}")
            link.open()
            try:
                # Not retained: a node ignores retained commands, which a broker would repeat.
                receipt = link.publish(topic, encode_switch(on), qos=1, retain=False)
                deadline = time.monotonic() + _PATIENCE_S
                while not receipt.is_published():
                    if receipt.refusal is not None:
                        raise UnavailableError(f"{topic} {receipt.refusal.reason}")
                    if time.monotonic() > deadline:
                        raise UnavailableError("the broker does not acknowledge the command")
                    link.step(_PATIENCE_S)
            finally:
                link.close()
