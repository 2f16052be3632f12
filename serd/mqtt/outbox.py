"""What waits to be published: the events in their order, and the latest of each retained value.

Both are filled by the pipeline, which never waits here, and emptied by the publisher's thread.
Both are bounded: events beyond the first few are only in the journal, and a value has one place.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from serd.mqtt.refusals import Echo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.events.event import Event
    from serd.mqtt.link import Refusal

WINDOW: Final = 32
"""Events that may wait for the broker's acknowledgement at one time."""

AGAIN_S: Final = (5.0, 300.0)
"""How soon, at first and at last, an event that the broker refused is handed over again."""

_FRESH: Final = 64


class EventStore(Protocol):
    """What the outbox wants of the journal; see :class:`serd.events.journal.Journal`."""

    def acked_seq(self, node: str) -> int:
        """Every event up to this number is acknowledged."""

    def unacked(self, node: str, *, limit: int = 100, after_seq: int = 0) -> list[Event]:
        """Events that are not, in order."""

    def hand_over(self, event: Event, *, now: float | None = None) -> Event:
        """Stamp the latency, once for all deliveries."""

    def ack(self, node: str, seq: int) -> None:
        """Note an acknowledgement of everything up to ``seq``."""

    def flush(self, *, if_due: bool = False) -> None:
        """Write acknowledgements that wait."""


class Receipt(Protocol):
    """Tells whether a message has arrived; :class:`serd.mqtt.link.Delivery` is one."""

    @property
    def refusal(self) -> Refusal | None:
        """Why the broker has not taken it; None while that is not known, and if it has."""

    def is_published(self) -> bool:
        """Whether the broker has acknowledged it."""


class EventQueue:
    """The events of one node on their way, strictly by ``seq``.

    An event that was just journalled is taken from memory if nothing older waits; in every other
    case (a backlog, an overflow, a new connection) the journal is read. So memory holds at most
    some hundred events, however long the broker is away.

    Args:
        store: The journal.
        node: Whose events.
        window: How many may be in flight.
    """

    def __init__(self, store: EventStore, node: str, *, window: int = WINDOW) -> None:
        self._store = store
        self._node = node
        self._window = window
        self.proven = True
        """Whether acknowledgements can be believed; else an event is delivered if it comes back."""
        self.refusal: Refusal | None = None
        """Why the broker does not take events now; None as soon as it has taken one."""
        self.refused = 0
        """How often it has refused one that waits on."""
        self.refused_in_a_row = 0
        self._again_at = 0.0
        self.left_out: deque[tuple[int, Refusal]] = deque(maxlen=WINDOW)
        """Number and reason of the latest events that the broker will never take."""
        self._lock = threading.Lock()
        self._fresh: deque[Event] = deque(maxlen=_FRESH)
        self._backlog: deque[Event] = deque()
        self._in_flight: deque[tuple[int, Receipt]] = deque()
        self._handed = 0
        self._behind = True

    def add(self, event: Event) -> None:
        """An event was journalled. Never blocks."""
        with self._lock:
            self._fresh.append(event)  # drops the oldest when full; the journal has it

    def begin(self, *, proven: bool) -> None:
        """A new connection.

        Args:
            proven: Whether its acknowledgements can be believed.
        """
        self.proven = proven
        self._again_at = 0.0
        self.restart()

    def came_back(self, payload: bytes) -> bool:
        """A message has come on the topic of the events; whether it was ours, and so proves it."""
        with self._lock:
            receipts = [receipt for _, receipt in self._in_flight]
        found = any(isinstance(each, Echo) and each.received(payload) for each in receipts)
        self.proven = self.proven or found
        return found

    def restart(self) -> None:
        """Whatever is not acknowledged is to be sent again, in order."""
        acked = self._store.acked_seq(self._node)
        with self._lock:
            self._in_flight.clear()
            self._backlog.clear()
            self._handed = acked
            self._behind = True

    def next(self) -> Event | None:
        """The event to hand over now; None if there is none, or too many are in flight.

        Raises:
            UnavailableError: If the journal cannot be read.
        """
        with self._lock:
            # Until it is known that events are taken, one at a time.
            window = self._window if self.proven and self.refusal is None else 1
            if len(self._in_flight) >= window or time.monotonic() < self._again_at:
                return None
            while self._fresh and self._fresh[0].seq <= self._handed:
                self._fresh.popleft()  # went out from the backlog
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
            # A short answer was all there was; what came since then is announced by add().
            self._behind = len(found) == self._window
            if found:
                return found[0]
            while self._fresh and self._fresh[0].seq <= self._handed:
                self._fresh.popleft()
            return self._fresh[0] if self._fresh else None

    def handed(self, event: Event, receipt: Receipt) -> None:
        """The event that :meth:`next` gave was handed over to the network."""
        with self._lock:
            self._in_flight.append((event.seq, receipt))
            self._handed = event.seq
            for queue in (self._backlog, self._fresh):
                while queue and queue[0].seq <= event.seq:
                    queue.popleft()

    def collect(self) -> int:
        """Note acknowledgements, up to the first event that has none yet.

        An event that the broker refuses waits, and with it all that come after; it is to be handed
        over again. One that is too large for the broker is left out, for it would wait for ever.

        Returns:
            How many events were acknowledged since the last call.
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
                    pause = AGAIN_S[0] * 2.0 ** min(self.refused_in_a_row - 1, 16)
                    self._again_at = time.monotonic() + min(AGAIN_S[1], pause)
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
        """Events that wait for the broker's acknowledgement."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether every event that was journalled and announced is acknowledged."""
        with self._lock:
            waiting = any(event.seq > self._handed for event in self._fresh)
            return not (waiting or self._backlog or self._in_flight or self._behind)


class Posting(NamedTuple):
    """A retained message to be published now."""

    topic: str
    payload: bytes
    qos: int


class _Place:
    __slots__ = ("due", "payload", "qos", "receipt")

    def __init__(self, payload: bytes, qos: int) -> None:
        self.payload = payload
        self.qos = qos
        self.due = True
        self.receipt: Receipt | None = None

    @property
    def settled(self) -> bool:
        """Whether no message of this topic is on its way."""
        receipt = self.receipt
        return receipt is None or receipt.refusal is not None or receipt.is_published()


class Board:
    """The retained topics: of each, only the latest value matters.

    At most one message of a topic is in flight (QoS 1); a value that changes meanwhile replaces
    the one that waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}

    def put(self, topic: str, payload: bytes, *, qos: int) -> bool:
        """A topic has a new value. Never blocks.

        Returns:
            Whether it differs from the last one, and so is to be published.
        """
        with self._lock:
            place = self._places.get(topic)
            if place is None:
                self._places[topic] = _Place(payload, qos)
            elif place.payload == payload:
                return False
            else:
                place.payload = payload
                place.due = True
            return True

    @property
    def topics(self) -> list[str]:
        """On which something was put, in the order of the first time."""
        with self._lock:
            return [*self._places]

    def restart(self) -> None:
        """A new connection, or somebody forgot everything: all values are to be published."""
        with self._lock:
            for place in self._places.values():
                place.due = True
                place.receipt = None

    def due(self) -> Iterator[Posting]:
        """Each value that can be published now; tell :meth:`posted` before taking the next."""
        for topic, place in list(self._places.items()):
            with self._lock:
                if not place.due or not place.settled:
                    continue
                posting = Posting(topic, place.payload, place.qos)
            yield posting

    def posted(self, posting: Posting, receipt: Receipt) -> None:
        """The posting was handed over to the network."""
        with self._lock:
            place = self._places[posting.topic]
            place.due = place.payload != posting.payload
            place.receipt = receipt if posting.qos > 0 or receipt.refusal else None

    def outcomes(self) -> Iterator[tuple[str, Refusal | None]]:
        """Of each value that has arrived or was refused since the last call: topic and refusal."""
        for topic, place in list(self._places.items()):
            with self._lock:
                receipt = place.receipt
                if receipt is None or not place.settled:
                    continue
                place.receipt = None
            yield topic, receipt.refusal

    @property
    def idle(self) -> bool:
        """Whether every value is published, and acknowledged or refused if that can be known."""
        with self._lock:
            return all(not place.due and place.settled for place in self._places.values())
