"""Events are sent in order whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from serd.mqtt.outbox import EventQueue
from tests.mqtt.samples import NODE, FakeReceipt, new_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.events.event import Event

TEMPLATE = new_event()


class FakeStore:
    """A journal in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.acked = 0
        self.reads = 0

    def append(self) -> Event:
        event = replace(TEMPLATE, seq=len(self.events) + 1)
        self.events.append(event)
        return event

    def acked_seq(self, node: str) -> int:
        return self.acked

    def unacked(self, node: str, *, limit: int = 100, after_seq: int = 0) -> list[Event]:
        self.reads += 1
        floor = max(after_seq, self.acked)
        return [event for event in self.events if event.seq > floor][:limit]

    def hand_over(self, event: Event, *, now: float | None = None) -> Event:
        return event

    def ack(self, node: str, seq: int) -> None:
        assert seq > self.acked
        self.acked = seq

    def flush(self, *, if_due: bool = False) -> None:
        return


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


def hand_over_all(queue: EventQueue) -> list[tuple[int, FakeReceipt]]:
    handed = []
    while (event := queue.next()) is not None:
        receipt = FakeReceipt()
        queue.handed(event, receipt)
        handed.append((event.seq, receipt))
    return handed


def test_a_new_event_is_not_read_from_the_journal(store: FakeStore) -> None:
    queue = EventQueue(store, NODE)
    queue.restart()
    assert queue.next() is None
    reads = store.reads
    for _ in range(10):
        event = store.append()
        queue.add(event)
        assert queue.next() is event
        queue.handed(event, FakeReceipt(done=True))
        queue.collect()
    assert store.reads == reads
    assert queue.idle


def test_the_backlog_is_sent_first(store: FakeStore) -> None:
    for _ in range(5):
        store.append()
    queue = EventQueue(store, NODE)
    queue.restart()
    queue.add(store.append())
    assert [seq for seq, _ in hand_over_all(queue)] == [1, 2, 3, 4, 5, 6]


def test_the_in_flight_window_is_respected(store: FakeStore) -> None:
    queue = EventQueue(store, NODE, window=4)
    queue.restart()
    for _ in range(10):
        queue.add(store.append())
    first = hand_over_all(queue)
    assert [seq for seq, _ in first] == [1, 2, 3, 4]
    assert queue.in_flight == 4
    first[1][1].done = True
    assert queue.collect() == 0  # the first one is still missing
    first[0][1].done = True
    assert queue.collect() == 2
    assert store.acked == 2
    assert [seq for seq, _ in hand_over_all(queue)] == [5, 6]


def test_events_that_overflow_the_queue_are_read_from_the_journal(store: FakeStore) -> None:
    queue = EventQueue(store, NODE, window=10_000)
    queue.restart()
    assert queue.next() is None
    for _ in range(1000):  # more than the queue holds
        queue.add(store.append())
    assert [seq for seq, _ in hand_over_all(queue)] == list(range(1, 1001))


def test_a_restart_resends_unacknowledged_events(store: FakeStore) -> None:
    queue = EventQueue(store, NODE)
    queue.restart()
    for _ in range(3):
        queue.add(store.append())
    receipts = hand_over_all(queue)
    receipts[0][1].done = True
    queue.collect()
    queue.restart()
    receipts[1][1].done = True  # of a lost connection
    assert queue.collect() == 0
    assert [seq for seq, _ in hand_over_all(queue)] == [2, 3]


def test_pruned_events_are_skipped(store: FakeStore) -> None:
    for _ in range(10):
        store.append()
    del store.events[:6]
    queue = EventQueue(store, NODE)
    queue.restart()
    assert [seq for seq, _ in hand_over_all(queue)] == [7, 8, 9, 10]


def test_the_queue_is_not_idle_before_the_journal_was_read(store: FakeStore) -> None:
    store.append()
    queue = EventQueue(store, NODE)
    assert not queue.idle
    queue.restart()
    assert not queue.idle
    for _, receipt in hand_over_all(queue):
        receipt.done = True
    assert not queue.idle
    queue.collect()
    assert queue.idle


class Simulation:
    """Acts as publisher, broker and a subscriber that drops duplicates."""

    def __init__(self, window: int) -> None:
        self.store = FakeStore()
        self.queue = EventQueue(self.store, NODE, window=window)
        self.queue.restart()
        self.seen: list[int] = []
        self._window = window
        self._in_flight: list[FakeReceipt] = []

    def append(self) -> None:
        self.queue.add(self.store.append())

    def append_unannounced(self) -> None:
        self.store.append()

    def hand_over(self) -> bool:
        event = self.queue.next()
        if event is None:
            return False
        self._in_flight.append(FakeReceipt())
        assert len(self._in_flight) <= self._window
        self.queue.handed(event, self._in_flight[-1])
        if event.seq not in self.seen:
            self.seen.append(event.seq)
        return True

    def acknowledge(self) -> None:
        for receipt in self._in_flight:
            receipt.done = True
        self.queue.collect()
        self._in_flight.clear()

    def lose_connection(self) -> None:
        self.queue.restart()
        self._in_flight.clear()


ACTIONS = st.lists(
    st.sampled_from(
        [Simulation.append, Simulation.append_unannounced, Simulation.hand_over,
         Simulation.acknowledge, Simulation.lose_connection]
    ),
    max_size=200,
)  # fmt: skip


@given(actions=ACTIONS, window=st.integers(1, 5))
def test_any_sequence_of_actions_delivers_every_event_in_order(
    actions: list[Callable[[Simulation], object]], window: int
) -> None:
    simulation = Simulation(window)
    for action in actions:
        action(simulation)
    simulation.lose_connection()
    while simulation.hand_over():
        simulation.acknowledge()
    total = len(simulation.store.events)
    assert simulation.seen == list(range(1, total + 1))
    assert simulation.store.acked == total
    assert simulation.queue.idle
