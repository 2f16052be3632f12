"""A correction sent over MQTT is answered by the node, and by nobody and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from serd.config import MqttConfig
from serd.errors import UnavailableError
from serd.mqtt import commands
from serd.mqtt.access import Access
from serd.mqtt.commands import (
    LAST,
    CorrectRequest,
    CorrectResult,
    encode_correction,
    encode_result,
    parse_correction,
    send_correction,
)
from serd.mqtt.link import Link
from serd.mqtt.topics import Topics
from tests.mqtt.samples import NODE
from tests.mqtt.strict_broker import StrictBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPICS = Topics("serd", NODE)
EVENT = "01a22f61-ef70-751b-bf16-997def3231a8"


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictBroker]:
    monkeypatch.setattr(commands, "CORRECTION_TIMEOUT_S", 2.0)
    monkeypatch.setattr(commands, "_UNMARKED_S", 0.5)
    with StrictBroker() as running:
        yield running


def correct(broker: StrictBroker, which: str = LAST) -> CorrectResult:
    access = Access(MqttConfig(host="127.0.0.1", port=broker.port))
    return send_correction(access, TOPICS, CorrectRequest(id=which, emotion="happy"))


def result(message: str, **more: Any) -> bytes:
    answer = {"id": EVENT, "ok": True, "message": message, "corrections": 1, "emotion": "happy"}
    return json.dumps({**answer, **more}).encode()


def answer(broker: StrictBroker, *payloads: bytes, marked: bytes | None = None) -> None:
    """Answer the next command with these payloads, and with one that has its mark."""

    def on_message(topic: str, payload: bytes) -> None:
        if topic != TOPICS.correct:
            return
        for each in payloads:
            broker.accept(TOPICS.correct_result, each, retain=False)
        if marked is not None:
            own = {**json.loads(marked), "request": json.loads(payload)["request"]}
            broker.accept(TOPICS.correct_result, json.dumps(own).encode(), retain=False)

    broker.on_message = on_message


def test_a_retained_answer_is_none(broker: StrictBroker) -> None:
    broker.retained[TOPICS.correct_result] = result("of last week")
    broker.retained[TOPICS.status] = b"offline"
    for which in (LAST, EVENT):
        with pytest.raises(UnavailableError, match=f"{NODE} is offline"):
            correct(broker, which)


def test_an_answer_before_the_question_is_none(
    broker: StrictBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe, wait = broker.subscribe, Link.wait_for_subscription

    def subscribe_and_tell(topic_filter: str, writer: Any) -> None:
        subscribe(topic_filter, writer)
        if topic_filter == TOPICS.status:
            broker.accept(TOPICS.correct_result, result("of somebody else"), retain=False)

    def wait_until_told(link: Link, timeout: float) -> bool | None:
        granted = wait(link, timeout)
        while not link.received:
            link.step(0.1)
        return granted

    monkeypatch.setattr(broker, "subscribe", subscribe_and_tell)
    monkeypatch.setattr(Link, "wait_for_subscription", wait_until_told)
    with pytest.raises(UnavailableError, match="has not answered"):
        correct(broker)


@pytest.mark.parametrize("which", [LAST, EVENT])
def test_the_marked_answer_is_ours(broker: StrictBroker, which: str) -> None:
    others = (result("without a mark"), result("another's", request="0123"), b"rubbish")
    answer(broker, *others, marked=result("ours"))
    assert correct(broker, which).message == "ours"


def test_a_node_of_an_older_version_answers_without_a_mark(broker: StrictBroker) -> None:
    answer(broker, result("of another", request="0123"), result("of the node"))
    assert correct(broker).message == "of the node"


def test_the_mark_goes_there_and_back() -> None:
    sent = CorrectRequest(id=EVENT, emotion="sad", request="abc")
    assert parse_correction(encode_correction(sent)) == sent
    answered = CorrectResult(id=EVENT, ok=True, message="noted", corrections=1, emotion="sad")
    assert json.loads(encode_result(answered, sent))["request"] == "abc"
    for mark in (None, 7, "x" * 65, ["abc"]):
        payload = json.dumps({"id": EVENT, "emotion": "sad", "request": mark}).encode()
        assert parse_correction(payload).request is None
