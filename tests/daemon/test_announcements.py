"""The pipeline puts what happens at the same time into one announcement."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serd.audio.source import Block
from serd.backoff import Backoff
from serd.daemon.event_writer import EventWriter
from serd.daemon.pipeline import Condition, Pipeline
from serd.errors import UnavailableError
from serd.events.journal import Journal
from serd.events.state import Mood
from serd.model.classifier import Recognition
from serd.speech.utterance import Utterance
from tests.broker import wait_until
from tests.events.making import MODEL, prediction
from tests.mqtt.memory import MemoryPublisher
from tests.system.test_at_home import Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FakeRecogniser:
    """A recogniser that finds one utterance in every two blocks, ending with the second."""

    batch_samples = 480
    speaking = False
    _position = 0

    def reset(self, position: int) -> list[Recognition]:
        return []

    def flush(self) -> list[Recognition]:
        return []

    def feed(self, samples: Any) -> list[Recognition]:
        start, self._position = self._position, self._position + len(samples)
        self.speaking = not self.speaking
        if self.speaking:
            return []
        utterance = Utterance(
            start=start, end=self._position, level_dbfs=-20.0, voiced_share=1.0, cut=False
        )
        return [Recognition(utterance=utterance, prediction=prediction(1))]


class RunningPipeline:
    """A pipeline on its own thread that processes the blocks it is given."""

    def __init__(self, journal: Any) -> None:
        self.source, self.publisher = Script(), MemoryPublisher()
        self.writer = EventWriter(journal)
        recogniser: Any = FakeRecogniser()
        self.pipeline = Pipeline(
            node="attic",
            source=self.source,
            recogniser=recogniser,
            writer=self.writer,
            publisher=self.publisher,
            mood=Mood(),
            model=MODEL,
            muted=False,
            retry=Backoff(),
        )
        self._thread = threading.Thread(target=self.pipeline.run, daemon=True)
        self._position = 0
        self.writer.start()
        self._thread.start()
        wait_until(lambda: len(self.publisher.announcements) == 2)  # starting, listening

    def give_block(self) -> None:
        samples = np.full(8_000, 0.1, np.float32)
        self.source.give(Block(samples=samples, position=self._position, arrived=1.0, lost=0))
        self._position += len(samples)

    def stop(self) -> None:
        self.pipeline.stop()
        self._thread.join()
        self.writer.stop(0)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def test_the_end_of_speech_is_announced_with_its_event(journal: Journal) -> None:
    running = RunningPipeline(journal)
    try:
        for _ in range(20):
            before = len(running.publisher.announcements)
            running.give_block()
            wait_until(lambda n=before: len(running.publisher.announcements) > n)  # type: ignore[misc]
            running.give_block()
            wait_until(lambda n=before: len(running.publisher.announcements) > n + 1)  # type: ignore[misc]
            begin, end = running.publisher.announcements[before : before + 2]
            assert begin == (None, True, False)
            assert (end[0] is not None, end[1]) == (True, False)
            state = running.publisher.states[-1]
            assert (state.speech, state.event_id) == (False, end[0].id if end[0] else "")
    finally:
        running.stop()


def test_the_end_of_speech_is_announced_even_while_the_journal_refuses_events() -> None:
    class Refusing:
        def append_many(self, events: object, *, arrived: object) -> None:
            raise UnavailableError("the journal is locked")

    running = RunningPipeline(Refusing())
    try:
        running.give_block()
        wait_until(lambda: running.publisher.announcements[-1] == (None, True, False))
        running.give_block()
        wait_until(lambda: running.publisher.announcements[-1] == (None, False, False))
        running.pipeline.mute(True)
        wait_until(lambda: running.publisher.announcements[-1] == (None, False, True))
    finally:
        running.stop()


def test_opening_the_microphone_again_does_not_close_it(journal: Journal) -> None:
    """It may be open again before the thread that unmutes gets to closing it."""
    running = RunningPipeline(journal)
    try:
        running.pipeline.mute(True)
        wait_until(lambda: running.pipeline.condition is Condition.MUTED)
        closed: list[bool] = []
        close = running.source.close
        running.source.close = lambda: (closed.append(running.pipeline.muted), close())  # type: ignore[method-assign,func-returns-value,assignment]
        running.pipeline.mute(False)
        wait_until(lambda: running.pipeline.condition is Condition.LISTENING)
        assert not closed
    finally:
        running.stop()
