"""Server-sent events for every browser; a slow one holds up no other and fills no memory.

A browser's queue holds the *names* of nodes that changed (their state is read when the browser
takes it) and a limited number of events. Beyond that the oldest are dropped, and the browser learns
how many, so that it can fetch the history.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from serd.dashboard.nodes import KnownNodes
    from serd.events.event import Event

EVENTS_MAX: Final = 500
"""Events queued for one browser."""

BROWSERS_MAX: Final = 64
"""Open streams."""

PING_S: Final = 15.0
"""Seconds after which an idle stream sends a sign of life."""

_BATCH_S: Final = 0.05
"""Changes within this time are sent together: a hundred nodes, one message."""

_encode: Final = msgspec.json.Encoder().encode


def message(kind: str, content: object) -> bytes:
    """One server-sent event (HTML Standard, 9.2); JSON has no line breaks of its own."""
    return b"event: " + kind.encode() + b"\ndata: " + _encode(content) + b"\n\n"


class Browser:
    """One open stream and its queue."""

    def __init__(self) -> None:
        self.nodes: dict[str, None] = {}
        self.events: deque[Event] = deque()
        self.info = False
        self.missed = 0
        self.wake = asyncio.Event()


class Hub:
    """All open streams.

    Args:
        nodes: The state of every node.
        info: Returns the state of the dashboard itself.
    """

    def __init__(self, nodes: KnownNodes, info: Callable[[], dict[str, Any]]) -> None:
        self._nodes = nodes
        self._info = info
        self._browsers: set[Browser] = set()
        self._changed: set[asyncio.Event] = set()
        self._closed = False
        self.dropped = 0
        """Events dropped because a browser was too slow."""

    def __len__(self) -> int:
        return len(self._browsers)

    @property
    def full(self) -> bool:
        """Whether no further stream may be opened."""
        return self._closed or len(self._browsers) >= BROWSERS_MAX

    def node_changed(self, name: str) -> None:
        """Queue a node's new state."""
        for browser in self._browsers:
            browser.nodes[name] = None
            browser.wake.set()
        for changed in self._changed:
            changed.set()

    def add_event(self, event: Event) -> None:
        """Queue an event."""
        for browser in self._browsers:
            browser.events.append(event)
            if len(browser.events) > EVENTS_MAX:
                browser.events.popleft()
                browser.missed += 1
                self.dropped += 1
            browser.wake.set()

    def info_changed(self) -> None:
        """Queue the dashboard's own state."""
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

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition on the nodes; returns whether it holds in the end."""
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            async with asyncio.timeout(timeout_s):
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
        """The whole state, then its changes, until the browser leaves or :meth:`close`."""
        browser = Browser()
        self._browsers.add(browser)
        try:
            rooms = [node.as_dict() for node in self._nodes]
            yield b"retry: 2000\n\n" + message("hello", {"info": self._info(), "rooms": rooms})
            while not self._closed:
                try:
                    async with asyncio.timeout(PING_S):
                        await browser.wake.wait()
                except TimeoutError:
                    yield message("ping", {})
                    continue
                await asyncio.sleep(0 if self._closed else _BATCH_S)
                browser.wake.clear()
                if data := self._take(browser):
                    yield data
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
        if browser.nodes:
            changed = {name: self._nodes.get(name) for name in browser.nodes}
            browser.nodes.clear()
            if there := [node.as_dict() for node in changed.values() if node]:
                parts.append(message("rooms", there))
            if gone := [name for name, node in changed.items() if node is None]:
                parts.append(message("gone", gone))
        if browser.missed:
            parts.append(message("missed", {"events": browser.missed}))
            browser.missed = 0
        return b"".join(parts)
