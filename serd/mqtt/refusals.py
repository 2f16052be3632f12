"""What the broker refuses: detected, reported once, and remembered.

An MQTT 5 broker says what it refuses: in its acknowledgement, or by ending the connection with a
reason, which does not name the message (:class:`PoisonDetector`). Older ones say nothing; serd
detects a message after which the broker closes the connection (again :class:`PoisonDetector`), and
a topic that access rules forbid, where the broker acknowledges messages and silently drops them
(:class:`Echo`).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from serd.mqtt.client import explain_hang_up
from serd.mqtt.link import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
_RETRY_S: Final = (5.0, 300.0)
_ABOUT_THE_MESSAGE: Final = {
    "", "Packet too large", "Malformed packet", "Payload format invalid",
}  # fmt: skip
"""Reasons that a message of this size or content cannot change; without one, it is most likely
the size."""
_PASSING: Final = {"Quota exceeded"}
"""Reasons that pass by themselves."""


class _Block(NamedTuple):
    """What is not sent on a topic."""

    reason: str
    size: int | None
    """Smallest packet in bytes that is not sent; None: nothing is."""
    until: float
    times: int
    """How often in a row the topic was blocked."""


class PoisonDetector:
    """Finds the message that makes a broker close the connection.

    After two connections that ended soon after a message, messages are sent one at a time. A
    message that is the last on several connections in a row is blocked.

    If its size may be the reason, or the broker gives none, everything at least as large on the
    same topic is blocked for an hour; an event only after more attempts, over a longer time than
    networks usually flap, because that loses it. Other reasons (access rules, a quota) say nothing
    against the message itself: the topic is blocked as a whole, events and whatever exceeds a quota
    for seconds, then minutes, so that they are sent as soon as the broker takes them.

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
        self._reasoned = False  # whether the broker gave a reason for a disconnect
        self._sent: tuple[str, int] | None = None
        self._sent_at = 0.0
        self._suspect: tuple[str, int | None] | None = None
        self._suspect_since = 0.0
        self._strikes = 0
        self._blocked: dict[str, _Block] = {}
        self.one_at_a_time = False
        """Whether each message has to be acknowledged before the next is sent."""

    def sent(self, topic: str, size: int) -> None:
        """Note that a message of ``size`` bytes was handed over."""
        self._sent, self._sent_at = (topic, size), self._clock()

    def disconnected(self, *, in_flight: bool, reason: str = "") -> None:
        """Note that the broker closed the connection, possibly because of a message.

        Args:
            in_flight: Whether a message was not acknowledged yet.
            reason: Name of the MQTT 5 reason code; empty if it gave none.
        """
        last, self._sent = self._sent, None
        now = self._clock()
        if last is None or now - self._sent_at > _SOON_S:
            return
        self._reasoned = self._reasoned or reason != ""
        if not self.one_at_a_time:
            # A message with QoS 0 is never in flight, but a reason tells that there was one.
            if in_flight or reason:
                self._disconnects += 1
                self.one_at_a_time = self._disconnects >= _DISCONNECTS
            return
        if not in_flight:
            return
        topic, size = last
        sized = reason in _ABOUT_THE_MESSAGE
        suspect = topic, size if sized else None
        if suspect != self._suspect:
            self._suspect, self._suspect_since, self._strikes = suspect, now, 0
        self._strikes += 1
        before = self._blocked.get(topic)
        if sized and topic in self._event_topics:
            poison = self._strikes >= _EVENT_STRIKES and now - self._suspect_since >= _EVENT_S
        else:
            # A topic that was just blocked for the same reason needs no further proof.
            again = not sized and before is not None and before.reason == reason
            poison = again or self._strikes >= _STRIKES
        if poison:
            self._block(topic, size if sized else None, reason)

    def _block(self, topic: str, size: int | None, reason: str) -> None:
        now = self._clock()
        before = self._blocked.get(topic)
        pause = _BLOCKED_S
        # Long after the last one, it starts over.
        in_a_row = before is not None and before.size == size and now < before.until + _BLOCKED_S
        times = before.times + 1 if before is not None and in_a_row else 1
        if size is None and (topic in self._event_topics or reason in _PASSING):
            pause = min(_RETRY_S[1], _RETRY_S[0] * 2.0 ** min(times - 1, 16))
        self._blocked[topic] = _Block(reason, size, now + pause, times)
        self._suspect, self._strikes = None, 0

    def delivered(self) -> None:
        """Note that everything was delivered."""
        # With QoS 0, that is known only when the broker has not hung up for a while.
        if not self._reasoned or self._clock() - self._sent_at > _SOON_S:
            self.one_at_a_time, self._disconnects, self._reasoned = False, 0, False

    def bytes_max(self, topic: str) -> int | None:
        """The largest packet that may be sent to a topic; None: no limit is known."""
        found = self._blocked.get(topic)
        if found is None or found.size is None or self._clock() >= found.until:
            return None
        return found.size - 1

    def refusal(self, topic: str, size: int) -> Refusal | None:
        """Why a message must not be sent; None if it may be."""
        found = self._blocked.get(topic)
        if found is None or self._clock() >= found.until:
            return None
        if found.size is None:
            return Refusal(explain_hang_up(found.reason), retry_at=found.until)
        if size < found.size:
            return None
        said = found.reason and f" ({found.reason.lower()})"
        return Refusal(
            f"has {size} bytes, and the broker hangs up after it, again and again{said}", size
        )


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
        self._unreadable: tuple[str, ...] = ()
        self._unreadable_logged: tuple[str, ...] = ()

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

    def unreadable(self, filters: Sequence[str]) -> None:
        """Note the topic filters to which the broker does not let us subscribe on this connection.

        Args:
            filters: All of them; empty at the start of a connection.
        """
        self._unreadable = (*filters,)
        if filters and self._unreadable != self._unreadable_logged:
            self._unreadable_logged = self._unreadable
            _log.warning("%s: check its access list", _cannot_read(filters))

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
        unreadable = self._unreadable
        said = []
        if known:
            (topic, refusal), *others = known
            more = f" (not taken either: {', '.join(name for name, _ in others)})" if others else ""
            said.append(f"{topic} {refusal.reason}{more}")
        if unreadable:
            said.append(_cannot_read(unreadable))
        return "; ".join(said)


def _cannot_read(filters: Sequence[str]) -> str:
    return (
        f"the broker does not let serd subscribe to {', '.join(filters)}, so nothing that is sent "
        "there arrives"
    )
