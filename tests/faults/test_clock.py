"""The wall clock is set while serd listens: by hours, by years, back and forth."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from serd.audio.stdin import StdinSource
from serd.config.schema import SpeechConfig
from serd.event_writer import EventWriter
from serd.events.clock import Clock, parse_rfc3339
from serd.events.event import model_ref
from serd.events.journal import Journal
from serd.events.mood import Mood
from serd.model.classifier import Classifier
from serd.model.recogniser import Recogniser
from serd.mqtt.backoff import Backoff
from serd.mqtt.memory import MemoryPublisher
from serd.pipeline import Pipeline
from serd.speech import Segmenter, make_vad

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.talk import Talk

JUMPS_S = (0.0, 3600.0, -7200.0, 40 * 365 * 86_400.0, -56 * 365 * 86_400.0)


@pytest.mark.parametrize("jump", JUMPS_S)
def test_durations_and_order_are_not_the_wall_clocks_business(
    jump: float, tmp_path: Path, talk: Talk
) -> None:
    """The real pipeline, model and journal, on a wall clock that jumps in mid-utterance."""
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
        # All are still in the journal: none is "too old" because of the jump.
        assert journal.last_seq("attic") == len(events)
