"""The publisher with failing brokers and networks: nothing is lost, reordered or changed.

Subscribers may get duplicates (QoS 1 is "at least once"), so each test drops them by id, as a
subscriber would.
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
    """All events have arrived in order, and every redelivery is identical."""
    first: dict[str, bytes] = {}
    for payload in payloads:
        event = decode(payload)
        assert first.setdefault(event.id, payload) == payload
    assert [decode(payload).seq for payload in first.values()] == list(range(1, last + 1))


def wait_seq(recorder: Recorder, seq: int) -> None:
    """Wait until this event has arrived; as they arrive in order, checking the last is enough."""

    def reached() -> bool:
        last = recorder.last(EMOTION)
        return seq == 0 or (last is not None and decode(last).seq >= seq)

    recorder.wait(reached)


class Producer:
    """Journals events from its own thread, as fast as the journal allows, as a pipeline does."""

    def __init__(self, journal: Journal, publisher: MqttPublisher) -> None:
        self._journal = journal
        self._publisher = publisher
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer")
        self.count = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_more(self, more: int) -> None:
        """Wait until that many more were produced."""
        goal = self.count + more
        wait_until(lambda: self.count >= goal)

    def _run(self) -> None:
        while not self._stopping.is_set():
            event = self._journal.append(new_event(self.count))
            self._publisher.announce(event=event)
            self._publisher.announce(speech=self.count % 2 == 0)
            self.count += 1


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
def test_broker_restarted_mid_stream(
    tmp_path: Path, journal: Journal, start: Start, kill: bool
) -> None:
    """The publisher connects through a relay, so that the subscriber can reconnect first."""
    with mosquitto(tmp_path) as broker, Relay(broker.port) as relay:
        publisher = start(relay.port)
        with Recorder(broker.port) as recorder, Producer(journal, publisher) as producer:
            for round_ in range(1, 5):
                producer.wait_more(100)
                relay.shut()
                wait_until(lambda: not publisher.connected)
                # A killed broker loses what it acknowledged but has not forwarded yet. That is
                # not the publisher's fault, so let it forward that first.
                wait_seq(recorder, journal.acked_seq(NODE))
                broker.restart(kill=kill)
                recorder.wait(lambda n=round_: recorder.connections > n)  # type: ignore[misc]
                producer.wait_more(100)
                relay.reopen()
                wait_until(lambda: publisher.connected)
            producer.stop()
            assert publisher.drain(6 * TIMEOUT_S)
            wait_seq(recorder, producer.count)
            check_stream(recorder.on(EMOTION), producer.count)
            assert publisher.counters()["reconnects"] == 4


def test_broker_killed_with_events_in_flight(
    tmp_path: Path, journal: Journal, start: Start
) -> None:
    """Events in flight when the broker is killed are redelivered with the same payload."""
    with mosquitto(tmp_path) as broker:
        publisher = start(broker.port)
        with Recorder(broker.port) as recorder, Producer(journal, publisher) as producer:
            producer.wait_more(50)
            broker.pause()  # accepts bytes, acknowledges nothing
            wait_until(lambda: publisher.counters()["in_flight"] > 0)
            producer.wait_more(100)
            assert publisher.counters()["in_flight"] <= 32
            broker.restart(kill=True)
            producer.wait_more(50)
        assert publisher.drain(TIMEOUT_S)
        assert publisher.counters()["redelivered"] > 0
        check_order(recorder.on(EMOTION))
        assert journal.waiting(NODE) == 0


def check_order(payloads: list[bytes]) -> None:
    """A subscriber that was disconnected too may miss some, but order and payloads still hold."""
    first: dict[str, bytes] = {}
    for payload in payloads:
        assert first.setdefault(decode(payload).id, payload) == payload
    numbers = [decode(payload).seq for payload in first.values()]
    assert numbers == sorted(numbers)


def test_lost_acknowledgements(
    tmp_path: Path, broker: Mosquitto, journal: Journal, start: Start
) -> None:
    """All events have arrived, but the acknowledgements are lost: all are redelivered unchanged."""
    with Relay(broker.port) as relay, Recorder(broker.port) as recorder:
        publisher = start(relay.port)
        wait_until(lambda: publisher.connected)
        relay.swallow_answers = True
        for event in journalled(journal, 12):
            publisher.announce(event=event)
        recorder.wait_count(EMOTION, 12)
        assert journal.waiting(NODE) == 12
        # Acknowledgements may still be on their way; none of them may pass.
        relay.shut()
        relay.swallow_answers = False
        relay.reopen()
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(EMOTION, 24)
        payloads = recorder.on(EMOTION)
        assert payloads[:12] == payloads[12:]
        check_stream(payloads, 12)
        assert publisher.counters()["redelivered"] == 12
        assert publisher.counters()["acknowledged"] == 12


def test_half_open_connection(broker: Mosquitto, journal: Journal, start: Start) -> None:
    """Packets vanish and nothing is closed: the keepalive detects it, and all is resent."""
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
        # The last will of the dead connection must not remain the status.
        with Recorder(broker.port, STATUS) as late:
            late.wait_for(STATUS, b"online")


def test_flapping_network(broker: Mosquitto, journal: Journal, start: Start) -> None:
    with Relay(broker.port) as relay, Recorder(broker.port) as recorder:
        publisher = start(relay.port)
        with Producer(journal, publisher) as producer:
            for cut in range(1, 9):
                producer.wait_more(20)
                wait_until(lambda n=cut: publisher.connected and relay.accepted >= n)  # type: ignore[misc]
                relay.cut()
        assert publisher.drain(TIMEOUT_S)
        wait_seq(recorder, producer.count)
        check_stream(recorder.on(EMOTION), producer.count)
        wait_until(lambda: publisher.counters()["reconnects"] >= 8)


def test_repeated_disconnects_hint_at_a_second_client(
    broker: Mosquitto, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Two clients with one id keep disconnecting each other; serd logs what to look for."""
    first = start(broker.port)
    wait_until(lambda: first.connected)
    second = start(broker.port)
    wait_until(lambda: "does another client call itself serd-attic?" in caplog.text)
    second.stop()
    wait_until(lambda: first.connected)


def test_retained_values_are_republished_after_the_broker_lost_them(
    tmp_path: Path, journal: Journal, start: Start
) -> None:
    with mosquitto(tmp_path) as broker:
        publisher = start(broker.port)
        publisher.announce(state=room("sad"))
        publisher.announce(muted=True)
        assert publisher.drain(TIMEOUT_S)
        broker.kill()  # mosquitto saves retained messages only on a clean exit
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


def test_stop_returns_in_time_with_a_frozen_broker(
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


def test_stop_without_a_broker(journal: Journal, start: Start) -> None:
    publisher = start(1)
    wait_until(lambda: "refused" in publisher.reason)
    publisher.stop(TIMEOUT_S)
    assert not publisher.alive


class Process:
    """A publisher in its own process, which can be killed."""

    def __init__(self, port: int, journal: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mqtt.publisher_process", str(port), str(journal)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def request(self, count: int) -> None:
        """Request that many events; returns at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def last_seq(self) -> int:
        """Wait for the reply: the ``seq`` of the last journalled event."""
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
def test_process_killed_mid_stream(broker: Mosquitto, tmp_path: Path) -> None:
    """Repeated kill -9 while events are journalled and in flight: no loss, no gap."""
    path = tmp_path / "journal.db"
    with Recorder(broker.port) as recorder:
        for round_ in range(5):
            process = Process(broker.port, path)
            try:
                before = len(recorder.on(EMOTION))
                process.request(100_000)
                recorder.wait_count(EMOTION, before + 40 + 7 * round_)
            finally:
                process.kill()
        process = Process(broker.port, path)
        try:
            process.request(1)
            last = process.last_seq()
            wait_seq(recorder, last)
        finally:
            process.kill()
        check_stream(recorder.on(EMOTION), last)
