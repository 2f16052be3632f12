"""The publisher against a real broker that works."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serd.backoff import Backoff
from serd.config import MqttConfig, TlsConfig
from serd.errors import ConfigError, UnavailableError
from serd.events.event import Event, decode, encode
from serd.events.journal import Journal
from serd.mqtt.commands import parse_switch
from serd.mqtt.discovery import discovery_payload
from serd.mqtt.publisher import MqttPublisher
from tests.broker import TIMEOUT_S, Certificates, Mosquitto, Recorder, mosquitto, wait_until
from tests.mqtt.samples import NODE, journalled, new_event, room
from tools.docs.json_schema import event_schema

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

EMOTION = f"serd/{NODE}/emotion"
STATUS = f"serd/{NODE}/status"
STATE = f"serd/{NODE}/state"
MUTE_SET = f"serd/{NODE}/mute/set"
DISCOVERY = f"homeassistant/device/serd_{NODE}/config"

Start = Callable[..., MqttPublisher]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


@pytest.fixture
def start(journal: Journal) -> Iterator[Start]:
    """Starts publishers, and stops them at the end."""
    started: list[MqttPublisher] = []

    def begin(port: int, *, store: object = journal, on_mute: Callable[[bool], None] | None = None,
              former: Sequence[str] = (), **more: object) -> MqttPublisher:  # fmt: skip
        publisher = MqttPublisher(
            MqttConfig(**{"host": "localhost", "port": port, **more}),  # type: ignore[arg-type]
            NODE,
            store,  # type: ignore[arg-type]
            on_mute=on_mute,
            backoff=Backoff(first_s=0.05, longest_s=0.2),
            version="1.2.3",
            former=former,
        )
        started.append(publisher)
        publisher.start()
        return publisher

    yield begin
    for publisher in started:
        publisher.stop(0.5)
        assert not publisher.alive


def append(journal: Journal, publisher: MqttPublisher, number: int = 0) -> Event:
    event = journal.append(new_event(number))
    publisher.announce(event=event)
    return event


def test_everything_that_a_node_publishes(
    broker: Mosquitto, journal: Journal, start: Start
) -> None:
    with Recorder(broker.port) as recorder:
        publisher = start(broker.port)
        publisher.announce(muted=False)
        publisher.announce(speech=True)
        publisher.announce(state=room())
        event = append(journal, publisher)
        publisher.telemetry({"uptime_s": 5, "level_dbfs": float("nan")})
        recorder.wait_count(EMOTION, 1)
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(f"serd/{NODE}/telemetry", 1)
        (payload,) = recorder.on(EMOTION)
        published = decode(payload)
        assert (published.id, published.seq) == (event.id, 1)
        assert published.latency_ms is not None
        assert publisher.latency_ms == published.latency_ms
        jsonschema.validate(json.loads(payload), event_schema())
        assert recorder.on(STATUS) == [b"online"]
        assert json.loads(recorder.on(STATE)[0])["emotion"] == "happy"
        assert recorder.on(f"serd/{NODE}/telemetry") == [b'{"uptime_s":5,"level_dbfs":null}']
        assert publisher.connected
        assert publisher.counters()["published"] == 1
        assert publisher.counters()["acknowledged"] == 1
        assert journal.waiting(NODE) == 0
    with Recorder(broker.port) as late:
        late.wait(lambda: len(late.messages) == 6)
        assert {(message.topic, message.payload) for message in late.messages} == {
            (STATUS, b"online"),
            (STATE, recorder.on(STATE)[0]),
            (f"serd/{NODE}/speech", b"ON"),
            (f"serd/{NODE}/mute", b"OFF"),
            (f"serd/{NODE}/telemetry", b'{"uptime_s":5,"level_dbfs":null}'),
            (DISCOVERY, discovery_payload(publisher.topics, version="1.2.3", telemetry_s=60)),
        }
        assert all(message.retained for message in late.messages)


def test_published_events_equal_the_journals(
    broker: Mosquitto, journal: Journal, start: Start, tmp_path: Path
) -> None:
    with Recorder(broker.port, EMOTION) as recorder:
        publisher = start(broker.port)
        for number in range(5):
            append(journal, publisher, number)
        recorder.wait_count(EMOTION, 5)
        again = [event for event in journal.unacked(NODE) if event.latency_ms is None]
        assert publisher.drain(TIMEOUT_S)
        assert again == []
    journal.flush()
    from serd.events.history import History

    with History(tmp_path / "journal.db") as history:
        assert [encode(event) for event in history.query()] == recorder.on(EMOTION)


def test_stop_sends_the_remaining_events_and_then_offline(
    broker: Mosquitto, journal: Journal, start: Start
) -> None:
    with Recorder(broker.port) as recorder:
        publisher = start(broker.port)
        wait_until(lambda: publisher.connected)
        for event in journalled(journal, 300):
            publisher.announce(event=event)
        publisher.stop(TIMEOUT_S)
        assert not publisher.alive
        assert not publisher.connected
        recorder.wait_for(STATUS, b"offline")
        assert [decode(payload).seq for payload in recorder.on(EMOTION)] == list(range(1, 301))
        assert recorder.on(STATUS) == [b"online", b"offline"]
        # "offline" comes last: a subscriber that gets it has received everything.
        assert recorder.messages[-1].payload == b"offline"
    with Recorder(broker.port, STATUS) as late:
        late.wait_for(STATUS, b"offline")


def test_seq_continues_with_the_next_publisher(
    broker: Mosquitto, journal: Journal, start: Start, tmp_path: Path
) -> None:
    with Recorder(broker.port, EMOTION) as recorder:
        for _ in range(3):
            publisher = start(broker.port)
            for _ in range(7):
                append(journal, publisher)
            assert publisher.drain(TIMEOUT_S)
            publisher.stop()
        recorder.wait_count(EMOTION, 21)
        assert [decode(payload).seq for payload in recorder.on(EMOTION)] == list(range(1, 22))


def test_the_backlog_of_an_earlier_process_is_sent_first(
    broker: Mosquitto, journal: Journal, start: Start
) -> None:
    journalled(journal, 500)
    with Recorder(broker.port, EMOTION) as recorder:
        publisher = start(broker.port)
        for number in range(50):
            append(journal, publisher, number)
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(EMOTION, 550)
        assert [decode(payload).seq for payload in recorder.on(EMOTION)] == list(range(1, 551))


def test_drain_without_a_broker_times_out(journal: Journal, start: Start) -> None:
    publisher = start(1)
    assert not publisher.drain(0.1)


def test_drain_waits_for_retained_values_too(broker: Mosquitto, start: Start) -> None:
    publisher = start(broker.port)
    for number in range(50):
        publisher.announce(state=room(str(number)))
        assert publisher.drain(TIMEOUT_S)
    with Recorder(broker.port, STATE) as late:
        late.wait(lambda: b'"49"' in late.on(STATE)[0] if late.on(STATE) else False)


def test_everything_is_republished_when_home_assistant_starts(
    broker: Mosquitto, start: Start
) -> None:
    with Recorder(broker.port) as recorder:
        recorder.publish("homeassistant/status", b"online", retain=True)
        publisher = start(broker.port)
        publisher.announce(state=room())
        publisher.announce(muted=True)
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(STATE, 1)
        # The retained "online" from before must not trigger a second announcement:
        assert len(recorder.on(DISCOVERY)) == 1
        recorder.publish("homeassistant/status", b"offline")
        recorder.publish("homeassistant/status", b"online")
        recorder.wait_count(DISCOVERY, 2)
        recorder.wait_count(STATE, 2)
        recorder.wait_count(f"serd/{NODE}/mute", 2)
        recorder.wait_count(STATUS, 2)
        assert recorder.on(EMOTION) == []


def test_discovery_can_be_disabled(broker: Mosquitto, start: Start) -> None:
    with Recorder(broker.port) as recorder:
        publisher = start(broker.port, discovery=False)
        publisher.announce(state=room())
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(STATE, 1)
        assert recorder.on(DISCOVERY) == []


def test_another_clients_offline_is_overwritten(
    broker: Mosquitto, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(broker.port) as recorder:
        start(broker.port)
        recorder.wait_for(STATUS, b"online")
        recorder.publish(STATUS, b"offline", retain=True)
        recorder.wait_for(STATUS, b"online", times=2)
        assert recorder.on(STATUS)[-1] == b"online"
        wait_until(lambda: "second serd" in caplog.text)


def test_a_renamed_node_sends_events_waiting_under_its_old_name(
    broker: Mosquitto, start: Start, journal: Journal
) -> None:
    old = journalled(journal, 3, node="old-name")
    with Recorder(broker.port) as recorder:
        publisher = start(broker.port, former=["old-name"])
        recorder.wait_count("serd/old-name/emotion", 3)
        assert publisher.drain(TIMEOUT_S)
        resent = [decode(payload) for payload in recorder.on("serd/old-name/emotion")]
        assert [(event.id, event.node, event.seq) for event in resent] == [
            (event.id, "old-name", event.seq) for event in old
        ]
        # Nothing else is published under the old name.
        assert {m.topic for m in recorder.messages if "/old-name/" in m.topic} == {
            "serd/old-name/emotion"
        }
    assert journal.waiting("old-name") == 0


def test_the_nodes_own_late_will_is_not_taken_for_a_second_serd(
    broker: Mosquitto, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = start(broker.port)
    wait_until(lambda: publisher.connected)
    broker.restart(kill=True)
    wait_until(lambda: publisher.counters()["reconnects"] == 1)
    with Recorder(broker.port, STATUS) as recorder:
        recorder.wait_for(STATUS, b"online")
        # As a broker does that notices the lost connection late, or gets the will over a bridge.
        recorder.publish(STATUS, b"offline", retain=True)
        recorder.wait_for(STATUS, b"online", times=2)
        assert "second serd" not in caplog.text
        assert publisher.conflict == ""
        recorder.publish(STATUS, b"offline", retain=True)  # a will is sent only once
        wait_until(lambda: publisher.conflict != "")
    assert "second serd" in caplog.text


def test_the_will_of_a_stopping_broker_is_not_taken_for_a_second_serd(
    broker: Mosquitto, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """mosquitto may send a client its own will when it stops, just before the connection ends."""
    publisher = start(broker.port)
    wait_until(lambda: publisher.connected)
    with Recorder(broker.port, STATUS) as recorder:
        recorder.wait_for(STATUS, b"online")
        recorder.publish(STATUS, b"offline", retain=True)
        recorder.wait_for(STATUS, b"online", times=2)  # the publisher has seen it
    broker.restart()
    wait_until(lambda: publisher.counters()["reconnects"] == 1)
    assert "second serd" not in caplog.text
    assert publisher.conflict == ""


def test_mute_command(broker: Mosquitto, start: Start) -> None:
    commands: list[bool] = []
    called = threading.Event()

    def on_mute(on: bool) -> None:
        commands.append(on)
        called.set()

    with Recorder(broker.port) as recorder:
        recorder.publish(MUTE_SET, b"ON", retain=True)  # an old one that the broker replays
        publisher = start(broker.port, on_mute=on_mute)
        wait_until(lambda: publisher.counters()["commands_ignored"] == 1)
        recorder.publish(MUTE_SET, b"OFF")
        assert called.wait(TIMEOUT_S)
        assert commands == [False]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture],
          deadline=None)  # fmt: skip
@given(payload=st.binary(max_size=2000) | st.sampled_from([b"ON", b"OFF"]))
def test_any_mute_payload_is_obeyed_or_ignored(
    fuzzed: tuple[Recorder, MqttPublisher, list[bool]], payload: bytes
) -> None:
    recorder, publisher, commands = fuzzed
    obeyed, ignored = len(commands), publisher.counters()["commands_ignored"]
    recorder.publish(MUTE_SET, payload)
    if (on := parse_switch(payload)) is not None:
        wait_until(lambda: len(commands) == obeyed + 1)
        assert commands[-1] is on
    else:
        wait_until(lambda: publisher.counters()["commands_ignored"] == ignored + 1)
        assert len(commands) == obeyed
    assert publisher.connected
    assert publisher.counters()["reconnects"] == 0


@pytest.fixture
def fuzzed(broker: Mosquitto, start: Start) -> Iterator[tuple[Recorder, MqttPublisher, list[bool]]]:
    commands: list[bool] = []
    with Recorder(broker.port, STATUS) as recorder:
        publisher = start(broker.port, on_mute=commands.append)
        wait_until(lambda: publisher.connected)
        yield recorder, publisher, commands


def test_wrong_password_then_the_right_one(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("wr0ng-s3cret\n")
    with mosquitto(tmp_path, password="right-s3cret") as broker:
        publisher = start(broker.port, username="serd", password_file=str(secret))
        broker.wait_log("disconnected, not authorised", count=3)
        assert "wrong user name or password" in publisher.reason
        secret.write_text("right-s3cret\n")
        wait_until(lambda: publisher.connected)
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING and "wrong" in r.message]
    assert len(warnings) == 1
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(publisher) + repr(vars(publisher))


def test_tls_with_client_certificate(
    tmp_path: Path, certificates: Certificates, journal: Journal, start: Start
) -> None:
    tls = TlsConfig(
        ca=str(certificates.ca), cert=str(certificates.client), key=str(certificates.client_key)
    )
    with mosquitto(tmp_path, tls=certificates, client_certificates=True) as broker:
        publisher = start(broker.port, tls=tls)
        for number in range(200):
            append(journal, publisher, number)
        assert publisher.drain(TIMEOUT_S)
        assert journal.waiting(NODE) == 0


def test_expired_certificate(tmp_path: Path, certificates: Certificates, start: Start) -> None:
    with mosquitto(tmp_path, tls=certificates, expired=True) as broker:
        publisher = start(broker.port, tls=TlsConfig(ca=str(certificates.ca)))
        wait_until(lambda: "certificate has expired" in publisher.reason)


def test_a_deleted_ca_file_is_reported_and_retried(
    tmp_path: Path, certificates: Certificates, start: Start
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(certificates.ca.read_bytes())
    with mosquitto(tmp_path, tls=certificates) as broker:
        publisher = start(broker.port, tls=TlsConfig(ca=str(ca)))
        wait_until(lambda: publisher.connected)
        ca.unlink()
        broker.restart()
        wait_until(lambda: "mqtt.tls.ca: cannot read" in publisher.reason)
        ca.write_bytes(certificates.ca.read_bytes())
        wait_until(lambda: publisher.connected)


def test_invalid_settings_are_reported_before_the_start(journal: Journal) -> None:
    with pytest.raises(ConfigError, match="cannot be part of a topic"):
        MqttPublisher(MqttConfig(), "a/b", journal)
    with pytest.raises(ConfigError, match="cannot read /nowhere"):
        MqttPublisher(MqttConfig(username="u", password_file="/nowhere"), NODE, journal)


class FaultyStore:
    """A journal whose reads can be blocked, or made to fail."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.released = threading.Event()
        self.released.set()
        self.held = threading.Event()
        self.errors: list[Exception] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    def unacked(self, node: str, *, limit: int = 100, after_seq: int = 0) -> list[Event]:
        self.held.set()
        assert self.released.wait(TIMEOUT_S)
        if self.errors:
            raise self.errors.pop()
        return self._journal.unacked(node, limit=limit, after_seq=after_seq)


def test_announcing_never_blocks_the_pipeline(
    broker: Mosquitto, journal: Journal, start: Start
) -> None:
    """If a call waited for the blocked publisher thread, this test would hang."""
    store = FaultyStore(journal)
    store.released.clear()
    publisher = start(broker.port, store=store)
    assert store.held.wait(TIMEOUT_S)
    for number, event in enumerate(journalled(journal, 1000)):
        publisher.announce(event=event)
        publisher.announce(state=room(str(number)))
        publisher.announce(speech=number % 2 == 0)
        publisher.announce(muted=False)
        publisher.telemetry({"uptime_s": number})
    with Recorder(broker.port) as recorder:
        store.released.set()
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(EMOTION, 1000)
        assert [decode(payload).seq for payload in recorder.on(EMOTION)] == list(range(1, 1001))
        assert len(recorder.on(STATE)) == 1  # only the latest of a thousand
        assert b'"999"' in recorder.on(STATE)[0]


def test_journal_errors_are_survived_and_logged_once(
    broker: Mosquitto, journal: Journal, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    journalled(journal, 3)
    store = FaultyStore(journal)
    store.errors = [UnavailableError("the disk is gone") for _ in range(2)]
    publisher = start(broker.port, store=store)
    assert publisher.drain(TIMEOUT_S)
    assert caplog.text.count("the disk is gone") == 1
    assert publisher.counters()["reconnects"] == 0


def test_an_unexpected_error_is_logged_and_survived(
    broker: Mosquitto, journal: Journal, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    journalled(journal, 3)
    store = FaultyStore(journal)
    store.errors = [RuntimeError("a bug")]
    publisher = start(broker.port, store=store)
    assert publisher.drain(TIMEOUT_S)
    assert "unexpected error in the MQTT publisher" in caplog.text
    assert publisher.counters()["reconnects"] == 1


def test_stop_before_start_and_twice(journal: Journal) -> None:
    publisher = MqttPublisher(MqttConfig(port=1), NODE, journal)
    publisher.stop(0.1)
    publisher.stop(0.1)
