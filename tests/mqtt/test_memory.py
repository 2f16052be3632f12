"""The publisher without network stands in for the real one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from serd.events.journal import Journal
from serd.mqtt.publisher import MqttPublisher, Publisher
from tests.mqtt.memory import MemoryPublisher
from tests.mqtt.samples import NODE, new_event, room

if TYPE_CHECKING:
    from pathlib import Path


def test_both_are_publishers(tmp_path: Path) -> None:
    publisher: Publisher = MemoryPublisher()
    publisher.start()
    for name in ("start", "stop", "drain", "event_journalled", "state", "speech", "muted",
                 "telemetry", "counters"):  # fmt: skip
        signatures = [
            inspect.signature(getattr(kind, name)).parameters
            for kind in (Publisher, MemoryPublisher, MqttPublisher)
        ]
        assert signatures[0] == signatures[1] == signatures[2], name


def test_it_keeps_what_it_is_told(tmp_path: Path) -> None:
    told: list[bool] = []
    with Journal(tmp_path / "journal.db") as journal:
        publisher = MemoryPublisher(journal, on_mute=told.append)
        publisher.start()
        publisher.event_journalled(journal.append(new_event()))
        assert publisher.events[0].latency_ms is not None
        assert journal.waiting(NODE) == 0
        publisher.connected = False
        publisher.event_journalled(journal.append(new_event()))
        assert journal.waiting(NODE) == 1
        assert not publisher.drain(0)
    publisher.state(room())
    publisher.speech(True)
    publisher.muted(False)
    publisher.telemetry({"uptime_s": 1})
    publisher.command(True)
    assert told == [True]
    assert (publisher.states, publisher.speeches, publisher.mutes) == ([room()], [True], [False])
    assert publisher.telemetries == [{"uptime_s": 1}]
    assert publisher.wait_for(lambda it: len(it.events) == 2, 0)
    publisher.stop()
    assert not publisher.running
