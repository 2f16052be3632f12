"""A node's status on the broker: published, and corrected if somebody else changes it."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from serd.backoff import Throttle
from serd.mqtt.refusals import ECHO_S, NO_ECHO, Refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.logs import RepeatedWarnings
    from serd.mqtt.link import Delivery, Link
    from serd.mqtt.topics import Topics

_log = logging.getLogger(__name__)

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"

SHUTDOWN_S: Final = 2.0
"""A broker that shuts down may send a client its own will, just before it drops the connection."""


class OwnStatus:
    """Keeps the status topic of a node correct; used on the publisher's thread.

    Args:
        topics: The node's topics.
        keepalive_s: Keep-alive interval of its connections, in seconds.
        warnings: Logs what others can provoke.
        refusals: Reports what the broker refuses.
        send: Publishes a retained message on a connection, unless the broker is known to refuse it.
    """

    def __init__(
        self,
        topics: Topics,
        keepalive_s: float,
        warnings: RepeatedWarnings,
        refusals: Refusals,
        send: Callable[[Link, str, bytes], Delivery],
    ) -> None:
        self._topic = topics.status
        self._node = topics.node
        self._keepalive_s = keepalive_s
        self._warnings = warnings
        self._refusals = refusals
        self._send = send
        self._delivery: Delivery | None = None
        self._echo_by = math.inf
        self._own_onlines = 0
        self._own_will_until = 0.0
        self._stranger_at = math.inf
        """When an ``offline`` is somebody else's, unless the connection ends before."""
        self._correct = Throttle()
        self.conflict = ""
        """A sentence if another client uses this node's name, else empty."""

    def begin(self, link: Link, *, embedded: bool, proven: bool) -> None:
        """Publish ``online`` on a new connection, before subscribing.

        Args:
            link: The connection.
            embedded: Whether it is the embedded broker.
            proven: Whether its acknowledgements are reliable; if not, the status has to come back.
        """
        self.publish(link, ONLINE)
        # It comes back as a retained message, if at all; the embedded broker may send it as new.
        self._own_onlines = int(embedded)
        unsure = link.limits.retain and not proven
        self._echo_by = time.monotonic() + ECHO_S if unsure else math.inf

    def publish(self, link: Link, status: bytes) -> Delivery:
        """Publish a status.

        Raises:
            LinkError: The connection is lost.
        """
        self._delivery = self._send(link, self._topic, status)
        self._own_onlines += status == ONLINE and self._delivery.refusal is None
        return self._delivery

    def correct(self, link: Link) -> None:
        """Publish ``online`` again if somebody has published otherwise, at a limited rate.

        Raises:
            LinkError: The connection is lost.
        """
        if self._correct.due():
            self.publish(link, ONLINE)

    def collect(self) -> None:
        """Check whether the status has arrived."""
        if time.monotonic() > self._echo_by:
            self._echo_by = math.inf
            self._refusals.refused(self._topic, NO_ECHO)
        if time.monotonic() > self._stranger_at:
            self._stranger_at = math.inf
            self._conflict("offline")
        if self._delivery is not None and self._delivery.settled:
            self._refusals.settle(self._topic, self._delivery.refusal)
            self._delivery = None

    def ended(self, link: Link) -> None:
        """Note that a connection was lost."""
        # It may take the broker this long to notice; it then publishes that connection's will.
        self._own_will_until = time.monotonic() + 2 * self._keepalive_s
        self._stranger_at = math.inf
        if link.taken_over:
            self.conflict = "another client uses this node's client id"

    def receive(self, payload: bytes, *, retained: bool) -> None:
        """Process a message on the topic: this node's own, or somebody else's."""
        if payload == ONLINE:
            self._echo_by = math.inf
        if retained:
            return
        if payload == OFFLINE:
            self._correct.wanted = True
            if time.monotonic() < self._own_will_until:
                self._own_will_until = 0.0  # this connection has only one will
                _log.info("the broker noticed only now that the last connection was lost")
            else:
                self._stranger_at = min(self._stranger_at, time.monotonic() + SHUTDOWN_S)
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
