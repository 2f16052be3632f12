"""Events on their way to the broker, strictly in order.

The pipeline adds events and never waits; the publisher's thread hands them over. Memory holds the
latest few events only: a backlog is read from the journal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Protocol

from serd.errors import SerdError
from serd.events.event import encode
from serd.histogram import Histogram
from serd.mqtt.link import LinkError
from serd.mqtt.refusals import Echo
from serd.mqtt.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.events.event import Event
    from serd.mqtt.link import Delivery, Refusal
    from serd.mqtt.refusals import Refusals

_log = logging.getLogger(__name__)

WINDOW: Final = 32
"""Maximum number of events that wait for an acknowledgement."""

RETRY_S: Final = (5.0, 300.0)
"""First and longest interval at which an event that the broker refused is sent again."""

_FRESH: Final = 64
_JOURNAL_RETRY_S: Final = 1.0

LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0, 600.0)
"""Histogram buckets of the latency in seconds; the large ones are for events that waited for a
broker."""


class EventStore(Protocol):
    """The part of :class:`serd.events.journal.Journal` that publishing needs."""

    def acked_seq(self, node: str) -> int:
        """The number up to which all events are acknowledged."""

    def unacked(self, node: str, *, limit: int = 100, after_seq: int = 0) -> list[Event]:
        """Events that are not acknowledged, in order."""

    def hand_over(self, event: Event, *, now: float | None = None) -> Event:
        """Set the latency; the same at every delivery."""

    def ack(self, node: str, seq: int) -> None:
        """Note that everything up to ``seq`` is acknowledged."""

    def flush(self, *, if_due: bool = False) -> None:
        """Write pending acknowledgements."""


class Receipt(Protocol):
    """What became of a message; see :class:`serd.mqtt.link.Delivery`."""

    @property
    def refusal(self) -> Refusal | None:
        """Why the broker did not accept it; None if it did, or if that is not known yet."""

    def is_published(self) -> bool:
        """Whether the broker has acknowledged it."""


class EventQueue:
    """The events of one node, to be sent in the order of ``seq``.

    An event that was just journalled comes from memory if nothing older waits. Otherwise (backlog,
    overflow, new connection) events are read from the journal, so that memory holds a hundred
    events at most, however long the broker is away.

    Args:
        store: The journal.
        node: The node's name.
        window: Maximum number of events in flight.
    """

    def __init__(self, store: EventStore, node: str, *, window: int = WINDOW) -> None:
        self._store = store
        self._node = node
        self._window = window
        self.proven = True
        """Whether acknowledgements are reliable; if not, an event counts when it is echoed."""
        self.refusal: Refusal | None = None
        """Why the broker refuses events now; None as soon as it accepts one."""
        self.refused = 0
        """Number of refusals of events that are sent again."""
        self.refused_in_a_row = 0
        self.left_out: deque[tuple[int, Refusal]] = deque(maxlen=WINDOW)
        """Latest events that the broker can never accept: number and reason."""
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._fresh: deque[Event] = deque(maxlen=_FRESH)
        self._backlog: deque[Event] = deque()
        self._in_flight: deque[tuple[int, Receipt]] = deque()
        self._handed = 0
        self._behind = True

    def add(self, event: Event) -> None:
        """Add an event that was just journalled. Never blocks."""
        with self._lock:
            self._fresh.append(event)  # drops the oldest when full; the journal has it

    def begin(self, *, proven: bool) -> None:
        """Start over on a new connection.

        Args:
            proven: Whether its acknowledgements are reliable.
        """
        self.proven = proven
        self._retry_at = 0.0
        self.restart()

    def came_back(self, payload: bytes) -> bool:
        """Note a message received on the topic of the events.

        Returns:
            Whether it is one of this queue's, which proves that events arrive.
        """
        with self._lock:
            receipts = [receipt for _, receipt in self._in_flight]
        found = any(isinstance(each, Echo) and each.received(payload) for each in receipts)
        self.proven = self.proven or found
        return found

    def restart(self) -> None:
        """Send everything that is not acknowledged again, in order."""
        acked = self._store.acked_seq(self._node)
        with self._lock:
            self._in_flight.clear()
            self._backlog.clear()
            self._handed = acked
            self._behind = True

    def next(self) -> Event | None:
        """The event to hand over now; None if there is none or the window is full.

        Raises:
            UnavailableError: The journal cannot be read.
        """
        with self._lock:
            # One at a time until it is known that events are accepted.
            window = self._window if self.proven and self.refusal is None else 1
            if len(self._in_flight) >= window or time.monotonic() < self._retry_at:
                return None
            while self._fresh and self._fresh[0].seq <= self._handed:
                self._fresh.popleft()  # was sent from the backlog
            if self._backlog:
                return self._backlog[0]
            if not self._behind:
                if not self._fresh:
                    return None
                if self._fresh[0].seq == self._handed + 1:
                    return self._fresh[0]
                self._behind = True
            handed = self._handed
        found = self._store.unacked(self._node, limit=self._window, after_seq=handed)
        with self._lock:
            self._backlog.extend(found)
            # A short answer is complete; later events come through add().
            self._behind = len(found) == self._window
            if found:
                return found[0]
            while self._fresh and self._fresh[0].seq <= self._handed:
                self._fresh.popleft()
            return self._fresh[0] if self._fresh else None

    def handed(self, event: Event, receipt: Receipt) -> None:
        """Note that the event returned by :meth:`next` was handed over to the network."""
        with self._lock:
            self._in_flight.append((event.seq, receipt))
            self._handed = event.seq
            for queue in (self._backlog, self._fresh):
                while queue and queue[0].seq <= event.seq:
                    queue.popleft()

    def collect(self) -> int:
        """Note acknowledgements, up to the first event that has none.

        An event that the broker refuses, and all after it, will be sent again. One that is too
        large for the broker is left out, because it would wait for ever.

        Returns:
            Number of events acknowledged since the last call.
        """
        count = 0
        last = 0
        refused = False
        with self._lock:
            while self._in_flight:
                seq, receipt = self._in_flight[0]
                refusal = receipt.refusal
                if refusal is not None and refusal.size is None:
                    self.refusal, refused = refusal, True
                    self.refused += 1
                    self.refused_in_a_row += 1
                    pause = RETRY_S[0] * 2.0 ** min(self.refused_in_a_row - 1, 16)
                    self._retry_at = refusal.retry_at or (time.monotonic() + min(RETRY_S[1], pause))
                    break
                if refusal is not None:
                    self.left_out.append((seq, refusal))
                elif receipt.is_published():
                    self.refusal, self.refused_in_a_row = None, 0
                    count += 1
                else:
                    break
                self._in_flight.popleft()
                last = seq
        if last:
            self._store.ack(self._node, last)
        if refused:
            self.restart()
        return count

    @property
    def in_flight(self) -> int:
        """Number of events that wait for the broker's acknowledgement."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether every event that was added is acknowledged."""
        with self._lock:
            waiting = any(event.seq > self._handed for event in self._fresh)
            return not (waiting or self._backlog or self._in_flight or self._behind)


class Outbox:
    """All event queues of a publisher: of its node, and of nodes that were renamed or removed.

    Args:
        store: The journal; used on the publisher's thread only.
        topics: The node's topics.
        former: Names of removed nodes whose remaining events are to be sent as well.
    """

    def __init__(self, store: EventStore, topics: Topics, former: Sequence[str] = ()) -> None:
        self._store = store
        self._own = EventQueue(store, topics.node)
        self._queues = {
            Topics(topics.base, name).emotion: EventQueue(store, name) for name in former
        }
        self._queues[topics.emotion] = self._own
        self._trouble: str | None = None
        self._retry_at = 0.0
        self.counts = Counter(
            published=0, acknowledged=0, redelivered=0, publish_failures=0, left_out=0
        )
        self.latency_ms: float | None = None
        """Latency of the latest event; None before the first."""
        self.latencies = Histogram(LATENCY_S)
        """Latency of every event in seconds, at its first hand-over."""

    @property
    def topics(self) -> list[str]:
        """Topics on which events are published."""
        return list(self._queues)

    def add(self, event: Event) -> None:
        """Add an event of the node that was just journalled. Never blocks."""
        self._own.add(event)

    def begin(self, *, proven: bool) -> None:
        """Start over on a new connection; see :meth:`EventQueue.begin`."""
        for queue in self._queues.values():
            queue.begin(proven=proven)

    def came_back(self, topic: str, payload: bytes) -> bool:
        """Note a message received on one of :attr:`topics`; see :meth:`EventQueue.came_back`."""
        return self._queues[topic].came_back(payload)

    def hand_over(
        self, has_room: Callable[[], bool], publish: Callable[[str, bytes], Delivery]
    ) -> None:
        """Hand over the events that can be sent now.

        Args:
            has_room: Whether the network takes another message.
            publish: Sends a payload to a topic.

        Raises:
            LinkError: The connection is lost.
        """
        if time.monotonic() < self._retry_at:
            return
        try:
            for topic, queue in self._queues.items():
                # Not into a congested network: what was handed over cannot be taken back.
                while has_room() and (waiting := queue.next()) is not None:
                    event = self._store.hand_over(waiting)
                    payload = encode(event)
                    delivery = publish(topic, payload)
                    queue.handed(event, delivery if queue.proven else Echo(delivery, payload))
                    self._count(event, again=waiting.latency_ms is not None)
            self._store.flush(if_due=True)
        except LinkError:
            self.counts["publish_failures"] += 1
            raise
        except SerdError as error:
            self.counts["publish_failures"] += 1
            self._retry_at = time.monotonic() + _JOURNAL_RETRY_S
            if self._trouble != error.message:
                self._trouble = error.message
                _log.warning("events cannot be published now: %s", error)
        else:
            self._trouble = None

    def _count(self, event: Event, *, again: bool) -> None:
        self.latency_ms = event.latency_ms
        self.counts["published"] += 1
        if again:
            self.counts["redelivered"] += 1
        elif event.latency_ms is not None:
            self.latencies.observe(event.latency_ms / 1000)

    def collect(self, refusals: Refusals) -> None:
        """Note acknowledgements and refusals.

        Args:
            refusals: Where refusals are reported.
        """
        for topic, queue in self._queues.items():
            refused = queue.refused
            acknowledged = queue.collect()
            self.counts["acknowledged"] += acknowledged
            if acknowledged:
                refusals.accepted(topic)
            while queue.left_out:
                seq, refusal = queue.left_out.popleft()
                self.counts["left_out"] += 1
                refusals.refused(topic, refusal, then="such events are left out")
                _log.debug("event %d is left out: it %s", seq, refusal.reason)
            if queue.refused != refused and queue.refusal is not None:
                self.counts["publish_failures"] += 1
                refusals.refused(topic, queue.refusal, then="events wait in the journal")

    @property
    def in_flight(self) -> int:
        """Number of the node's events that wait for an acknowledgement."""
        return self._own.in_flight

    @property
    def idle(self) -> bool:
        """Whether every event is acknowledged."""
        return all(queue.idle for queue in self._queues.values())

    @property
    def undelivered(self) -> str:
        """Why events wait although the connection is up; empty if they do not."""
        for topic, queue in self._queues.items():
            if queue.refusal is not None and queue.refused_in_a_row > 1:  # one may be temporary
                return f"{topic} {queue.refusal.reason}"
        return ""
