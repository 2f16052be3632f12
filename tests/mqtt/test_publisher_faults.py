"""The publisher in foul weather: nothing is lost, nothing comes out of order, nothing changes.

What a subscriber gets may repeat (QoS 1 is "at least once"), so each test looks at the stream as a
subscriber does that drops what it has seen, by id.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

import pytest

from serd.backoff import Backoff
from serd.config import MqttConfig
from serd.events.event import decode
from serd.events.journal import Journal
from serd.mqtt.publisher import MqttPublisher
from tests.broker import TIMEOUT_S, Mosquitto, Recorder, mosquitto, wait_until
from tests.mqtt.samples import NODE, journalled, new_event, room
from tests.relay import Relay

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

EMOTION = f"serd/{NODE}/emotion"
STATUS = f"serd/{NODE}/status"
STATE = f"serd/{NODE}/state"

Start = Callable[..., MqttPublisher]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


@pytest.fixture
def start(journal: Journal) -> Iterator[Start]:
    started: list[MqttPublisher] = []

    def begin(port: int, **more: object) -> MqttPublisher:
        publisher = MqttPublisher(
            MqttConfig(**{"host": "127.0.0.1", "port": port, **more}),  # type: ignore[arg-type]
            NODE,
            journal,
            backoff=Backoff(first_s=0.05, longest_s=0.2),
        )
        started.append(publisher)
        publisher.start()
        return publisher

    yield begin
    for publisher in started:
        publisher.stop(0.5)


def check_stream(payloads: list[bytes], last: int) -> None:
    """Complete, in order, and every redelivery is the same message."""
    first: dict[str, bytes] = {}
    for payload in payloads:
        event = decode(payload)
        assert first.setdefault(event.id, payload) == payload
    assert [decode(payload).seq for payload in first.values()] == list(range(1, last + 1))


def wait_seq(recorder: Recorder, seq: int) -> None:
    """Wait until this event has come; as they come in order, it is enough to look at the last."""

    def reached() -> bool:
        last = recorder.last(EMOTION)
        return seq == 0 or (last is not None and decode(last).seq >= seq)

    recorder.wait(reached)


class Talker:
    """Journals events from a thread of its own, as fast as the journal goes, as a pipeline does."""

    def __init__(self, journal: Journal, publisher: MqttPublisher) -> None:
        self._journal = journal
        self._publisher = publisher
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talker")
        self.said = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def say(self, more: int) -> None:
        """Wait until that many more were said."""
        goal = self.said + more
        wait_until(lambda: self.said >= goal)

    def _run(self) -> None:
        while not self._stopping.is_set():
            event = self._journal.append(new_event(self.said))
            self._publisher.announce(event=event)
            self._publisher.announce(speech=self.said % 2 == 0)
            self.said += 1


def test_broker_absent_at_start(
    tmp_path: Path, journal: Journal, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with mosquitto(tmp_path, started=False) as broker:
        publisher = start(broker.port)
        for event in journalled(journal, 40):
            publisher.announce(event=event)
        publisher.announce(state=room())
        wait_until(lambda: "connection refused" in publisher.reason)
        assert not publisher.connected
        with Relay(broker.port):  # time for some more attempts
            broker.start()
        with Recorder(broker.port) as recorder:
            assert publisher.drain(TIMEOUT_S)
            recorder.wait_for(STATUS, b"online")
        assert journal.waiting(NODE) == 0
    warnings = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert len([text for text in warnings if "connection refused" in text]) == 1


@pytest.mark.parametrize("kill", [False, True])
def test_broker_restarted_in_mid_stream(
    tmp_path: Path, journal: Journal, start: Start, kill: bool
) -> None:
    """The publisher's way leads over a relay, so that the subscriber is back before it."""
    with mosquitto(tmp_path) as broker, Relay(broker.port) as relay:
        publisher = start(relay.port)
        with Recorder(broker.port) as recorder, Talker(journal, publisher) as talker:
            for round_ in range(1, 5):
                talker.say(100)
                relay.shut()
                wait_until(lambda: not publisher.connected)
                # A killed broker forgets what it acknowledged and has not passed on yet: that is
                # its loss and not the publisher's, so let it pass that on.
                wait_seq(recorder, journal.acked_seq(NODE))
                broker.restart(kill=kill)
                recorder.wait(lambda n=round_: recorder.connections > n)  # type: ignore[misc]
                talker.say(100)
                relay.reopen()
                wait_until(lambda: publisher.connected)
            talker.stop()
            assert publisher.drain(6 * TIMEOUT_S)
            wait_seq(recorder, talker.said)
            check_stream(recorder.on(EMOTION), talker.said)
            assert publisher.counters()["reconnects"] == 4


def test_broker_killed_while_it_takes_events(
    tmp_path: Path, journal: Journal, start: Start
) -> None:
    """Killed at a moment when events are in flight; those come again, with the same payload."""
    with mosquitto(tmp_path) as broker:
        publisher = start(broker.port)
        with Recorder(broker.port) as recorder, Talker(journal, publisher) as talker:
            talker.say(50)
            broker.pause()  # takes bytes, acknowledges nothing
            wait_until(lambda: publisher.counters()["in_flight"] > 0)
            talker.say(100)
            assert publisher.counters()["in_flight"] <= 32
            broker.restart(kill=True)
            talker.say(50)
        assert publisher.drain(TIMEOUT_S)
        assert publisher.counters()["redelivered"] > 0
        check_stream_of_survivor(recorder.on(EMOTION))
        assert journal.waiting(NODE) == 0


def check_stream_of_survivor(payloads: list[bytes]) -> None:
    """A subscriber that was away itself may miss some, but order and payloads still hold."""
    first: dict[str, bytes] = {}
    for payload in payloads:
        assert first.setdefault(decode(payload).id, payload) == payload
    numbers = [decode(payload).seq for payload in first.values()]
    assert numbers == sorted(numbers)


def test_acknowledgements_lost(
    tmp_path: Path, broker: Mosquitto, journal: Journal, start: Start
) -> None:
    """Every event has arrived, but the answers are lost: all come again, the same."""
    with Relay(broker.port) as relay, Recorder(broker.port) as recorder:
        publisher = start(relay.port)
        wait_until(lambda: publisher.connected)
        relay.swallow_answers = True
        for event in journalled(journal, 12):
            publisher.announce(event=event)
        recorder.wait_count(EMOTION, 12)
        assert journal.waiting(NODE) == 12
        relay.swallow_answers = False
        relay.cut()
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(EMOTION, 24)
        payloads = recorder.on(EMOTION)
        assert payloads[:12] == payloads[12:]
        check_stream(payloads, 12)
        assert publisher.counters()["redelivered"] == 12
        assert publisher.counters()["acknowledged"] == 12


def test_half_open_connection(broker: Mosquitto, journal: Journal, start: Start) -> None:
    """Packets vanish and nothing is closed: the keep-alive finds out, and all is sent again."""
    with Relay(broker.port) as relay, Recorder(broker.port) as recorder:
        publisher = start(relay.port, keepalive_s=1)
        wait_until(lambda: publisher.connected)
        relay.deaf = True
        for event in journalled(journal, 100):
            publisher.announce(event=event)
            publisher.announce(state=room())
        wait_until(lambda: not publisher.connected)
        assert publisher.counters()["published"] <= 32  # bounded by the window
        relay.deaf = False
        relay.cut()
        assert publisher.drain(TIMEOUT_S)
        wait_seq(recorder, 100)
        check_stream(recorder.on(EMOTION), 100)
        # The will of the dead connection must not have the last word.
        with Recorder(broker.port, STATUS) as late:
            late.wait_for(STATUS, b"online")


def test_flapping_network(broker: Mosquitto, journal: Journal, start: Start) -> None:
    with Relay(broker.port) as relay, Recorder(broker.port) as recorder:
        publisher = start(relay.port)
        with Talker(journal, publisher) as talker:
            for cut in range(1, 9):
                talker.say(20)
                wait_until(lambda n=cut: publisher.connected and relay.accepted >= n)  # type: ignore[misc]
                relay.cut()
        assert publisher.drain(TIMEOUT_S)
        wait_seq(recorder, talker.said)
        check_stream(recorder.on(EMOTION), talker.said)
        wait_until(lambda: publisher.counters()["reconnects"] >= 8)


def test_repeated_loss_hints_at_a_second_client(
    broker: Mosquitto, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Two clients of one name throw each other out for ever; serd says what to look for."""
    first = start(broker.port)
    wait_until(lambda: first.connected)
    second = start(broker.port)
    wait_until(lambda: "does another client call itself serd-attic?" in caplog.text)
    second.stop()
    wait_until(lambda: first.connected)


def test_retained_values_come_back_after_a_broker_without_memory(
    tmp_path: Path, journal: Journal, start: Start
) -> None:
    with mosquitto(tmp_path) as broker:
        publisher = start(broker.port)
        publisher.announce(state=room("sad"))
        publisher.announce(muted=True)
        assert publisher.drain(TIMEOUT_S)
        broker.kill()  # mosquitto saves its memory only when it is ended properly
        publisher.announce(state=room("happy"))
        publisher.announce(state=room("angry"))
        broker.start()
        assert publisher.drain(TIMEOUT_S)
        with Recorder(broker.port) as late:
            late.wait_count(STATE, 1)
            late.wait_for(STATUS, b"online")
            late.wait_for(f"serd/{NODE}/mute", b"ON")
            late.wait_count(f"homeassistant/device/serd_{NODE}/config", 1)
            assert b'"angry"' in late.on(STATE)[0]


def test_stop_in_time_though_the_broker_is_frozen(
    broker: Mosquitto, journal: Journal, start: Start
) -> None:
    publisher = start(broker.port)
    wait_until(lambda: publisher.connected)
    broker.pause()
    for event in journalled(journal, 50):
        publisher.announce(event=event)
    began = time.monotonic()
    publisher.stop(1.0)
    assert not publisher.alive
    assert time.monotonic() - began < TIMEOUT_S
    assert journal.waiting(NODE) == 50
    broker.resume()


def test_stop_while_no_broker_is_there(journal: Journal, start: Start) -> None:
    publisher = start(1)
    wait_until(lambda: "refused" in publisher.reason)
    publisher.stop(TIMEOUT_S)
    assert not publisher.alive


class Process:
    """The publisher in a process of its own, that can be killed."""

    def __init__(self, port: int, journal: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mqtt.publisher_process", str(port), str(journal)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, count: int) -> None:
        """Ask for that many events; returns at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def said(self) -> int:
        """Wait for an answer: the number of the last event that was journalled."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(TIMEOUT_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def test_last_will_of_a_killed_process(broker: Mosquitto, tmp_path: Path) -> None:
    with Recorder(broker.port) as recorder:
        process = Process(broker.port, tmp_path / "journal.db")
        try:
            recorder.wait_for(STATUS, b"online")
        finally:
            process.kill()
        recorder.wait_for(STATUS, b"offline")
    with Recorder(broker.port, STATUS) as late:
        late.wait_for(STATUS, b"offline")
        assert late.messages[0].retained


@pytest.mark.slow
def test_process_killed_in_mid_stream(broker: Mosquitto, tmp_path: Path) -> None:
    """kill -9 again and again while events are journalled and in flight: no loss, no gap."""
    path = tmp_path / "journal.db"
    with Recorder(broker.port) as recorder:
        for round_ in range(5):
            process = Process(broker.port, path)
            try:
                before = len(recorder.on(EMOTION))
                process.say(100_000)
                recorder.wait_count(EMOTION, before + 40 + 7 * round_)
            finally:
                process.kill()
        process = Process(broker.port, path)
        try:
            process.say(1)
            last = process.said()
            wait_seq(recorder, last)
        finally:
            process.kill()
        check_stream(recorder.on(EMOTION), last)
