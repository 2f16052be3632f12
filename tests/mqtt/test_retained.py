"""Of each retained value, only the latest is sent."""

from __future__ import annotations

from serd.mqtt.retained import RetainedMessage, RetainedValues
from tests.mqtt.samples import FakeReceipt


def take(values: RetainedValues, receipt: FakeReceipt | None = None) -> list[RetainedMessage]:
    taken = []
    for message in values.due():
        values.handed(message, receipt or FakeReceipt(done=True))
        taken.append(message)
    return taken


def test_only_the_latest_value_is_sent() -> None:
    values = RetainedValues()
    for number in range(100):
        values.put("state", b"%d" % number, qos=1)
    assert take(values) == [RetainedMessage("state", b"99", 1)]
    assert take(values) == []
    assert values.idle


def test_an_unchanged_value_is_not_sent_again() -> None:
    values = RetainedValues()
    assert values.put("mute", b"ON", qos=1)
    take(values)
    assert not values.put("mute", b"ON", qos=1)
    assert take(values) == []
    assert values.put("mute", b"OFF", qos=1)
    assert take(values) == [RetainedMessage("mute", b"OFF", 1)]


def test_at_most_one_message_per_topic_is_in_flight() -> None:
    values = RetainedValues()
    receipt = FakeReceipt()
    values.put("state", b"1", qos=1)
    take(values, receipt)
    values.put("state", b"2", qos=1)
    values.put("state", b"3", qos=1)
    assert take(values) == []
    assert not values.idle
    receipt.done = True
    assert take(values) == [RetainedMessage("state", b"3", 1)]
    assert values.idle


def test_a_value_that_changes_while_it_is_handed_over_is_sent_too() -> None:
    values = RetainedValues()
    values.put("state", b"1", qos=1)
    for message in values.due():
        values.put("state", b"2", qos=1)
        values.handed(message, FakeReceipt(done=True))
    assert take(values) == [RetainedMessage("state", b"2", 1)]


def test_a_restart_resends_everything() -> None:
    values = RetainedValues()
    values.put("state", b"1", qos=1)
    values.put("speech", b"ON", qos=0)
    take(values, FakeReceipt())
    assert not values.idle
    values.restart()
    assert sorted(take(values)) == [
        RetainedMessage("speech", b"ON", 0),
        RetainedMessage("state", b"1", 1),
    ]
    assert values.idle
