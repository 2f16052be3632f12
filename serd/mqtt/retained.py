"""What a node leaves on the broker: its retained values, published and removed again."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from serd.mqtt.access import Access
from serd.mqtt.discovery import discovery_topic
from serd.mqtt.link import Link
from serd.mqtt.topics import KINDS, Topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.config import MqttConfig
    from serd.mqtt.link import Refusal
    from serd.mqtt.outbox import Receipt

_TIMEOUT_S: Final = 5.0
_RETAINED_S: Final = 0.3
"""Retained messages follow a subscription's acknowledgement at once."""

_OF_A_TOPIC: Final = ("set", "result")
"""The last levels of the topics below a node's own."""


class RetainedMessage(NamedTuple):
    """A value to be published now."""

    topic: str
    payload: bytes
    qos: int


class _Value:
    __slots__ = ("due", "payload", "qos", "receipt")

    def __init__(self, payload: bytes, qos: int) -> None:
        self.payload = payload
        self.qos = qos
        self.due = True
        self.receipt: Receipt | None = None

    @property
    def settled(self) -> bool:
        """Whether no message of this topic is in flight."""
        receipt = self.receipt
        return receipt is None or receipt.refusal is not None or receipt.is_published()


class RetainedValues:
    """The latest value of each retained topic of a node.

    At most one message per topic is in flight (QoS 1); a newer value replaces the one that waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, _Value] = {}

    def put(self, topic: str, payload: bytes, *, qos: int) -> bool:
        """Set the value of a topic. Never blocks.

        Returns:
            Whether it has changed, and so will be published.
        """
        with self._lock:
            value = self._values.get(topic)
            if value is None:
                self._values[topic] = _Value(payload, qos)
            elif value.payload == payload:
                return False
            else:
                value.payload = payload
                value.due = True
            return True

    @property
    def topics(self) -> list[str]:
        """All topics that have a value, oldest first."""
        with self._lock:
            return [*self._values]

    def restart(self) -> None:
        """Publish all values again, on a new connection or on request."""
        with self._lock:
            for value in self._values.values():
                value.due = True
                value.receipt = None

    def due(self) -> Iterator[RetainedMessage]:
        """Each value that can be published now; call :meth:`handed` before taking the next."""
        for topic, value in list(self._values.items()):
            with self._lock:
                if not value.due or not value.settled:
                    continue
                message = RetainedMessage(topic, value.payload, value.qos)
            yield message

    def handed(self, message: RetainedMessage, receipt: Receipt) -> None:
        """Note that a message was handed over to the network."""
        with self._lock:
            value = self._values[message.topic]
            value.due = value.payload != message.payload
            value.receipt = receipt if message.qos > 0 or receipt.refusal else None

    def outcomes(self) -> Iterator[tuple[str, Refusal | None]]:
        """Topic and refusal of each value that arrived or was refused since the last call."""
        for topic, value in list(self._values.items()):
            with self._lock:
                receipt = value.receipt
                if receipt is None or not value.settled:
                    continue
                value.receipt = None
            yield topic, receipt.refusal

    @property
    def idle(self) -> bool:
        """Whether every value is published, and acknowledged or refused where that is known."""
        with self._lock:
            return all(not value.due and value.settled for value in self._values.values())


def clear(link: Link, values: RetainedValues, topics: Topics, deadline: float) -> bool:
    """Remove everything a node has retained, the status last.

    Args:
        link: An open connection.
        values: The node's values.
        topics: The node's topics.
        deadline: When it has to be done (monotonic).

    Returns:
        Whether the broker has done so by then.

    Raises:
        LinkError: The connection is lost.
    """
    names = [topic for topic in values.topics if topic != topics.status]
    receipts = []
    for topic in (*names, topics.status):
        if not link.make_room(deadline):
            return False
        receipts.append(link.publish(topic, b"", qos=1, retain=True))
    while not all(receipt.settled for receipt in receipts):
        if (left := deadline - time.monotonic()) <= 0:
            return False
        link.step(left)
    return True


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed."""

    node: str
    address: str
    """The broker's address."""
    removed: int
    """Number of retained messages that were there."""
    online: bool
    """Whether the node is running; if so, it will publish everything again."""
    others: tuple[str, ...]
    """Other nodes on the broker."""


def retained_topics(topics: Topics, prefix: str) -> list[str]:
    """Every topic on which a node of this version retains something.

    Discovery comes first, so that Home Assistant forgets the device before it sees it go offline;
    the status comes last.
    """
    values = [getattr(topics, kind) for kind in KINDS if kind not in {"emotion", "status"}]
    return [discovery_topic(topics, prefix), *values, topics.status]


def forget(settings: MqttConfig, node: str, *, announcement_only: bool = False) -> Forgotten:
    """Remove what a node has left on the broker.

    Args:
        settings: The configuration's ``mqtt`` section.
        node: The node's name.
        announcement_only: Remove only Home Assistant's device.

    Raises:
        ConfigError: The name is invalid, or secrets or certificates cannot be used.
        UnavailableError: The broker cannot be reached or refuses.
    """
    topics = Topics(settings.base_topic, node)
    announcement = discovery_topic(topics, settings.discovery_prefix)
    access = Access(settings)
    link = Link(access, f"serd-forget-{os.urandom(4).hex()}")  # `secrets` loads OpenSSL
    link.open()
    try:
        # Wildcards find what other versions have left; the broker may not allow them. Not all that
        # is below the node's name: with mqtt.base_topic: BASE/NODE, other nodes may be there.
        own = f"{topics.base}/{node}/+"
        below = [f"{own}/{level}" for level in _OF_A_TOPIC]
        link.subscribe([announcement, own, *below, f"{topics.base}/+/status"])
        link.wait_for_subscription(_TIMEOUT_S)
        kept = _retained_now(link)
        ours = [name for name in kept if name.startswith(f"{topics.base}/{node}/")]
        topic_list = retained_topics(topics, settings.discovery_prefix)
        topic_list = [announcement] if announcement_only else [*ours, *topic_list]
        for topic in dict.fromkeys(sorted(topic_list, key=lambda topic: topic == topics.status)):
            link.deliver(topic, b"", retain=True, timeout=_TIMEOUT_S)
    finally:
        link.close()
    statuses = {name.split("/")[-2] for name in kept if name.endswith("/status")}
    return Forgotten(
        node=node,
        address=access.address,
        removed=len(kept.keys() & {*topic_list}),
        online=kept.get(topics.status) == b"online",
        others=tuple(sorted(statuses - {node})),
    )


def _retained_now(link: Link) -> dict[str, bytes]:
    """Topics and payloads of the retained messages that a subscription brings.

    Raises:
        LinkError: The connection is lost.
    """
    kept: dict[str, bytes] = {}
    now = quiet_since = time.monotonic()
    deadline = now + _TIMEOUT_S
    while now < min(quiet_since + _RETAINED_S, deadline):
        link.step(_RETAINED_S)
        now = time.monotonic()
        while link.received:
            message = link.received.popleft()
            # What is new would come for ever while the nodes are busy.
            if message.retain and message.payload:
                kept[message.topic] = bytes(message.payload)
                quiet_since = now
    return kept
