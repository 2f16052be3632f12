"""Follows one node, or all of them, over any interruption."""

from __future__ import annotations

import logging
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from serd.backoff import Backoff
from serd.errors import ConfigError
from serd.logs import RepeatedWarnings
from serd.mqtt.access import Access
from serd.mqtt.client import MESSAGE_LIMIT, Wake
from serd.mqtt.link import Link, LinkError
from serd.mqtt.messages import EventMessage, Message, decode_message
from serd.mqtt.topics import KINDS, Kind, filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serd.config import MqttConfig
    from serd.mqtt.client import Incoming

_log = logging.getLogger(__name__)

_STEP_S: Final = 1.0
_IDS_REMEMBERED: Final = 4096


class Follower:
    """Messages as they come, for ever: ``for message in Follower(settings): ...``.

    Retained messages come first after each connection. An event that a node sends again (as it
    may after a lost connection) comes once. All happens on the thread that iterates; only
    :meth:`stop` may be called from another, or from a signal handler.

    Args:
        settings: The configuration's ``mqtt`` section.
        node: Name of a node, or ``+`` for all.
        kinds: Which messages are wanted.
        on_connection: Called at each change with whether the broker is there, and why not.
        backoff: Waits between attempts to connect.

    Raises:
        ConfigError: Secrets or certificates cannot be used, or the names make no topic.
    """

    def __init__(
        self,
        settings: MqttConfig,
        *,
        node: str = "+",
        kinds: tuple[Kind, ...] = KINDS,
        on_connection: Callable[[bool, str], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._access = Access(settings)
        self._base = settings.base_topic
        self._filters = filters(self._base, node, kinds)
        self._client_id = f"serd-follower-{secrets.token_hex(4)}"
        self._on_connection = on_connection
        self._backoff = backoff or Backoff(first_s=0.5, longest_s=10.0)
        self._wake = Wake()
        self._stopping = False
        self._unreadable = 0
        self._known: OrderedDict[str, None] = OrderedDict()
        self._told: tuple[bool, str] | None = None
        self._warnings = RepeatedWarnings(_log)
        self.heartbeat = time.monotonic()
        """When the iteration last came round (monotonic); it may be a while ago while it connects,
        or while whoever iterates is busy with a message."""
        self.connected = False
        """Whether the broker is there now."""
        self.received = 0
        """Messages that were handed out."""
        self.rejected = 0
        """Messages that could not be read."""
        self.repeated = 0
        """Events that came again and were not handed out again."""

    @property
    def address(self) -> str:
        """Where the broker is, for people."""
        return self._access.address

    def stop(self) -> None:
        """End the iteration, soon. May be called from any thread or signal handler, and early."""
        self._stopping = True
        self._wake.set()

    def __iter__(self) -> Iterator[Message]:
        """Connect, and hand out messages until :meth:`stop`."""
        while not self._stopping:
            try:
                yield from self._session()
            except (LinkError, ConfigError) as error:
                self._change(connected=False, reason=error.message)
            except Exception:  # noqa: BLE001 - a bug here must not end whoever follows
                _log.exception("following stumbled and begins anew")
                self._change(connected=False, reason="an error in serd")
            if not self._stopping:
                self._pause(self._backoff.next())
        self._change(connected=False, reason="stopped")

    def _session(self) -> Iterator[Message]:
        link = Link(self._access, self._client_id)
        self._unreadable = 0
        try:
            self.heartbeat = time.monotonic()
            link.open(give_up=lambda: self._stopping, wake=self._wake)
            link.subscribe(self._filters)
            refusal_told = False
            self._backoff.connected()
            self._change(connected=True, reason="")
            while not self._stopping:
                self.heartbeat = time.monotonic()
                link.step(_STEP_S, self._wake)
                self._note_dropped(link)
                if link.subscription is False and not refusal_told:
                    refusal_told = True
                    _log.warning("the broker does not let us read %s", ", ".join(self._filters))
                while link.received and not self._stopping:
                    message = self._read(link.received.popleft())
                    if message is not None:
                        self.received += 1
                        yield message
        finally:
            link.close()

    def _read(self, raw: Incoming) -> Message | None:
        try:
            message = decode_message(self._base, raw.topic, raw.payload)
        except Exception as error:  # noqa: BLE001 - anybody may have sent it, and it may be retained
            self.rejected += 1
            _log.debug("cannot read a message on %s: %s", ascii(raw.topic), error)
            return None
        if isinstance(message, EventMessage):
            if message.event.id in self._known:
                self.repeated += 1
                return None
            self._known[message.event.id] = None
            if len(self._known) > _IDS_REMEMBERED:
                self._known.popitem(last=False)
        return message

    def _note_dropped(self, link: Link) -> None:
        """Count and tell of what came and was not even a message."""
        while link.giants:
            topic, size = link.giants.popleft()
            self.rejected += 1
            self._warnings.warn(
                f"giant {topic}",
                f"a message of {size} bytes on {topic} was not taken: no message of a node has "
                f"more than {MESSAGE_LIMIT}",
            )
        self.rejected += link.unreadable - self._unreadable
        self._unreadable = link.unreadable
        self._warnings.flush()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self.heartbeat = time.monotonic()
            self._wake.wait(min(left, _STEP_S))

    def _change(self, *, connected: bool, reason: str) -> None:
        self.connected = connected
        if (connected, reason) == self._told:
            return
        self._told = (connected, reason)
        if self._on_connection is not None:
            self._on_connection(connected, reason)
