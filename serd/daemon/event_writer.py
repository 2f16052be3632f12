"""Takes events to the journal on a thread of its own, so that listening never waits for the disk.

One writer serves all nodes of a daemon. Events wait here, in order, while the journal is locked by
another program or cannot be written; each is handed over only after it is on the disk.
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

PATIENCE: Final = 256
"""Events of each node that may wait in memory for a journal that cannot be written: about a quarter
of an hour of speech without a pause. Beyond it the oldest are lost, and counted."""

BATCH: Final = 32
"""Events that are written together where several wait: one wait for the disk instead of many."""

RETRY_S: Final = 1.0
"""How soon a journal that refused is tried again, and the longest without a sign of life."""

GIVE_UP_S: Final = 60.0
"""For so long the end of a recording, or the middle of one, waits for a journal that refuses."""


class EventsRefusedError(SerdError):
    """The journal refuses the events of a recording, and has done so for long."""

    exit_code = UnavailableError.exit_code


Entry = tuple["Event", float]
"""An event without a number, and when its utterance's last sample arrived (monotonic seconds)."""


class EventWriter:
    """Writes events in order. Its methods may be called from any thread, and none waits for a disk.

    Args:
        journal: Where they go.
        patience: How many of each node may wait.
        unwritten: Events that an earlier writer could not write; they come first.
    """

    def __init__(
        self, journal: Journal, *, patience: int = PATIENCE, unwritten: Iterable[Entry] = ()
    ) -> None:
        self._journal = journal
        self._patience = patience
        self._news = threading.Condition()
        self._queue: deque[Entry] = deque(unwritten)
        self._writing: list[Entry] = []
        self._counts = Counter(event.node for event, _ in self._queue)
        self._takers: dict[str, Callable[[Event], None]] = {}
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self.lost: Counter[str] = Counter()
        """By node: events that never got a number."""
        self.trouble: str | None = None
        """Why events wait; None while they do not."""
        self.heartbeat = time.monotonic()
        """When the thread last came round (monotonic)."""

    # ------------------------------------------------------------------ the pipelines' side

    def connect(self, node: str, taker: Callable[[Event], None]) -> None:
        """Say who is told of a node's events once they are on the disk, numbered and in order.

        Args:
            node: Whose events.
            taker: Called on the writer's thread; must not block.
        """
        self._takers[node] = taker

    def put(self, event: Event, arrived: float) -> None:
        """Take an event; it is written soon, after those that wait.

        Args:
            event: Without a number.
            arrived: When the utterance's last sample arrived (monotonic seconds).
        """
        with self._news:
            self._queue.append((event, arrived))
            self._counts[event.node] += 1
            self._bound(event.node)
            self._news.notify_all()

    def full(self, node: str) -> bool:
        """Whether the next event of a node would cost its oldest that waits."""
        return self._counts[node] >= self._patience

    def wait_for_room(self, node: str, timeout: float) -> bool:
        """Wait until :meth:`full` is no longer so; whether there is room."""
        with self._news:
            return self._news.wait_for(lambda: not self.full(node), timeout)

    def waiting(self, node: str) -> int:
        """Events of a node that wait for the disk."""
        return self._counts[node]

    # ------------------------------------------------------------------ the daemon's side

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> bool:
        """Start the thread, also again after it died; True."""
        with self._news:
            self._put_back()
        self._thread = threading.Thread(target=self._run, name="serd-journal", daemon=True)
        self._thread.start()
        return True

    def drain(self, timeout: float) -> bool:
        """Wait until nothing waits any more; whether nothing does."""
        with self._news:
            return self._news.wait_for(lambda: not self._counts.total(), timeout)

    def stop(self, timeout: float) -> list[Entry]:
        """Write what waits while there is time, and end.

        Returns:
            What could not be written.
        """
        with self._news:
            self._deadline = time.monotonic() + timeout
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(timeout + RETRY_S)
        with self._news:
            if not self.alive:
                self._put_back()
            return [*self._writing, *self._queue]

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            self.heartbeat = time.monotonic()
            with self._news:
                self._news.wait_for(lambda: self._queue or self._deadline is not None, RETRY_S)
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and (left <= 0 or not self._queue):
                    return
                self._writing = list(islice(self._queue, BATCH))
                for _ in self._writing:
                    self._queue.popleft()
            if self._writing and not self._write() and (left is None or left > 0):
                with self._news:
                    stopping = self._deadline is not None
                    self._news.wait_for(
                        lambda was=stopping: (self._deadline is not None) != was,  # type: ignore[misc]
                        RETRY_S / 4 if stopping else RETRY_S,
                    )

    def _write(self) -> bool:
        """Write what was taken from the queue, or put it back; whether it is written."""
        batch = self._writing
        try:
            numbered = self._journal.append_many(
                [event for event, _ in batch], arrived=[arrived for _, arrived in batch]
            )
        except SerdError as error:
            with self._news:
                self._put_back()
            self._refused(error)
            return False
        # What is numbered must never be written again, whatever happens to those who are told.
        self._writing = []
        if self.trouble is not None:
            self.trouble = None
            log.warning("the journal can be written again; %d events were lost", self.lost.total())
        try:
            for event in numbered:
                if (taker := self._takers.get(event.node)) is not None:
                    taker(event)
        finally:
            with self._news:
                self._counts.subtract(event.node for event in numbered)
                self._news.notify_all()
        return True

    def _put_back(self) -> None:
        """Return to the queue what was taken from it and not written; the caller has the lock."""
        self._queue.extendleft(reversed(self._writing))
        self._writing = []
        for node in list(self._counts):
            self._bound(node)

    def _bound(self, node: str) -> None:
        """Drop the oldest events of a node beyond what may wait; the caller has the lock."""
        while self._counts[node] > self._patience:
            oldest = next((entry for entry in self._queue if entry[0].node == node), None)
            if oldest is None:  # all of them are being written at this moment
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
