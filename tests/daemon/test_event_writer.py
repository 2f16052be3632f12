"""Writing events to a real journal that another program locks."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from serd.audio import SAMPLE
from serd.audio.file import FileSource
from serd.backoff import Backoff
from serd.config.schema import SpeechConfig
from serd.daemon.event_writer import EventsRefusedError, EventWriter
from serd.daemon.pipeline import Pipeline
from serd.events.journal import Journal
from serd.events.state import Mood
from serd.model.classifier import Classifier, Recogniser
from serd.speech import Segmenter, make_vad
from tests.broker import wait_until
from tests.events.making import MODEL, event
from tests.mqtt.memory import MemoryPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serd.events.event import Event


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


@contextlib.contextmanager
def locked(journal: Journal) -> Iterator[None]:
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.close()


def test_events_are_passed_on_in_order_and_only_once_they_are_on_disk(journal: Journal) -> None:
    passed_on: list[Event] = []
    writer = EventWriter(journal)
    writer.connect("kitchen", passed_on.append)
    writer.start()
    with locked(journal):
        for number in range(100):
            writer.put(event(number), time.monotonic())
        wait_until(lambda: writer.trouble is not None)
        assert "locked by another program" in str(writer.trouble)
        assert (passed_on, writer.waiting("kitchen")) == ([], 100)
    assert writer.drain(20)
    assert [each.seq for each in passed_on] == list(range(1, 101))
    assert [each.id for each in journal.unacked("kitchen")] == [each.id for each in passed_on]
    assert writer.trouble is None
    assert writer.stop(20) == []
    assert not writer.alive


def test_a_nodes_oldest_events_are_lost_above_its_limit_and_counted(journal: Journal) -> None:
    writer = EventWriter(journal, queue_max=10)
    with locked(journal):
        for number in range(25):
            writer.put(event(number), 0.0)
            if number < 5:
                writer.put(event(number, node="cellar"), 0.0)
        assert writer.full("kitchen")
        assert not writer.full("cellar")
        assert not writer.wait_for_room("kitchen", 0.0)
        assert writer.lost == {"kitchen": 15}
    writer.start()
    assert writer.drain(20)
    kept = [each.started_at for each in journal.unacked("kitchen")]
    assert kept == [event(number).started_at for number in range(15, 25)]
    assert len(journal.unacked("cellar")) == 5
    writer.stop(20)


def test_a_new_writer_continues_where_the_old_one_stopped(journal: Journal) -> None:
    writer = EventWriter(journal)
    writer.start()
    with locked(journal):
        for number in range(40):
            writer.put(event(number), 0.0)
        left = writer.stop(0.5)
    assert [each.started_at for each, _ in left] == [event(n).started_at for n in range(40)]
    passed_on: list[Event] = []
    successor = EventWriter(journal, unwritten=left)
    successor.connect("kitchen", passed_on.append)
    successor.start()
    successor.put(event(40), 0.0)
    assert successor.drain(20)
    assert [each.seq for each in passed_on] == list(range(1, 42))
    successor.stop(20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_dies_from_a_failing_listener_writes_nothing_twice(journal: Journal) -> None:
    def fails(_event: Event) -> None:
        raise RuntimeError("raised by the test")

    writer = EventWriter(journal)
    writer.connect("kitchen", fails)
    for number in range(3):
        writer.put(event(number), 0.0)
    writer.start()
    wait_until(lambda: not writer.alive)
    writer.connect("kitchen", lambda _event: None)
    writer.start()
    writer.put(event(3), 0.0)
    assert writer.drain(20)
    assert journal.last_seq("kitchen") == 4
    writer.stop(20)


def recording(journal: Journal, writer: EventWriter) -> tuple[Pipeline, list[BaseException]]:
    """The real pipeline with a recording, and a list for the error that ends it."""
    speech = SpeechConfig()
    pipeline = Pipeline(
        node="attic",
        source=FileSource(str(SAMPLE), pace="fast"),
        recogniser=Recogniser(Segmenter(speech, make_vad(speech)), Classifier.load()),
        writer=writer,
        publisher=MemoryPublisher(journal),
        mood=Mood(),
        model=MODEL,
        muted=False,
        retry=Backoff(),
    )
    return pipeline, []


def run(pipeline: Pipeline, errors: list[BaseException]) -> threading.Thread:
    def work() -> None:
        try:
            pipeline.run()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_recording_waits_for_space_in_the_queue_and_loses_nothing(journal: Journal) -> None:
    writer = EventWriter(journal, queue_max=2)
    writer.start()
    pipeline, errors = recording(journal, writer)
    with locked(journal):
        thread = run(pipeline, errors)
        wait_until(lambda: writer.full("attic"), timeout=60)
        before = pipeline.heartbeat
        wait_until(lambda: pipeline.heartbeat > before)  # it waits, but does not hang
        assert thread.is_alive()
    thread.join()
    assert writer.drain(20)
    assert errors == []
    assert writer.lost.total() == 0
    assert journal.last_seq("attic") > 2
    writer.stop(20)


def test_a_recording_gives_up_on_a_journal_that_stays_locked(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serd.daemon.pipeline.GIVE_UP_S", 0.5)
    writer = EventWriter(journal, queue_max=2)
    writer.start()
    pipeline, errors = recording(journal, writer)
    with locked(journal):
        run(pipeline, errors).join()
        (error,) = errors
        assert isinstance(error, EventsRefusedError)
        assert error.exit_code == 69
        assert "locked by another program" in str(error)
        assert len(writer.stop(0.0)) == 2


def test_unwritten_latencies_are_bounded_while_the_journal_is_locked(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serd.events.journal._LATENCIES_KEPT", 10)
    appended = journal.append_many([event(n) for n in range(11)], arrived=[0.0] * 11)
    with locked(journal):
        stamped: list[Any] = [journal.hand_over(each) for each in appended[:10]]
        with pytest.raises(Exception, match="locked by another program"):
            journal.hand_over(appended[10])
        journal.ack("kitchen", 10)
        assert journal.acked_seq("kitchen") == 10
    journal.hand_over(appended[10])
    journal.flush()
    assert [journal.hand_over(each).latency_ms for each in appended[:10]] == [
        each.latency_ms for each in stamped
    ]
