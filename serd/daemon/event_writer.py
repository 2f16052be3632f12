"""Writes events to the journal on a thread of its own, so that listening never waits for the disk.

One writer serves all nodes of a daemon. Events wait here, in order, while the journal is locked by
another program or cannot be written; each is passed on only after it is on the disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from serd.errors import SerdError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from serd.events.event import Event
    from serd.events.journal import Journal

log = logging.getLogger(__name__)

QUEUE_MAX: Final = 256
"""Events per node that may wait for the journal: about a quarter of an hour of uninterrupted
speech. Beyond that the oldest are lost, and counted."""

BATCH: Final = 32
"""Maximum number of waiting events that are written in one transaction."""

RETRY_S: Final = 1.0
"""Interval at which a journal that refused is tried again, and of the heartbeat."""

GIVE_UP_S: Final = 60.0
"""How long a recording waits for a journal that refuses."""


class EventsRefusedError(SerdError):
    """The journal has refused the events of a recording for too long."""

    exit_code = UnavailableError.exit_code


Entry = tuple["Event", float]
"""An event without a number, and the arrival of its last sample (monotonic seconds)."""


class EventWriter:
    """Writes events in order. All methods may be called from any thread; none waits for the disk.

    Args:
        journal: The journal.
        queue_max: Maximum number of waiting events per node.
        unwritten: Events that an earlier writer could not write; they come first.
    """

    def __init__(
        self, journal: Journal, *, queue_max: int = QUEUE_MAX, unwritten: Iterable[Entry] = ()
    ) -> None:
        self._journal = journal
        self._queue_max = queue_max
        self._changed = threading.Condition()
        self._queue: deque[Entry] = deque(unwritten)
        self._writing: list[Entry] = []
        self._counts = Counter(event.node for event, _ in self._queue)
        self._callbacks: dict[str, Callable[[Event], None]] = {}
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self.lost: Counter[str] = Counter()
        """Number of events lost without a number, by node."""
        self.trouble: str | None = None
        """Why events wait; None if they do not."""
        self.heartbeat = time.monotonic()
        """When the thread last made a round (monotonic)."""

    # ------------------------------------------------------------------ for the pipelines

    def connect(self, node: str, written: Callable[[Event], None]) -> None:
        """Set the callback for a node's events once they are on the disk.

        Args:
            node: The node's name.
            written: Called with each event, numbered and in order, on the writer's thread; must not
                block.
        """
        self._callbacks[node] = written

    def put(self, event: Event, arrived: float) -> None:
        """Queue an event to be written.

        Args:
            event: An event without a number.
            arrived: When the utterance's last sample arrived (monotonic seconds).
        """
        with self._changed:
            self._queue.append((event, arrived))
            self._counts[event.node] += 1
            self._bound(event.node)
            self._changed.notify_all()

    def full(self, node: str) -> bool:
        """Whether the queue of a node is full, so that its next event replaces the oldest."""
        return self._counts[node] >= self._queue_max

    def wait_for_room(self, node: str, timeout: float) -> bool:
        """Wait until the queue of a node is not :meth:`full`; returns whether there is room."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.full(node), timeout)

    def waiting(self, node: str) -> int:
        """Number of a node's events that wait for the disk."""
        return self._counts[node]

    # ------------------------------------------------------------------ for the daemon

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> bool:
        """Start the thread, also again after it died; returns True."""
        with self._changed:
            self._put_back()
        self._thread = threading.Thread(target=self._run, name="serd-journal", daemon=True)
        self._thread.start()
        return True

    def drain(self, timeout: float) -> bool:
        """Wait until the queue is empty; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._counts.total(), timeout)

    def stop(self, timeout: float) -> list[Entry]:
        """Write what waits within the time limit, and end.

        Returns:
            Events that could not be written.
        """
        with self._changed:
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout + RETRY_S)
        with self._changed:
            if not self.alive:
                self._put_back()
            return [*self._writing, *self._queue]

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            self.heartbeat = time.monotonic()
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._deadline is not None, RETRY_S)
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and (left <= 0 or not self._queue):
                    return
                self._writing = list(islice(self._queue, BATCH))
                for _ in self._writing:
                    self._queue.popleft()
            if self._writing and not self._write() and (left is None or left > 0):
                with self._changed:
                    stopping = self._deadline is not None
                    self._changed.wait_for(
                        lambda was=stopping: (self._deadline is not None) != was,  # type: ignore[misc]
                        RETRY_S / 4 if stopping else RETRY_S,
                    )

    def _write(self) -> bool:
        """Write the batch, or put it back; returns whether it is written."""
        batch = self._writing
        try:
            numbered = self._journal.append_many(
                [event for event, _ in batch], arrived=[arrived for _, arrived in batch]
            )
        except SerdError as error:
            with self._changed:
                self._put_back()
            self._refused(error)
            return False
        # Numbered events must not be written again, even if a callback fails.
        self._writing = []
        if self.trouble is not None:
            self.trouble = None
            log.warning("the journal can be written again; %d events were lost", self.lost.total())
        try:
            for event in numbered:
                if (written := self._callbacks.get(event.node)) is not None:
                    written(event)
        finally:
            with self._changed:
                self._counts.subtract(event.node for event in numbered)
                self._changed.notify_all()
        return True

    def _put_back(self) -> None:
        """Return an unwritten batch to the queue; the caller holds the lock."""
        self._queue.extendleft(reversed(self._writing))
        self._writing = []
        for node in list(self._counts):
            self._bound(node)

    def _bound(self, node: str) -> None:
        """Drop a node's oldest events beyond the limit; the caller holds the lock."""
        while self._counts[node] > self._queue_max:
            oldest = next((entry for entry in self._queue if entry[0].node == node), None)
            if oldest is None:  # all of them are just being written
                return
            self._queue.remove(oldest)
            self._counts[node] -= 1
            self.lost[node] += 1
            if (lost := self.lost.total()) in {1, 10, 100} or lost % 1000 == 0:
                log.error("%d events are lost: the journal cannot be written", lost)

    def _refused(self, error: SerdError) -> None:
        if self.trouble is None:
            log.error("%s; events wait in memory", error)
        elif error.message != self.trouble:
            log.error("%s", error)
        self.trouble = error.message
