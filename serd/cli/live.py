"""The events of a daemon on the terminal that it was started from."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final, Self

from serd import language
from serd.cli.colour import echo
from serd.language import many

if TYPE_CHECKING:
    from serd.config import Config
    from serd.events.event import Event

WAITING_MAX: Final = 256
"""Events that wait for a terminal that stands still (Ctrl-S); further ones are not shown."""

_END_S: Final = 2.0


class Live:
    """Shows events as `serd tail` does; whoever hands them over never waits for the terminal.

    A context manager; between its beginning and its end it is called with each event.

    Args:
        config: The configuration, for names and language.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._events: queue.Queue[Event | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._show, name="serd-live", daemon=True)
        self._left_out = 0

    def __call__(self, event: Event) -> None:
        """Show an event, soon."""
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._left_out += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._events.put(None, timeout=_END_S)
        except queue.Full:
            return  # the terminal still stands
        self._thread.join(_END_S)
        if self._left_out:
            said = many(self._left_out, "event was", "events were")
            echo(f"serd: {said} not shown: the terminal stood still", err=True)

    def _show(self) -> None:
        from serd.cli.tail import TerminalLines

        each = self._config.each()
        words = language.chosen(self._config.language)
        screen = TerminalLines(words, {single.node: single.name for single in each})
        for single in each:
            screen.expect(single.node)
        while (event := self._events.get()) is not None:
            screen.event(event)
