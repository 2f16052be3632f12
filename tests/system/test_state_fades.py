"""The state is republished regularly, so that a mood fades even without events."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from serd.audio.source import EndOfSource, SourceStats
from serd.backoff import Backoff
from serd.daemon.event_writer import EventWriter
from serd.daemon.pipeline import Pipeline
from serd.events.event import ModelRef
from serd.events.state import Mood
from tests.broker import wait_until
from tests.mqtt.memory import MemoryPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator


class Silence:
    """An open source without data, like a pipe that nobody writes to."""

    name = "silence"
    live = True
    steady = False
    stats = SourceStats(rate=16_000)

    def __init__(self) -> None:
        self._closed = threading.Event()

    def open(self) -> None:
        self._closed.clear()

    def read(self, timeout: float, batch: int = 0) -> None:
        if self._closed.wait(min(timeout, 0.01)):
            raise EndOfSource

    def close(self) -> None:
        self._closed.set()


@pytest.fixture
def publisher() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture(params=[False, True], ids=["listening", "muted"])
def pipeline(
    request: pytest.FixtureRequest, publisher: MemoryPublisher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    monkeypatch.setattr("serd.daemon.pipeline.REPEAT_S", 0.05)
    nothing: Any = SimpleNamespace(
        reset=lambda _at: [], flush=list, speaking=False, batch_samples=480
    )
    running = Pipeline(
        node="attic",
        source=Silence(),
        recogniser=nothing,
        writer=EventWriter(nothing),
        publisher=publisher,
        mood=Mood(),
        model=ModelRef(name="none", version="0", sha256="0" * 12),
        muted=request.param,
        retry=Backoff(),
    )
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running
    running.stop()
    thread.join()


@pytest.mark.slow
def test_the_state_is_republished_regularly(pipeline: Pipeline, publisher: MemoryPublisher) -> None:
    wait_until(lambda: len(publisher.states) >= 5)
    assert len({state.updated_at for state in publisher.states}) >= 2
    assert {state.muted for state in publisher.states} == {pipeline.muted}
