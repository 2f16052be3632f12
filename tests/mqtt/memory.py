"""A publisher without a network, for tests and for trying things out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from serd.config import Sensitivity
    from serd.events.event import Event
    from serd.events.state import RoomState
    from serd.mqtt.outbox import EventStore


class MemoryPublisher:
    """Keeps all that it is told, in order. It is a broker that always listens, unless told not to.

    Args:
        store: A journal, if events shall be stamped and acknowledged there as by the real one.
        on_mute: Called by :meth:`command`.
    """

    def __init__(
        self,
        store: EventStore | None = None,
        *,
        on_mute: Callable[[bool], None] | None = None,
    ) -> None:
        self._store = store
        self._on_mute = on_mute
        self._news = threading.Condition()
        self.events: list[Event] = []
        self.states: list[RoomState] = []
        self.speeches: list[bool] = []
        self.mutes: list[bool] = []
        self.sensitivities: list[Sensitivity] = []
        self.telemetries: list[dict[str, Any]] = []
        self.running = False
        self.connected = True
        """Set to False to play a broker that is away; events are then only remembered."""

    def start(self) -> None:
        """Begin."""
        self.running = True

    def stop(self, timeout: float = 2.0) -> None:
        """End."""
        self.running = False

    def drain(self, timeout: float) -> bool:
        """Nothing ever waits, unless the broker is away."""
        return self.connected

    def event_journalled(self, event: Event) -> None:
        """Keep an event."""
        if self._store is not None and self.connected:
            event = self._store.hand_over(event)
            self._store.ack(event.node, event.seq)
        self._keep(self.events, event)

    def state(self, state: RoomState) -> None:
        """Keep a state."""
        self._keep(self.states, state)

    def speech(self, on: bool) -> None:
        """Keep whether somebody speaks."""
        self._keep(self.speeches, on)

    def muted(self, on: bool) -> None:
        """Keep whether the microphone is closed."""
        self._keep(self.mutes, on)

    def sensitivity(self, sensitivity: Sensitivity) -> None:
        """Keep how readily emotions are told."""
        self._keep(self.sensitivities, sensitivity)

    def telemetry(self, figures: Mapping[str, Any]) -> None:
        """Keep figures of health."""
        self._keep(self.telemetries, dict(figures))

    def counters(self) -> dict[str, int]:
        """As those of the real one, as far as there is something to count."""
        return {"published": len(self.events), "reconnects": 0}

    def command(self, mute: bool) -> None:
        """Play a mute command that came in."""
        if self._on_mute is not None:
            self._on_mute(mute)

    def wait_for(self, condition: Callable[[MemoryPublisher], bool], timeout: float) -> bool:
        """Wait until something is so, looked at after each message; False if it never is."""
        with self._news:
            return self._news.wait_for(lambda: condition(self), timeout)

    def _keep(self, shelf: list[Any], thing: object) -> None:
        with self._news:
            shelf.append(thing)
            self._news.notify_all()
