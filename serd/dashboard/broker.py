"""The broker as the dashboard uses it: follows all nodes, and sends commands to one of them."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from serd.dashboard.history import RecentEvents
from serd.dashboard.nodes import KnownNodes
from serd.dashboard.stream import Hub
from serd.mqtt.access import Access
from serd.mqtt.commands import encode_switch, send_correction
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

QUEUE_MAX: Final = 20_000
"""Messages that wait for the event loop; when there are more, the oldest are dropped."""

SILENCE_MAX_S: Final = 180.0
"""Seconds without a sign of life from the follower's thread that are still healthy: resolving a
name may take minutes where no name server answers."""

CORRECTIONS_MAX: Final = 10_000
"""Corrections that are remembered."""

_BATCH: Final = 500
"""Messages handled before other tasks of the event loop have their turn."""

_RETRY_S: Final = 1.0
_COMMAND_TIMEOUT_S: Final = 5.0
_COMMANDS_MAX: Final = 4
"""Commands sent at the same time."""


class MessageSource(Protocol):
    """Where messages come from; :class:`serd.mqtt.follower.Follower` is one."""

    @property
    def address(self) -> str:
        """Where the broker is, for people."""

    @property
    def heartbeat(self) -> float:
        """When the iteration last gave a sign of life, monotonic seconds."""

    def __iter__(self) -> Iterator[Message]:
        """Messages until :meth:`stop`."""

    def stop(self) -> None:
        """End the iteration soon; callable from any thread."""


class Monitor:
    """What is known of all nodes, kept up to date from :meth:`start` to :meth:`stop`.

    Args:
        follow: Makes the message source; it is given the callback for connection changes.
        base: Base topic, to be shown.
    """

    def __init__(
        self, follow: Callable[[Callable[[bool, str], None]], MessageSource], *, base: str = "serd"
    ) -> None:
        self.nodes = KnownNodes()
        self.recent = RecentEvents()
        self.corrections: dict[str, str | None] = {}
        """Corrections made in this dashboard, by event: an emotion, ``not``, or None: withdrawn."""
        self.hub = Hub(self.nodes, self.info)
        self._base = base
        self._messages = follow(self._on_connection)
        self._queue: deque[Message] = deque(maxlen=QUEUE_MAX)
        self._scheduled = False
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="serd-dashboard-mqtt", daemon=True)
        self.errors = 0
        """Messages lost to a bug in the dashboard."""
        self.connected = False
        """Whether the broker is connected."""
        self.reason = "connecting"
        """Why it is not."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start following; messages are handled on this loop."""
        self._loop = loop
        self._thread.start()

    def stop(self, timeout: float = 0.3) -> None:
        """Stop following, without waiting long for a broker that does not answer."""
        self._stopping.set()
        self.hub.close()
        self._messages.stop()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def info(self) -> dict[str, Any]:
        """The state of the dashboard itself."""
        return {
            "version": VERSION,
            "now_ms": time.time_ns() // 1_000_000,
            "broker": self._messages.address,
            "base_topic": self._base,
            "connected": self.connected,
            "reason": self.reason,
            "nodes": len(self.nodes),
            "browsers": len(self.hub),
            "dropped": self.hub.dropped,
            "ignored": self.nodes.ignored + self.errors,
        }

    @property
    def failure(self) -> str:
        """Why the page may silently show old data; empty while all is well.

        A broker that is away is no failure: the page shows it.
        """
        if self._loop is None or self._stopping.is_set():
            return ""
        if not self._thread.is_alive():
            return "the thread that follows the broker has died"
        silence = time.monotonic() - self._messages.heartbeat
        if silence > SILENCE_MAX_S:
            return f"the thread that follows the broker has been silent for {silence:.0f} s"
        return ""

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception:  # noqa: BLE001 - if the thread died, the page would show old data
                _log.exception("following the broker failed; starting again")
                self._stopping.wait(_RETRY_S)
            else:
                return

    def _follow(self) -> None:
        for message in self._messages:
            self._queue.append(message)
            if not self._scheduled:
                self._scheduled = True
                self._call(self._drain)

    def _call(self, work: Callable[..., object], *arguments: object) -> None:
        if self._loop is None:  # nothing is followed before start()
            return
        try:
            self._loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:  # the loop is already closed
            self._stopping.set()
            self._messages.stop()

    def _drain(self) -> None:
        # Cleared first: a message that arrives in the meantime schedules the next round.
        self._scheduled = False
        for _ in range(min(_BATCH, len(self._queue))):
            message = self._queue.popleft()
            try:
                self.handle(message)
            except Exception:  # noqa: BLE001 - the next message may be another node's
                self.errors += 1
                _log.exception("a message of %s could not be handled", message.node)
        if self._queue:
            self._scheduled = True
            self._call(self._drain)

    def add_correction(self, event_id: str, emotion: str | None) -> None:
        """Remember a correction made in this dashboard; beyond the limit the oldest is dropped."""
        self.corrections.pop(event_id, None)
        self.corrections[event_id] = emotion
        if len(self.corrections) > CORRECTIONS_MAX:
            del self.corrections[next(iter(self.corrections))]

    def handle(self, message: Message) -> None:
        """Handle one message, on the loop's thread."""
        if isinstance(message, ClearedMessage):
            if self.nodes.clear(message):
                self.hub.node_changed(message.node)
                self.hub.info_changed()
            return
        changed = self.nodes.update(message)
        if changed is None:
            return
        node, event = changed
        if event is not None:
            self.recent.add(event)
            self.hub.add_event(event)
        self.hub.node_changed(node.name)

    def _on_connection(self, connected: bool, reason: str) -> None:
        self._call(self._set_connection, connected, reason)

    def _set_connection(self, connected: bool, reason: str) -> None:
        if connected:
            _log.info("connected to the broker at %s", self._messages.address)
        elif reason != "stopped":
            _log.warning("%s; trying again until it works", reason)
        self.connected, self.reason = connected, reason
        self.hub.info_changed()


class NodeCommands(Protocol):
    """Sends commands to nodes."""

    def mute(self, node: str, on: bool) -> None:
        """Tell a node to close (``on``) or open its microphone; blocks until the broker has it.

        Raises:
            SerdError: The broker cannot be reached, or refuses the command.
        """

    def correct(self, node: str, request: CorrectRequest) -> CorrectResult:
        """Send a node a correction; blocks until the node answers.

        Raises:
            SerdError: As :meth:`mute`, or the node does not answer.
        """

    def forget(self, node: str) -> None:
        """Clear everything a node left on the broker; blocks until that is done.

        Raises:
            SerdError: As :meth:`mute`.
        """


class MqttNodeCommands:
    """Sends each command over a connection of its own to the configured broker.

    Args:
        settings: The configuration's ``mqtt`` section.

    Raises:
        ConfigError: Secrets or certificates cannot be used.
    """

    def __init__(self, settings: MqttConfig) -> None:
        self._access = Access(settings)
        self._settings = settings
        self._base = settings.base_topic
        self._slots = threading.BoundedSemaphore(_COMMANDS_MAX)

    def correct(self, node: str, request: CorrectRequest) -> CorrectResult:
        """See :meth:`NodeCommands.correct`."""
        with self._slots:
            return send_correction(self._access, Topics(self._base, node), request)

    def forget(self, node: str) -> None:
        """See :meth:`NodeCommands.forget`."""
        with self._slots:
            forget(self._settings, node)

    def mute(self, node: str, on: bool) -> None:
        """See :meth:`NodeCommands.mute`."""
        topic = Topics(self._base, node).mute_set
        with self._slots:
            link = Link(self._access, f"serd-dashboard-{secrets.token_hex(4)}")
            link.open()
            try:
                # Not retained: the broker would repeat it, and nodes ignore retained commands.
                link.deliver(topic, encode_switch(on), retain=False, timeout=_COMMAND_TIMEOUT_S)
            finally:
                link.close()
