"""A node's status on the broker: said, said again where others contradict it, and looked for."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from serd.backoff import Throttle
from serd.mqtt.refusals import ECHO_S, NO_ECHO, Refusals

if TYPE_CHECKING:
    from serd.logs import RepeatedWarnings
    from serd.mqtt.link import Delivery, Link
    from serd.mqtt.topics import Topics

_log = logging.getLogger(__name__)

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"


class OwnStatus:
    """Keeps the status topic of one node right, for the publisher's thread.

    Args:
        topics: Of the node.
        keepalive_s: Of its connections, seconds.
        warnings: What others can provoke is said there.
        refusals: What the broker does not take is said there.
    """

    def __init__(
        self, topics: Topics, keepalive_s: float, warnings: RepeatedWarnings, refusals: Refusals
    ) -> None:
        self._topic = topics.status
        self._node = topics.node
        self._keepalive_s = keepalive_s
        self._warnings = warnings
        self._refusals = refusals
        self._delivery: Delivery | None = None
        self._back_by = math.inf
        self._own_onlines = 0
        self._own_will_until = 0.0
        self._again = Throttle()
        self.conflict = ""
        """That another client uses this node's name, in words; empty if none does."""

    def begin(self, link: Link, *, embedded: bool, proven: bool) -> None:
        """Say ``online`` on a new connection, before anything is subscribed to.

        Args:
            link: The connection.
            embedded: Whether the broker is the one inside serd.
            proven: Whether its acknowledgements can be believed; else what was said must return.
        """
        self.say(link, ONLINE)
        # It comes back, if at all, as the retained one; but the broker inside serd is not in order.
        self._own_onlines = int(embedded)
        unsure = link.limits.retain and not proven
        self._back_by = time.monotonic() + ECHO_S if unsure else math.inf

    def say(self, link: Link, status: bytes) -> Delivery:
        """Publish it.

        Raises:
            LinkError: The connection is lost.
        """
        self._own_onlines += status == ONLINE
        self._delivery = link.publish(self._topic, status, qos=1, retain=True)
        return self._delivery

    def say_again(self, link: Link) -> None:
        """Contradict what others have said, at most every few seconds.

        Raises:
            LinkError: The connection is lost.
        """
        if self._again.due():
            self.say(link, ONLINE)

    def look(self) -> None:
        """See what has become of what was said."""
        if time.monotonic() > self._back_by:
            self._back_by = math.inf
            self._refusals.refused(self._topic, NO_ECHO)
        if self._delivery is not None and self._delivery.settled:
            self._refusals.judge(self._topic, self._delivery.refusal)
            self._delivery = None

    def ended(self, link: Link) -> None:
        """A connection was lost."""
        # The broker may take this long to miss us, and then sends the will of that connection.
        self._own_will_until = time.monotonic() + 2 * self._keepalive_s
        if link.taken_over:
            self.conflict = "another client uses this node's client id"

    def receive(self, payload: bytes, *, retained: bool) -> None:
        """Something has come on the topic: our own, or somebody else has spoken in our name."""
        if payload == ONLINE:
            self._back_by = math.inf
        if retained:
            return
        if payload == OFFLINE:
            self._again.wanted = True
            if time.monotonic() < self._own_will_until:
                self._own_will_until = 0.0  # ours comes once
                _log.info("the broker noticed only now that the last connection was lost")
            else:
                self._conflict("offline")
        elif payload == ONLINE:
            self._own_onlines -= 1
            if self._own_onlines < 0:
                self._own_onlines = 0
                self._conflict("online")

    def _conflict(self, status: str) -> None:
        self._warnings.warn(
            "conflict",
            f"somebody else says that {self._node} is {status}: is a second serd running with "
            "this node name?",
        )
        self.conflict = "another serd seems to use this node name"
