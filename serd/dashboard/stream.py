"""What every browser is told, without one that is slow holding up the others or filling memory.

A browser's queue holds the *names* of the rooms that changed (what is told of a room is how it is
when the browser takes it) and at most so many events; when there are more, the oldest go, and
the browser is told how many, so that it can ask for the history.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from serd.dashboard.nodes import Rooms
    from serd.events.event import Event

EVENTS_MAX: Final = 500
"""Events that wait for one browser."""

BROWSERS_MAX: Final = 64
"""Open streams."""

PING_S: Final = 15.0
"""A stream on which nothing happens says so at least this often."""

_GATHER_S: Final = 0.05  # changes within this time travel together: a hundred rooms, one message

_encode: Final = msgspec.json.Encoder().encode


def message(kind: str, content: object) -> bytes:
    """One server-sent event (HTML Standard, 9.2); JSON has no line breaks of its own."""
    return b"event: " + kind.encode() + b"\ndata: " + _encode(content) + b"\n\n"


class Browser:
    """One open stream and what waits for it."""

    def __init__(self) -> None:
        self.rooms: dict[str, None] = {}
        self.events: deque[Event] = deque()
        self.info = False
        self.missed = 0
        self.wake = asyncio.Event()


class Hub:
    """All open streams.

    Args:
        rooms: Where it is read how a room is.
        info: What is said of the dashboard itself.
    """

    def __init__(self, rooms: Rooms, info: Callable[[], dict[str, Any]]) -> None:
        self._rooms = rooms
        self._info = info
        self._browsers: set[Browser] = set()
        self._changed: set[asyncio.Event] = set()
        self._closed = False
        self.dropped = 0
        """Events that a browser was too slow for."""

    def __len__(self) -> int:
        return len(self._browsers)

    @property
    def full(self) -> bool:
        """Whether no further stream is opened."""
        return self._closed or len(self._browsers) >= BROWSERS_MAX

    def room_changed(self, name: str) -> None:
        """A node is no longer as it was."""
        for browser in self._browsers:
            browser.rooms[name] = None
            browser.wake.set()
        for changed in self._changed:
            changed.set()

    def event_came(self, event: Event) -> None:
        """An utterance was heard."""
        for browser in self._browsers:
            browser.events.append(event)
            if len(browser.events) > EVENTS_MAX:
                browser.events.popleft()
                browser.missed += 1
                self.dropped += 1
            browser.wake.set()

    def info_changed(self) -> None:
        """The dashboard itself is no longer as it was."""
        for browser in self._browsers:
            browser.info = True
            browser.wake.set()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for browser in self._browsers:
            browser.wake.set()
        for changed in self._changed:
            changed.set()

    async def until(self, condition: Callable[[], bool], patience_s: float) -> bool:
        """Wait until something is so of the rooms; whether it came so in that time."""
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            async with asyncio.timeout(patience_s):
                while not condition() and not self._closed:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return condition()
        else:
            return condition()
        finally:
            self._changed.discard(changed)

    async def stream(self) -> AsyncIterator[bytes]:
        """Everything as it is, then what changes, until the browser goes or :meth:`close`."""
        browser = Browser()
        self._browsers.add(browser)
        try:
            rooms = [room.as_dict() for room in self._rooms]
            yield b"retry: 2000\n\n" + message("hello", {"info": self._info(), "rooms": rooms})
            while not self._closed:
                try:
                    async with asyncio.timeout(PING_S):
                        await browser.wake.wait()
                except TimeoutError:
                    yield message("ping", {})
                    continue
                await asyncio.sleep(0 if self._closed else _GATHER_S)
                browser.wake.clear()
                if told := self._take(browser):
                    yield told
        finally:
            self._browsers.discard(browser)

    def _take(self, browser: Browser) -> bytes:
        parts: list[bytes] = []
        if browser.info:
            browser.info = False
            parts.append(message("info", self._info()))
        if browser.events:
            parts.append(message("events", list(browser.events)))
            browser.events.clear()
        if browser.rooms:
            changed = {name: self._rooms.get(name) for name in browser.rooms}
            browser.rooms.clear()
            if there := [room.as_dict() for room in changed.values() if room]:
                parts.append(message("rooms", there))
            if gone := [name for name, room in changed.items() if room is None]:
                parts.append(message("gone", gone))
        if browser.missed:
            parts.append(message("missed", {"events": browser.missed}))
            browser.missed = 0
        return b"".join(parts)
