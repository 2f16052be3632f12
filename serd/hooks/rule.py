"""When a hook runs: emotion, confidence, and a rest between two runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serd.config import Hook
    from serd.events.event import Event


class Rule:
    """Decides for one hook. Used by one thread.

    Args:
        settings: One entry of ``hooks`` in the configuration.
    """

    def __init__(self, settings: Hook) -> None:
        self._settings = settings
        self._triggered = -math.inf

    def wants(self, event: Event, now: float) -> bool:
        """Whether the hook shall run for an event; if so, its cooldown begins.

        Args:
            event: What was heard.
            now: Seconds of a monotonic clock: a corrected wall clock must not silence a hook.
        """
        settings = self._settings
        if settings.emotion and event.emotion not in settings.emotion:
            return False
        if event.confidence < settings.min_confidence:
            return False
        if now - self._triggered < settings.cooldown_s:
            return False
        self._triggered = now
        return True
