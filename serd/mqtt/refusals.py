"""What the broker takes of us, and what it does not: found out, said once, and remembered.

An MQTT 5 broker says what it refuses. Of others two things are found out: a message after which
they hang up (:class:`Suspicion`), and a topic on which nothing comes back, because access rules
make a broker drop in silence what it has acknowledged (:class:`Echo`).
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
"""What is published under one's own name comes back within this time, or not at all."""

_SOON_S: Final = 10.0
_UNLUCKY: Final = 2
_STRIKES: Final = 2
_STRIKES_EVENT: Final = 5
_EVENT_S: Final = 60.0
_FORGOTTEN_S: Final = 3600.0


class Suspicion:
    """Finds the message after which a broker hangs up, if it does not say which one it was.

    After two connections that ended soon after something was sent, messages go out one at a time.
    One that is the last on several connections in a row is found guilty, and left out for an hour:
    it, and whatever is as large on the same topic. Of an event that must be so more often, and for
    longer than any network flaps, because leaving it out is a loss.

    Args:
        event_topics: Where events go.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, event_topics: set[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._event_topics = event_topics
        self._clock = clock
        self._unlucky = 0
        self._handed: tuple[str, int] | None = None
        self._handed_at = 0.0
        self._accused: tuple[str, int] | None = None
        self._accused_at = 0.0
        self._strikes = 0
        self._guilty: dict[str, tuple[int, float]] = {}
        self.careful = False
        """Whether messages are to go out one at a time, each acknowledged before the next."""

    def handed(self, topic: str, size: int) -> None:
        """A message of so many bytes was handed over."""
        self._handed, self._handed_at = (topic, size), self._clock()

    def hung_up(self, *, in_flight: bool) -> None:
        """The broker has ended the connection, and did not say why.

        Args:
            in_flight: Whether a message had not been acknowledged.
        """
        handed, self._handed = self._handed, None
        if handed is None or not in_flight or self._clock() - self._handed_at > _SOON_S:
            return
        if not self.careful:
            self._unlucky += 1
            self.careful = self._unlucky >= _UNLUCKY
            return
        now = self._clock()
        if handed != self._accused:
            self._accused, self._accused_at, self._strikes = handed, now, 0
        self._strikes += 1
        topic, size = handed
        if topic in self._event_topics:
            guilty = self._strikes >= _STRIKES_EVENT and now - self._accused_at >= _EVENT_S
        else:
            guilty = self._strikes >= _STRIKES
        if guilty:
            self._guilty[topic] = size, self._clock() + _FORGOTTEN_S
            self._accused, self._strikes = None, 0

    def well(self) -> None:
        """Everything was delivered."""
        self.careful, self._unlucky = False, 0

    def bytes_max(self, topic: str) -> int | None:
        """The largest packet that may go out on a topic, if that is limited."""
        found = self._guilty.get(topic)
        if found is None:
            return None
        size, until = found
        if self._clock() >= until:
            del self._guilty[topic]
            return None
        return size - 1

    def refusal(self, topic: str, size: int) -> Refusal | None:
        """Why a message is not sent; None if it is."""
        most = self.bytes_max(topic)
        if most is None or size <= most:
            return None
        return Refusal(f"has {size} bytes, and the broker hangs up after it, again and again", size)


class Echo:
    """The first event of a connection to a broker that gives no reasons: delivered if it returns.

    Args:
        delivery: What the broker has acknowledged.
        payload: What is to come back.
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
        """Something has come on its topic; returns whether it is this."""
        self._back = self._back or payload == self._payload
        return self._back

    def is_published(self) -> bool:
        """Whether it is acknowledged and has come back."""
        return self._back and self._delivery.is_published()

    @property
    def refusal(self) -> Refusal | None:
        """Why it was not taken, if that is known or seems so by now."""
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
"""What is wrong with a topic of one's own on which nothing returns."""


class Refusals:
    """What the broker does not take, each said once."""

    def __init__(self) -> None:
        self._known: dict[str, Refusal] = {}
        self._told: Limits | None = None

    def tell_limits(self, limits: Limits, address: str) -> None:
        """Say what a broker does not offer that serd would use.

        Args:
            limits: Of the broker, as it has told them.
            address: Of the broker.
        """
        if limits == self._told:
            return
        self._told = limits
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
        """A message was not taken.

        Args:
            topic: Where it should have gone.
            refusal: Why not.
            then: What follows from that, for people.
        """
        before = self._known.get(topic)
        self._known[topic] = refusal
        # The size of a state differs a little from message to message.
        if before is None or (before.size is None) != (refusal.size is None):
            _log.warning("%s %s%s", topic, refusal.reason, then and f"; {then}")

    def judge(self, topic: str, refusal: Refusal | None) -> None:
        """A message was refused, or taken."""
        if refusal is None:
            self.taken(topic)
        else:
            self.refused(topic, refusal)

    def taken(self, topic: str) -> None:
        """A message was taken."""
        if self._known.pop(topic, None) is not None:
            _log.info("the broker takes %s again", topic)

    @property
    def trouble(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        if not self._known:
            return ""
        (topic, refusal), *others = self._known.items()
        more = f" (not taken either: {', '.join(name for name, _ in others)})" if others else ""
        return f"{topic} {refusal.reason}{more}"
