"""The wall clock is set while serd listens: by hours, by years, back and forth."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serd.audio.stdin import StdinSource
from serd.backoff import Backoff
from serd.config.schema import SpeechConfig
from serd.daemon.event_writer import EventWriter
from serd.daemon.pipeline import Pipeline
from serd.events.clock import Clock, parse_rfc3339
from serd.events.event import model_ref
from serd.events.journal import Journal
from serd.events.state import Mood
from serd.model.classifier import Classifier, Recogniser
from serd.speech import Segmenter, make_vad
from tests.broker import Recorder, wait_until
from tests.faults.proof import EMOTION, check_delivery, journalled
from tests.mqtt.memory import MemoryPublisher
from tests.system.node import Node

if TYPE_CHECKING:
    from tests.broker import Mosquitto
    from tests.faults.talk import Talk

FAULTY = Path(__file__).with_name("faulty.py")

JUMPS_S = (0.0, 3600.0, -7200.0, 40 * 365 * 86_400.0, -56 * 365 * 86_400.0)


@pytest.mark.parametrize("jump", JUMPS_S)
def test_durations_and_order_do_not_depend_on_the_wall_clock(
    jump: float, tmp_path: Path, talk: Talk
) -> None:
    """The real pipeline, model and journal, on a wall clock that jumps between utterances."""
    offset = 0.0
    clock = Clock(wall=lambda: time.time() + offset)
    classifier = Classifier.load()
    speech = SpeechConfig()
    with Journal(tmp_path / "journal.db", clock=clock) as journal:
        publisher = MemoryPublisher(journal)
        writer = EventWriter(journal)
        pipeline = Pipeline(
            node="attic",
            source=StdinSource(fd=talk.reading),
            recogniser=Recogniser(Segmenter(speech, make_vad(speech)), classifier),
            writer=writer,
            publisher=publisher,
            mood=Mood(),
            model=model_ref("m", "1", "0" * 64),
            muted=False,
            retry=Backoff(),
            clock=clock,
        )
        thread = threading.Thread(target=pipeline.run)
        writer.start()
        thread.start()
        try:
            for jumped in (0.0, jump, jump / 2):
                offset = jumped
                count = len(publisher.events)
                talk.say()
                assert publisher.wait_for(lambda p, n=count: len(p.events) > n, 20)  # type: ignore[misc]
        finally:
            talk.end()
            thread.join()
            assert writer.stop(20) == []
        events = publisher.events
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len({event.id for event in events}) == len(events)
        for event in events:
            length = parse_rfc3339(event.ended_at) - parse_rfc3339(event.started_at)
            assert 1300 <= length <= 2100
            assert 1.3 <= event.duration_s <= 2.1
            assert event.latency_ms is not None
            assert 0 <= event.latency_ms < 5000
        assert json.loads(json.dumps([e.id for e in events]))
        # All of them are in the journal.
        assert journal.last_seq("attic") == len(events)


class WallClock:
    """Gives a process another wall clock, which can be set while it runs (libfaketime).

    The monotonic clock stays that of the kernel.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not found:
            pytest.skip("libfaketime is not installed (apt install faketime)")
        self._file = folder / "faketime"
        self.env = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead_s: float) -> None:
        """Set it that far ahead of the real time."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+.0f}\n")
        fresh.replace(self._file)


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


def timed(home: Path, port: int, talk: Talk, wall: WallClock) -> Node:
    """A node that runs journal maintenance every second."""
    return Node(home, port, "--source", "-", stdin=talk.reading, env=wall.env,
                wrapper=[sys.executable, str(FAULTY), "none"])  # fmt: skip


@pytest.mark.broker
@pytest.mark.parametrize("ahead", [-time.time() + 100, 14 * 365 * 86_400.0], ids=["1970", "2040"])
def test_waiting_events_survive_a_change_of_the_clock(
    ahead: float, tmp_path: Path, broker: Mosquitto, talk: Talk, wall: WallClock
) -> None:
    broker.stop()
    if ahead > 0:
        wall.set(0)
        with timed(tmp_path, broker.port, talk, wall) as node:
            talk.say(2)
            node.wait_log("ready after")
            wait_until(lambda: len(journalled(tmp_path)) == 2)
            assert node.stop() == 0, node.log
    count = 8 if ahead > 0 else 6
    wall.set(ahead)
    with timed(tmp_path, broker.port, talk, wall) as node:
        talk.say(3)
        node.wait_log("the clock shows")  # maintenance has run once
        wall.set(0)
        node.wait_log("the clock was set by")
        talk.say(3)
        wait_until(lambda: len(journalled(tmp_path)) == count, timeout=60)
        time.sleep(3)  # some more maintenance runs
        broker.start()
        with Recorder(broker.port) as recorder:
            recorder.wait(lambda: len(set(recorder.on(EMOTION))) >= count, 60)
            check_delivery(recorder.on(EMOTION), tmp_path, at_least=count)
        talk.end()
        assert node.wait() == 0, node.log
    assert not any("dropped" in line for line in node.log), node.log


@pytest.mark.broker
def test_history_survives_a_clock_that_is_years_ahead(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, talk: Talk, wall: WallClock
) -> None:
    wall.set(0)
    with timed(tmp_path, broker.port, talk, wall) as node:
        talk.say(4)
        recorder.wait_count(EMOTION, 4)
        wall.set(10 * 365 * 86_400)
        node.wait_log("no event is deleted for its age")
        talk.say(2)
        recorder.wait_count(EMOTION, 6)
        assert node.stop() == 0, node.log
    with timed(tmp_path, broker.port, talk, wall) as node:
        node.wait_log("no event is deleted for its age")
        talk.say(2)
        recorder.wait_count(EMOTION, 8)
        wall.set(0)
        node.wait_log("the clock was set by")
        talk.say()
        recorder.wait_count(EMOTION, 9)
        time.sleep(3)  # some more maintenance runs
        talk.end()
        assert node.wait() == 0, node.log
    assert sorted(journalled(tmp_path).values()) == list(range(1, 10))
