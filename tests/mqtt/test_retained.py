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


def test_only_the_latest_value() -> None:
    values = RetainedValues()
    for number in range(100):
        values.put("state", b"%d" % number, qos=1)
    assert take(values) == [RetainedMessage("state", b"99", 1)]
    assert take(values) == []
    assert values.idle


def test_the_same_value_is_not_said_twice() -> None:
    values = RetainedValues()
    assert values.put("mute", b"ON", qos=1)
    take(values)
    assert not values.put("mute", b"ON", qos=1)
    assert take(values) == []
    assert values.put("mute", b"OFF", qos=1)
    assert take(values) == [RetainedMessage("mute", b"OFF", 1)]


def test_one_message_of_a_topic_in_flight() -> None:
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


def test_value_that_changes_while_it_is_handed_over() -> None:
    values = RetainedValues()
    values.put("state", b"1", qos=1)
    for message in values.due():
        values.put("state", b"2", qos=1)
        values.handed(message, FakeReceipt(done=True))
    assert take(values) == [RetainedMessage("state", b"2", 1)]


def test_restart_says_everything_again() -> None:
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
