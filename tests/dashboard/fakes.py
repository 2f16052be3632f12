"""A fake follower and fake commands, and an application that uses them."""

from __future__ import annotations

import math
import queue
from typing import TYPE_CHECKING

from serd.dashboard.app import make_app
from serd.dashboard.broker import Monitor
from serd.dashboard.settings import Settings
from serd.errors import UnavailableError
from serd.mqtt.commands import CorrectRequest, CorrectResult
from serd.mqtt.messages import ClearedMessage, EventMessage, Message, MuteMessage, StatusMessage
from tests.dashboard.making import made_event, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.applications import Starlette

    from serd.events.event import Event

TOKEN = "a-token-of-twenty-eight-chars"


class FakeFollower:
    """Yields the messages that a test puts into its queue."""

    address = "broker.test:1883"
    heartbeat = math.inf

    def __init__(self, tell: Callable[[bool, str], None]) -> None:
        self.tell = tell
        self.queue: queue.Queue[Message | None] = queue.Queue()

    def __iter__(self) -> Iterator[Message]:
        self.tell(True, "")
        while (message := self.queue.get()) is not None:
            yield message
        self.tell(False, "stopped")

    def stop(self) -> None:
        self.queue.put(None)


class FakeNodeCommands:
    """Records commands; the node obeys at once or never, or the broker is unreachable."""

    def __init__(self) -> None:
        self.monitor: Monitor | None = None
        self.sent: list[tuple[str, bool]] = []
        self.corrections: list[tuple[str, CorrectRequest]] = []
        self.obeyed = True
        self.broken = False

    def mute(self, node: str, on: bool) -> None:
        if self.broken:
            raise UnavailableError("connection refused: is a broker running?")
        self.sent.append((node, on))
        if self.obeyed and self.monitor is not None:
            self.monitor.handle(MuteMessage(node=node, on=on))

    def correct(self, node: str, request: CorrectRequest) -> CorrectResult:
        if self.broken:
            raise UnavailableError("connection refused: is a broker running?")
        self.corrections.append((node, request))
        word = None if request.forget else request.emotion or "not"
        return CorrectResult(
            id=request.id,
            ok=self.obeyed,
            message="as said",
            corrections=len(self.corrections),
            emotion=word,
        )

    def forget(self, node: str) -> None:
        if self.broken:
            raise UnavailableError("connection refused: is a broker running?")
        if self.obeyed and self.monitor is not None:
            self.monitor.handle(ClearedMessage(node=node, kind="status"))


class World:
    """An application with fakes and one node that is online."""

    def __init__(
        self,
        token: str | None = None,
        journals: tuple[Path, ...] = (),
        *,
        ingress: str | None = None,
    ) -> None:
        self.settings = Settings(token=token, journals=journals, ingress=ingress)
        self.commands = FakeNodeCommands()
        self.monitor = Monitor(FakeFollower)
        self.commands.monitor = self.monitor
        self.monitor.handle(StatusMessage(node="attic", online=True))
        self.app: Starlette = make_app(self.settings, self.monitor, self.commands, confirm_s=0.05)

    def hear(self, event: Event | None = None, *, node: str = "attic", seq: int = 1) -> Event:
        event = event or made_event(node, seq, now_ms() - 60_000 + seq * 1000)
        self.monitor.handle(EventMessage(node=node, event=event))
        return event
