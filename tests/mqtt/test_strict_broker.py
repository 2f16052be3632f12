"""Brokers that end the connection instead of refusing, refuse subscriptions, or count strictly."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from serd.backoff import Backoff
from serd.config import MqttConfig
from serd.events.event import decode
from serd.events.journal import Journal
from serd.mqtt import refusals
from serd.mqtt.access import Access
from serd.mqtt.link import Link
from serd.mqtt.publisher import MqttPublisher
from serd.mqtt.refusals import PoisonDetector
from tests.broker import TIMEOUT_S, wait_until
from tests.mqtt.samples import NODE, journalled, room
from tests.mqtt.strict_broker import (
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    QUOTA_EXCEEDED,
    StrictBroker,
)

if TYPE_CHECKING:
    from pathlib import Path

EMOTION = f"serd/{NODE}/emotion"
STATUS = f"serd/{NODE}/status"
STATE = f"serd/{NODE}/state"
SPEECH = f"serd/{NODE}/speech"
MUTE_SET = f"serd/{NODE}/mute/set"
PATIENCE_S = 2 * TIMEOUT_S

Start = Callable[..., MqttPublisher]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


@pytest.fixture
def start(journal: Journal) -> Iterator[Start]:
    started: list[MqttPublisher] = []

    def begin(port: int, *, events: int = 3) -> MqttPublisher:
        publisher = MqttPublisher(
            MqttConfig(host="127.0.0.1", port=port),
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


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(
    ("code", "reason"),
    [(NOT_AUTHORIZED, "not authorized"), (QUOTA_EXCEEDED, "quota exceeded")],
)
def test_events_over_which_the_broker_hangs_up_wait(
    journal: Journal,
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    code: int,
    reason: str,
    at_once: bool,
) -> None:
    """They are neither lost nor forgotten: they go out as soon as the broker takes them."""
    monkeypatch.setattr(refusals, "_RETRY_S", (0.3, 1.0))
    with StrictBroker(hang_up={EMOTION: code}, at_once=at_once) as broker:
        publisher = start(broker.port)
        wait_until(lambda: publisher.undelivered != "", timeout=PATIENCE_S)
        for said in (publisher.trouble, publisher.undelivered):
            assert EMOTION in said
            assert reason in said
        assert journal.waiting(NODE) == 3
        assert publisher.counters()["left_out"] == 0
        assert publisher.counters()["acknowledged"] == 0
        wait_until(lambda: broker.retained.get(STATE) is not None, timeout=PATIENCE_S)
        assert "bytes" not in publisher.trouble
        tried = len(broker.hung_up)
        wait_until(lambda: len(broker.hung_up) > tried + 1, timeout=PATIENCE_S)
        broker.hang_up.clear()
        assert publisher.drain(PATIENCE_S)
        assert [decode(payload).seq for payload in broker.on(EMOTION)] == [1, 2, 3]
        assert publisher.trouble == publisher.undelivered == ""
    assert "does another client call itself" not in caplog.text
    assert len([text for text in warnings_of(caplog) if text.startswith(EMOTION)]) == 1


def test_a_status_over_which_the_broker_hangs_up_is_named(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with StrictBroker(hang_up={STATUS: NOT_AUTHORIZED}) as broker:
        publisher = start(broker.port)
        assert publisher.drain(PATIENCE_S)
        assert [decode(payload).seq for payload in broker.on(EMOTION)] == [1, 2, 3]
        assert STATUS in publisher.trouble
        assert "not authorized" in publisher.trouble
        assert publisher.conflict == ""
        before = broker.connections
        time.sleep(0.5)
        assert broker.connections == before
    assert "does another client call itself" not in caplog.text


def test_a_message_with_qos_0_over_which_the_broker_hangs_up_is_named(start: Start) -> None:
    with StrictBroker(hang_up={SPEECH: NOT_AUTHORIZED}) as broker:
        publisher = start(broker.port)
        wait_until(lambda: SPEECH in publisher.trouble, timeout=PATIENCE_S)
        assert broker.retained[STATE]


def test_the_reason_decides_whether_a_message_is_left_out() -> None:
    now = [0.0]

    def blocked(reason: str, topic: str = EMOTION) -> PoisonDetector:
        detector = PoisonDetector({EMOTION}, clock=lambda: now[0])
        for _ in range(20):
            detector.sent(topic, 700)
            detector.disconnected(in_flight=True, reason=reason)
            now[0] += 5
        return detector

    for reason in ("", "Packet too large", "Malformed packet", "Payload format invalid"):
        found = blocked(reason).refusal(EMOTION, 700)
        assert found is not None
        assert found.size == 700
        assert reason.lower() in found.reason
        assert blocked(reason).refusal(EMOTION, 699) is None
    for reason in ("Not authorized", "Quota exceeded", "Topic name invalid", "Unspecified error",
                   "Implementation specific error", "Protocol error"):  # fmt: skip
        detector = blocked(reason)
        found = detector.refusal(EMOTION, 20)
        assert found is not None
        assert found.size is None
        assert found.retry_at is not None
        assert found.retry_at <= now[0] + 300
        assert detector.bytes_max(EMOTION) is None
        now[0] = found.retry_at
        assert detector.refusal(EMOTION, 700) is None
    found = blocked("Not authorized", STATE).refusal(STATE, 20)  # a value is simply sent again
    assert found is not None
    assert found.retry_at is not None
    assert found.retry_at > now[0] + 3000


def test_a_reason_that_comes_after_everything_seemed_delivered_counts() -> None:
    """A message with QoS 0 seems delivered as soon as it is sent."""
    now = [0.0]
    detector = PoisonDetector(set(), clock=lambda: now[0])
    for _ in range(2):
        detector.sent(SPEECH, 20)
        detector.delivered()
        detector.disconnected(in_flight=False, reason="Not authorized")
        now[0] += 60
    assert detector.one_at_a_time
    detector.sent(STATE, 20)
    now[0] += 1
    detector.delivered()
    assert detector.one_at_a_time
    now[0] += 10
    detector.delivered()
    assert not detector.one_at_a_time


def test_retries_become_rarer_and_start_over_after_a_long_time() -> None:
    now = [0.0]
    detector = PoisonDetector({EMOTION}, clock=lambda: now[0])

    def next_pause() -> float:
        while (found := detector.refusal(EMOTION, 700)) is None:
            detector.sent(EMOTION, 700)
            detector.disconnected(in_flight=True, reason="Not authorized")
        assert found.retry_at is not None
        pause = found.retry_at - now[0]
        now[0] = found.retry_at
        return pause

    assert [next_pause() for _ in range(9)] == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    now[0] += 3601
    assert next_pause() == 5


def test_an_event_too_large_for_a_broker_that_hangs_up_with_that_reason_is_left_out(
    start: Start, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_EVENT_S", 0.5)
    with StrictBroker(hang_up={EMOTION: PACKET_TOO_LARGE}) as broker:
        publisher = start(broker.port, events=1)
        assert publisher.drain(PATIENCE_S)
        assert publisher.counters()["left_out"] == 1
        assert "(packet too large)" in publisher.trouble
        assert journal.waiting(NODE) == 0


def test_refused_subscriptions_are_named_until_the_broker_grants_them(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with StrictBroker(unreadable=(MUTE_SET, "homeassistant/status")) as broker:
        publisher = start(broker.port)
        wait_until(lambda: publisher.trouble != "")
        assert f"subscribe to {MUTE_SET}, homeassistant/status," in publisher.trouble
        assert publisher.drain(PATIENCE_S)
        assert publisher.trouble != ""  # although everything that is published is taken
        broker.unreadable = ()
        broker.hang_up[STATE] = PACKET_TOO_LARGE  # ends the connection
        publisher.announce(state=room("sad"))
        wait_until(lambda: broker.hung_up != [])
        broker.hang_up.clear()
        wait_until(lambda: publisher.trouble == "")
        assert publisher.drain(PATIENCE_S)
    assert len([text for text in warnings_of(caplog) if "subscribe" in text]) == 1


@pytest.mark.parametrize("forget", [False, True])
def test_the_receive_maximum_is_respected_until_the_end(
    start: Start, journal: Journal, caplog: pytest.LogCaptureFixture, *, forget: bool
) -> None:
    with StrictBroker(receive_maximum=1, acknowledge_after_s=0.03) as broker:
        publisher = start(broker.port)
        assert publisher.drain(PATIENCE_S)
        publisher.announce(state=room("sad"))
        publisher.announce(muted=True)
        publisher.leave(5.0, forget=forget)
        publisher.stop()
        assert broker.violations == []
        if forget:
            wait_until(lambda: broker.retained == {})
        else:
            wait_until(lambda: broker.retained.get(STATUS) == b"offline")
            assert b'"sad"' in broker.retained[STATE]
        assert broker.connections == 1
    assert "still keeps" not in caplog.text


def test_a_broker_too_slow_for_a_clean_end_learns_it_from_the_last_will(start: Start) -> None:
    with StrictBroker(receive_maximum=1) as broker:
        publisher = start(broker.port)
        assert publisher.drain(PATIENCE_S)
        broker.acknowledge_after_s = 60.0
        publisher.announce(state=room("sad"))
        wait_until(lambda: b'"sad"' in broker.retained.get(STATE, b""))
        publisher.stop(0.6)
        wait_until(lambda: broker.retained.get(STATUS) == b"offline")
        assert broker.violations == []


def test_what_stays_behind_is_reported_when_the_connection_breaks_at_the_end(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with StrictBroker() as broker:
        publisher = start(broker.port)
        assert publisher.drain(PATIENCE_S)
        broker.hang_up[STATE] = NOT_AUTHORIZED
        publisher.leave(2.0, forget=True)
        publisher.stop()
        assert broker.hung_up == [STATE]
    assert f"the broker still keeps what {NODE} has said" in caplog.text


def test_probes_respect_the_receive_maximum() -> None:
    with StrictBroker(receive_maximum=1, acknowledge_after_s=0.05) as broker:
        link = Link(Access(MqttConfig(host="127.0.0.1", port=broker.port)), "probe")
        link.open()
        link.subscribe(["a", "b", "c"])
        back, refused = link.round_trip([("a", b"1"), ("b", b"2"), ("c", b"3")], TIMEOUT_S)
        link.close()
        assert (back, refused) == ({"a", "b", "c"}, {})
        assert broker.violations == []
