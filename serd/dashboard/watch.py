"""The thread that follows the broker, and the way of its messages into the event loop."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from serd.dashboard.past import Seen
from serd.dashboard.rooms import Rooms
from serd.dashboard.stream import Hub
from serd.mqtt.messages import ClearedMessage
from serd.version import VERSION

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

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
