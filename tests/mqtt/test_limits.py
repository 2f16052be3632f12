"""What a broker does not accept is logged once and skipped, and delays nothing else."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from serd.backoff import Backoff
from serd.config import MqttConfig
from serd.events.event import decode
from serd.events.journal import Journal
from serd.mqtt import outbox, refusals
from serd.mqtt.access import Access
from serd.mqtt.broker import EmbeddedBroker
from serd.mqtt.discovery import discovery_payload
from serd.mqtt.link import Limits, Link, LinkError, packet_bytes
from serd.mqtt.publisher import MqttPublisher
from serd.mqtt.refusals import PoisonDetector
from serd.mqtt.topics import Topics
from tests.broker import TIMEOUT_S, Mosquitto, Recorder, mosquitto, wait_until
from tests.mqtt.samples import NODE, journalled, new_event, room
from tests.relay import OldBroker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

EMOTION = f"serd/{NODE}/emotion"
STATUS = f"serd/{NODE}/status"
STATE = f"serd/{NODE}/state"
DISCOVERY = f"homeassistant/device/serd_{NODE}/config"
PATIENCE_S = 3 * TIMEOUT_S

Start = Callable[..., MqttPublisher]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


@pytest.fixture
def start(journal: Journal) -> Iterator[Start]:
    started: list[MqttPublisher] = []

    def begin(port: int, *, events: int = 5, **more: object) -> MqttPublisher:
        publisher = MqttPublisher(
            MqttConfig(**{"host": "127.0.0.1", "port": port, **more}),  # type: ignore[arg-type]
            NODE,
            journal,
            backoff=Backoff(first_s=0.05, longest_s=0.2),
        )
        started.append(publisher)
        for event in journalled(journal, events):
            publisher.announce(event=event)
        publisher.announce(state=room())
        publisher.announce(muted=False)
        publisher.announce(speech=True)
        publisher.start()
        return publisher

    yield begin
    for publisher in started:
        publisher.stop(0.5)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def seqs(recorder: Recorder) -> list[int]:
    return [decode(payload).seq for payload in recorder.on(EMOTION)]


def test_a_small_packet_size_shortens_discovery_and_delays_nothing(
    tmp_path: Path, journal: Journal, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with mosquitto(tmp_path, extra=("max_packet_size 2048",)) as broker:
        with Recorder(broker.port) as recorder:
            publisher = start(broker.port)
            assert publisher.drain(PATIENCE_S)
            recorder.wait_count(EMOTION, 5)
            recorder.wait_count(DISCOVERY, 1)
        announced = recorder.on(DISCOVERY)[0]
        assert len(announced) + len(DISCOVERY) < 2048
        assert {"event", "mute", "mood"} <= json.loads(announced)["cmps"].keys()
        assert publisher.counters()["reconnects"] == 0
    shortened = [text for text in warnings_of(caplog) if "shortened" in text]
    assert len(shortened) == 1
    assert "2048" in shortened[0]


def test_events_that_are_too_large_are_skipped_and_counted(
    tmp_path: Path, journal: Journal, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        mosquitto(tmp_path, extra=("max_packet_size 300",)) as broker,
        Recorder(broker.port) as recorder,
    ):
        publisher = start(broker.port)
        assert publisher.drain(PATIENCE_S)
        recorder.wait_count(STATE, 1)
        assert recorder.on(EMOTION) == recorder.on(DISCOVERY) == []
        assert publisher.counters()["left_out"] == 5
        assert publisher.counters()["reconnects"] == 0
        assert journal.waiting(NODE) == 0
        assert "takes 300 at most" in publisher.trouble
    for topic in (EMOTION, DISCOVERY):  # once, with the size
        (text,) = [text for text in warnings_of(caplog) if text.startswith(f"{topic} has ")]
        assert "bytes, and the broker takes 300 at most" in text


def test_a_broker_without_retained_messages(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with mosquitto(tmp_path, extra=("retain_available false",)) as broker:
        with Recorder(broker.port) as recorder:
            publisher = start(broker.port)
            assert publisher.drain(PATIENCE_S)
            recorder.wait_count(EMOTION, 5)
            recorder.wait_for(STATUS, b"online")
        assert publisher.counters()["reconnects"] == 0
    assert len([text for text in warnings_of(caplog) if "no retained messages" in text]) == 1


def test_a_broker_with_qos_0_only(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with mosquitto(tmp_path, extra=("max_qos 0",)) as broker:
        with Recorder(broker.port) as recorder:
            publisher = start(broker.port)
            assert publisher.drain(PATIENCE_S)
            recorder.wait(lambda: seqs(recorder) == [1, 2, 3, 4, 5])
        assert publisher.counters()["reconnects"] == 0
        assert publisher.trouble == ""
    assert len([text for text in warnings_of(caplog) if "QoS 0 only" in text]) == 1


def test_a_broker_that_accepts_one_message_at_a_time(tmp_path: Path, start: Start) -> None:
    with mosquitto(tmp_path, extra=("max_inflight_messages 1",)) as broker:
        with Recorder(broker.port) as recorder:
            publisher = start(broker.port, events=50)
            assert publisher.drain(PATIENCE_S)
            recorder.wait_count(EMOTION, 50)
            assert seqs(recorder) == list(range(1, 51))
        assert publisher.counters()["reconnects"] == 0


def test_a_broker_whose_connections_are_all_taken(tmp_path: Path, start: Start) -> None:
    with mosquitto(tmp_path, extra=("max_connections 1",)) as broker:
        first = Link(Access(MqttConfig(port=broker.port)), "first")
        first.open()
        publisher = start(broker.port)
        wait_until(lambda: "max_connections" in publisher.reason, timeout=PATIENCE_S)
        assert "TLS" not in publisher.reason
        first.close()
        assert publisher.drain(PATIENCE_S)


@pytest.mark.parametrize("rules", [f"topic readwrite #\ntopic deny {EMOTION}", "topic read #"])
def test_denied_events_wait_and_are_reported(
    tmp_path: Path, journal: Journal, start: Start, caplog: pytest.LogCaptureFixture, *, rules: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Access rules that forbid everything, or one topic, and are corrected later."""
    monkeypatch.setattr(outbox, "RETRY_S", (0.2, 1.0))
    rule = tmp_path / "acl"
    rule.write_text(f"{rules}\n")
    rule.chmod(0o600)
    with mosquitto(tmp_path, extra=(f"acl_file {rule}",)) as broker:
        publisher = start(broker.port)
        wait_until(lambda: publisher.undelivered != "", timeout=PATIENCE_S)
        assert publisher.connected
        assert f"{EMOTION} is forbidden by the broker's access rules" in publisher.undelivered
        assert "forbidden by the broker's access rules" in publisher.trouble
        assert not publisher.drain(0)
        assert journal.waiting(NODE) == 5
        assert publisher.counters()["acknowledged"] == 0
        assert len([t for t in warnings_of(caplog) if t.startswith(f"{EMOTION} is")]) == 1
        rule.write_text("topic readwrite #\n")
        assert broker._process is not None
        with Recorder(broker.port) as recorder:
            broker._process.send_signal(signal.SIGHUP)
            recorder.wait(lambda: set(seqs(recorder)) == {1, 2, 3, 4, 5}, PATIENCE_S)
        assert publisher.drain(PATIENCE_S)
        assert publisher.undelivered == ""


def test_a_broker_that_supports_only_mqtt_3_1_1(
    broker: Mosquitto, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with OldBroker(broker.port) as old, Recorder(broker.port) as recorder:
        publisher = start(old.port)
        assert publisher.drain(PATIENCE_S)
        recorder.wait_count(EMOTION, 5)
        assert seqs(recorder) == [1, 2, 3, 4, 5]
        assert old.refused == 1
        assert publisher.trouble == ""
        access = Access(MqttConfig(port=old.port))
        for _ in range(2):  # MQTT 5 is tried once, then not for a while
            link = Link(access, "asking")
            link.open()
            assert link.limits == Limits()
            link.close()
        assert old.refused == 2
        assert warnings_of(caplog) == []


def test_the_embedded_broker_supports_only_mqtt_3_1_1() -> None:
    """It is also one of those that misread MQTT 5."""
    with EmbeddedBroker() as broker:
        link = Link(Access(MqttConfig(host="127.0.0.1", port=broker.port)), "asking")
        link.open()
        assert link.limits.version == "3.1.1"
        link.close()


def test_without_mqtt_5_a_message_that_ends_the_connection_is_identified(
    broker: Mosquitto, start: Start, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    with OldBroker(broker.port, most=2048) as old, Recorder(broker.port) as recorder:
        publisher = start(old.port)
        assert publisher.drain(2 * PATIENCE_S)
        recorder.wait(lambda: set(seqs(recorder)) == {1, 2, 3, 4, 5})
        recorder.wait_count(STATE, 1)
        publisher.announce(event=journal.append(new_event(5)))
        before = publisher.counters()["reconnects"]
        assert publisher.drain(PATIENCE_S)
        assert publisher.counters()["reconnects"] == before
        assert publisher.counters()["left_out"] == 0
    assert "does another client call itself" not in caplog.text
    assert "shortened" in caplog.text or f"{DISCOVERY} has " in caplog.text


def test_without_mqtt_5_a_message_without_an_echo_counts_as_undelivered(
    tmp_path: Path, start: Start, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "ECHO_S", 0.5)
    monkeypatch.setattr("serd.mqtt.status.ECHO_S", 0.5)
    rule = tmp_path / "acl"
    rule.write_text("topic read #\n")
    rule.chmod(0o600)
    with (
        mosquitto(tmp_path, extra=(f"acl_file {rule}",)) as broker,
        OldBroker(broker.port) as old,
    ):
        publisher = start(old.port)
        for topic in (STATUS, EMOTION):
            wait_until(lambda name=topic: name in publisher.trouble, timeout=PATIENCE_S)  # type: ignore[misc]
        assert journal.waiting(NODE) == 5
        assert "does not come back" in publisher.trouble
        assert publisher.counters()["acknowledged"] == 0


def test_discovery_payloads_for_any_size_limit() -> None:
    topics = Topics("serd", "living-room")
    whole = discovery_payload(topics, version="1", telemetry_s=60)
    before = len(whole)
    for most in range(len(whole), 0, -97):
        payload = discovery_payload(topics, version="1", telemetry_s=60, bytes_max=most)
        assert len(payload) <= most or len(json.loads(payload)["cmps"]) == 1
        assert len(payload) <= before
        before = len(payload)
    assert "event" in json.loads(payload)["cmps"]


@pytest.mark.parametrize("length", [0, 100, 121, 122, 127, 128, 16_370, 16_383, 16_384, 300_000])
def test_the_packet_limit_applies_to_the_whole_packet(broker: Mosquitto, length: int) -> None:
    link = Link(Access(MqttConfig(port=broker.port)), "sizes")
    link.open()
    size = packet_bytes("a/b", bytes(length), link.limits)
    link.limits = link.limits._replace(packet_bytes=size)
    assert link.publish("a/b", bytes(length), qos=1, retain=False).refusal is None
    link.limits = link.limits._replace(packet_bytes=size - 1)
    refusal = link.publish("a/b", bytes(length), qos=1, retain=False).refusal
    assert refusal is not None
    assert refusal.size == size
    link.close()


def test_a_flapping_network_is_not_blamed_on_a_message() -> None:
    now = [0.0]
    detector = PoisonDetector({EMOTION}, clock=lambda: now[0])
    for seq in range(20):  # another message every time
        detector.sent(EMOTION, 500 + seq)
        detector.disconnected(in_flight=True)
    assert detector.one_at_a_time
    assert detector.refusal(EMOTION, 600) is None
    for _ in range(4):
        detector.sent(EMOTION, 700)
        detector.disconnected(in_flight=False)  # it was acknowledged
    assert detector.refusal(EMOTION, 700) is None
    for _ in range(10):  # always the same one, but within a short time
        detector.sent(EMOTION, 700)
        detector.disconnected(in_flight=True)
    assert detector.refusal(EMOTION, 700) is None
    now[0] += 60
    detector.sent(EMOTION, 700)
    detector.disconnected(in_flight=True)
    assert detector.refusal(EMOTION, 700) is not None
    for _ in range(2):
        detector.sent(DISCOVERY, 5000)
        detector.disconnected(in_flight=True)
    assert detector.refusal(DISCOVERY, 5000) is not None
    assert detector.refusal(DISCOVERY, 4999) is None
    now[0] += 3601
    assert detector.refusal(DISCOVERY, 5000) is None  # it may be another broker by now


def test_a_rejected_connection_is_reported(tmp_path: Path) -> None:
    with mosquitto(tmp_path, password="right") as broker:
        link = Link(Access(MqttConfig(port=broker.port)), "x")
        with pytest.raises(LinkError, match="wants a user name and a password"):
            link.open()
