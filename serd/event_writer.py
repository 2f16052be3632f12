"""Takes events to the journal, and keeps them for a while when the journal cannot be written."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from serd.errors import UnavailableError

if TYPE_CHECKING:
    from serd.events.event import Event
    from serd.events.journal import Journal

log = logging.getLogger(__name__)

PATIENCE: Final = 256
"""Events that may wait in memory for a journal that cannot be written: about a quarter of an hour
of speech without a pause. Beyond it the oldest are lost, and counted."""


class EventWriter:
    """Writes events in order; for one thread.

    Args:
        journal: Where they go.
        patience: How many may wait.
    """

    def __init__(self, journal: Journal, *, patience: int = PATIENCE) -> None:
        self._journal = journal
        self._patience = patience
        self._waiting: deque[tuple[Event, float]] = deque()
        self.lost = 0
        """Events that never got a number."""
        self.trouble: str | None = None
        """Why events wait; None while they do not."""

    @property
    def waiting(self) -> int:
        """Events that wait for the disk."""
        return len(self._waiting)

    def write(self, event: Event, arrived: float) -> list[Event]:
        """Write an event, after those that wait.

        Args:
            event: Without a number.
            arrived: When the utterance's last sample arrived (monotonic seconds).

        Returns:
            What is on the disk now, numbered, in order: nothing while the disk refuses.
        """
        self._waiting.append((event, arrived))
        return self.retry()

    def retry(self) -> list[Event]:
        """Try again to write what waits; returns as :meth:`write` does."""
        numbered: list[Event] = []
        while self._waiting:
            event, arrived = self._waiting[0]
            try:
                numbered.append(self._journal.append(event, arrived=arrived))
            except UnavailableError as error:
                self._refused(error)
                return numbered
            self._waiting.popleft()
        if self.trouble is not None:
            self.trouble = None
            log.warning("the journal can be written again; %d events were lost", self.lost)
        return numbered

    def _refused(self, error: UnavailableError) -> None:
        if self.trouble is None:
            log.error("%s; events wait in memory", error)
        self.trouble = error.message
        while len(self._waiting) > self._patience:
            self._waiting.popleft()
            self.lost += 1
            if self.lost in {1, 10, 100} or self.lost % 1000 == 0:
                log.error("%d events are lost: the journal cannot be written", self.lost)
