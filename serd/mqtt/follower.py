"""Follows the messages of one node or all nodes, across interruptions."""

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
_IDS_KEPT: Final = 4096


class Follower:
    """An endless iterator over messages: ``for message in Follower(settings): ...``.

    Retained messages come first after each connection. An event that a node sends again, as after
    a lost connection, comes once. Everything happens on the iterating thread; only :meth:`stop` may
    be called from another thread or a signal handler.

    Args:
        settings: The configuration's ``mqtt`` section.
        node: Name of a node, or ``+`` for all.
        kinds: Kinds of messages to follow.
        on_connection: Called when the connection comes or goes, with whether it is there and why
            not.
        backoff: Intervals between attempts to connect.

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
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._reported: tuple[bool, str] | None = None
        self._warnings = RepeatedWarnings(_log)
        self.heartbeat = time.monotonic()
        """When the iteration last made a round (monotonic); longer ago while it connects or while
        the caller processes a message."""
        self.connected = False
        """Whether the connection is up."""
        self.received = 0
        """Number of messages yielded."""
        self.rejected = 0
        """Number of messages that could not be decoded."""
        self.repeated = 0
        """Number of repeated events, which are not yielded."""

    @property
    def address(self) -> str:
        """The broker's address, for messages."""
        return self._access.address

    def stop(self) -> None:
        """End the iteration soon. May be called from any thread or signal handler, at any time."""
        self._stopping = True
        self._wake.set()

    def __iter__(self) -> Iterator[Message]:
        """Connect, and yield messages until :meth:`stop`."""
        while not self._stopping:
            try:
                yield from self._session()
            except (LinkError, ConfigError) as error:
                self._change(connected=False, reason=error.message)
            except Exception:  # noqa: BLE001 - a bug must not end the caller
                _log.exception("unexpected error while following; reconnecting")
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
            refusal_logged = False
            self._backoff.connected()
            self._change(connected=True, reason="")
            while not self._stopping:
                self.heartbeat = time.monotonic()
                link.step(_STEP_S, self._wake)
                self._note_skipped(link)
                if link.subscription is False and not refusal_logged:
                    refusal_logged = True
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
        except Exception as error:  # noqa: BLE001 - anybody may have sent it, even retained
            self.rejected += 1
            _log.debug("cannot read a message on %s: %s", ascii(raw.topic), error)
            return None
        if isinstance(message, EventMessage):
            if message.event.id in self._seen:
                self.repeated += 1
                return None
            self._seen[message.event.id] = None
            if len(self._seen) > _IDS_KEPT:
                self._seen.popitem(last=False)
        return message

    def _note_skipped(self, link: Link) -> None:
        """Count and log what came in and was skipped."""
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
        if (connected, reason) == self._reported:
            return
        self._reported = (connected, reason)
        if self._on_connection is not None:
            self._on_connection(connected, reason)
