"""What the broker refuses: detected, reported once, and remembered.

An MQTT 5 broker says what it refuses. With older ones, serd detects two cases: a message after
which the broker closes the connection (:class:`PoisonDetector`), and a topic that access rules
forbid, where the broker acknowledges messages and silently drops them (:class:`Echo`).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from serd.mqtt.link import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.mqtt.link import Delivery, Limits

_log = logging.getLogger(__name__)

ECHO_S: Final = 10.0
"""Time within which a message published to a subscribed topic comes back."""

_SOON_S: Final = 10.0
_DISCONNECTS: Final = 2
_STRIKES: Final = 2
_EVENT_STRIKES: Final = 5
_EVENT_S: Final = 60.0
_BLOCKED_S: Final = 3600.0


class PoisonDetector:
    """Finds the message that makes a broker close the connection without giving a reason.

    After two connections that ended soon after a message, messages are sent one at a time. A
    message that is the last on several connections in a row is blocked for an hour, and so is
    everything at least as large on the same topic. An event is blocked only after more attempts,
    over a longer time than networks usually flap, because blocking it loses it.

    Args:
        event_topics: Topics of events.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, event_topics: set[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._event_topics = event_topics
        self._clock = clock
        self._disconnects = 0
        self._sent: tuple[str, int] | None = None
        self._sent_at = 0.0
        self._suspect: tuple[str, int] | None = None
        self._suspect_since = 0.0
        self._strikes = 0
        self._blocked: dict[str, tuple[int, float]] = {}
        self.one_at_a_time = False
        """Whether each message has to be acknowledged before the next is sent."""

    def sent(self, topic: str, size: int) -> None:
        """Note that a message of ``size`` bytes was handed over."""
        self._sent, self._sent_at = (topic, size), self._clock()

    def disconnected(self, *, in_flight: bool) -> None:
        """Note that the broker closed the connection without a reason.

        Args:
            in_flight: Whether a message was not acknowledged yet.
        """
        last, self._sent = self._sent, None
        if last is None or not in_flight or self._clock() - self._sent_at > _SOON_S:
            return
        if not self.one_at_a_time:
            self._disconnects += 1
            self.one_at_a_time = self._disconnects >= _DISCONNECTS
            return
        now = self._clock()
        if last != self._suspect:
            self._suspect, self._suspect_since, self._strikes = last, now, 0
        self._strikes += 1
        topic, size = last
        if topic in self._event_topics:
            poison = self._strikes >= _EVENT_STRIKES and now - self._suspect_since >= _EVENT_S
        else:
            poison = self._strikes >= _STRIKES
        if poison:
            self._blocked[topic] = size, self._clock() + _BLOCKED_S
            self._suspect, self._strikes = None, 0

    def delivered(self) -> None:
        """Note that everything was delivered."""
        self.one_at_a_time, self._disconnects = False, 0

    def bytes_max(self, topic: str) -> int | None:
        """The largest packet that may be sent to a topic; None: no limit is known."""
        found = self._blocked.get(topic)
        if found is None:
            return None
        size, until = found
        if self._clock() >= until:
            del self._blocked[topic]
            return None
        return size - 1

    def refusal(self, topic: str, size: int) -> Refusal | None:
        """Why a message must not be sent; None if it may be."""
        most = self.bytes_max(topic)
        if most is None or size <= most:
            return None
        return Refusal(f"has {size} bytes, and the broker hangs up after it, again and again", size)


class Echo:
    """Receipt of an event that counts as delivered when it comes back.

    Used for the first events on a connection to a broker whose acknowledgements are not reliable.

    Args:
        delivery: The acknowledgement.
        payload: The payload that has to come back.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, delivery: Delivery, payload: bytes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._delivery = delivery
        self._payload = payload
        self._clock = clock
        self._since: float | None = None
        self._back = False

    def received(self, payload: bytes) -> bool:
        """Note a message received on its topic; returns whether it is this one."""
        self._back = self._back or payload == self._payload
        return self._back

    def is_published(self) -> bool:
        """Whether it was acknowledged and came back."""
        return self._back and self._delivery.is_published()

    @property
    def refusal(self) -> Refusal | None:
        """Why it was not accepted; after `ECHO_S` without an echo, `NO_ECHO`."""
        if self._delivery.refusal is not None or self._back or not self._delivery.is_published():
            return self._delivery.refusal
        if self._since is None:
            self._since = self._clock()
        if self._clock() - self._since < ECHO_S:
            return None
        return NO_ECHO


NO_ECHO: Final = Refusal(
    "does not come back: the broker's access rules forbid to write it, or to read it"
)
"""The refusal of a topic on which nothing comes back."""


class Refusals:
    """What the broker refuses now; each refusal is logged once."""

    def __init__(self) -> None:
        self._known: dict[str, Refusal] = {}
        self._reported: Limits | None = None

    def report_limits(self, limits: Limits, address: str) -> None:
        """Log what the broker does not offer and serd would use.

        Args:
            limits: The broker's limits.
            address: The broker's address.
        """
        if limits == self._reported:
            return
        self._reported = limits
        if not limits.retain:
            _log.warning(
                "the broker at %s keeps no retained messages: who subscribes later learns of "
                "state, mute switch and status with their next change", address,
            )  # fmt: skip
        if not limits.qos:
            _log.warning(
                "the broker at %s takes QoS 0 only and acknowledges nothing: an event counts as "
                "delivered when it has left this machine", address,
            )  # fmt: skip

    def refused(self, topic: str, refusal: Refusal, *, then: str = "") -> None:
        """Note that a message was refused.

        Args:
            topic: Its topic.
            refusal: The reason.
            then: The consequence, for the log.
        """
        before = self._known.get(topic)
        self._known[topic] = refusal
        # Not for another size: those of states differ a little from message to message.
        if before is None or (before.size is None) != (refusal.size is None):
            _log.warning("%s %s%s", topic, refusal.reason, then and f"; {then}")

    def settle(self, topic: str, refusal: Refusal | None) -> None:
        """Note that a message was refused, or accepted."""
        if refusal is None:
            self.accepted(topic)
        else:
            self.refused(topic, refusal)

    def accepted(self, topic: str) -> None:
        """Note that a message was accepted."""
        if self._known.pop(topic, None) is not None:
            _log.info("the broker takes %s again", topic)

    @property
    def trouble(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        known = list(self._known.items())  # the publisher's thread may change it
        if not known:
            return ""
        (topic, refusal), *others = known
        more = f" (not taken either: {', '.join(name for name, _ in others)})" if others else ""
        return f"{topic} {refusal.reason}{more}"
