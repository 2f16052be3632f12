"""A publisher without a network, for tests of the pipeline."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.events.event import Event
    from serd.events.journal import Journal
    from serd.events.state import RoomState


class MemoryPublisher:
    """Records announcements, in order.

    Args:
        journal: Where events are handed over and acknowledged, as the real publisher does.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._changed = threading.Condition()
        self.events: list[Event] = []
        self.states: list[RoomState] = []
        self.announcements: list[tuple[Event | None, bool | None, bool | None]] = []
        """Event, speech and mute switch of each announcement."""

    def announce(
        self,
        *,
        event: Event | None = None,
        state: RoomState | None = None,
        speech: bool | None = None,
        muted: bool | None = None,
    ) -> None:
        """Record an announcement."""
        if event is not None and self._journal is not None:
            event = self._journal.hand_over(event)
            self._journal.ack(event.node, event.seq)
        with self._changed:
            self.announcements.append((event, speech, muted))
            if event is not None:
                self.events.append(event)
            if state is not None:
                self.states.append(state)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[MemoryPublisher], bool], timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for a condition; return whether it holds."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)
