"""Forgetting a node: everything that it left on the broker, so that nobody shows it any more."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

import msgspec

from serd.mqtt.access import Access
from serd.mqtt.discovery import discovery_topic
from serd.mqtt.link import Link
from serd.mqtt.topics import KINDS, Topics

if TYPE_CHECKING:
    from serd.config import MqttConfig

_PATIENCE_S: Final = 5.0
_RETAINED_S: Final = 0.3
"""What is retained comes right after the answer to a subscription."""


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed."""

    node: str
    address: str
    """Of the broker."""
    removed: int
    """Retained messages that were there."""
    online: bool
    """Whether the node said that it runs: it then comes back by itself."""
    others: tuple[str, ...]
    """Nodes that the broker knows besides."""


def left_by(topics: Topics, prefix: str) -> list[str]:
    """Every topic on which a node of this version leaves something, its status last.

    The announcement goes first: Home Assistant forgets the device before it sees it go offline.
    """
    values = [getattr(topics, kind) for kind in KINDS if kind not in {"emotion", "status"}]
    return [discovery_topic(topics, prefix), *values, topics.status]


def forget(settings: MqttConfig, node: str, *, announcement_only: bool = False) -> Forgotten:
    """Remove what a node has left on the broker.

    Args:
        settings: The configuration's ``mqtt`` section.
        node: Name of the node.
        announcement_only: Leave everything but Home Assistant's device.

    Raises:
        ConfigError: The name is none, or secrets or certificates cannot be used.
        UnavailableError: The broker cannot be reached, or does not take it.
    """
    topics = Topics(settings.base_topic, node)
    announcement = discovery_topic(topics, settings.discovery_prefix)
    access = Access(settings)
    link = Link(access, f"serd-forget-{secrets.token_hex(4)}")
    link.open()
    try:
        # With wildcards, for what earlier and later versions leave; the broker may not allow that.
        own = f"{topics.base}/{node}/#"
        asked = [announcement, own, f"{topics.base}/+/status"]
        link.subscribe(asked)
        link.wait_for_subscription(_PATIENCE_S)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < _RETAINED_S:
            before = len(link.received)
            link.step(_RETAINED_S)
            if len(link.received) > before:
                quiet_since = time.monotonic()
        kept = {m.topic: bytes(m.payload) for m in link.received if m.retain and m.payload}
        ours = [name for name in kept if name.startswith(f"{topics.base}/{node}/")]
        topic_list = left_by(topics, settings.discovery_prefix)
        topic_list = [announcement] if announcement_only else [*ours, *topic_list]
        for topic in dict.fromkeys(sorted(topic_list, key=lambda topic: topic == topics.status)):
            link.deliver(topic, b"", retain=True, timeout=_PATIENCE_S)
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
