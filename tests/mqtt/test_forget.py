"""Forgetting a node removes what it retained, soon and nothing else."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from serd.config import MqttConfig
from serd.mqtt.retained import forget
from tests.broker import TIMEOUT_S, Mosquitto, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.broker


@pytest.fixture
def recorder(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port) as running:
        yield running


def settings(broker: Mosquitto, base: str = "serd") -> MqttConfig:
    return MqttConfig(host="127.0.0.1", port=broker.port, base_topic=base)


def retained(broker: Mosquitto, expected: set[str]) -> None:
    """Check which topics have a retained message."""
    with Recorder(broker.port) as late:
        late.publish("end", b"")
        late.wait_count("end", 1)
        assert {message.topic for message in late.messages if message.retained} == expected


def test_a_busy_node_is_forgotten_in_time(broker: Mosquitto, recorder: Recorder) -> None:
    done = threading.Event()

    def talk() -> None:
        while not done.wait(0.02):
            recorder.publish("serd/attic/emotion", b"{}")

    recorder.publish("serd/attic/status", b"online", retain=True)
    talking = threading.Thread(target=talk)
    talking.start()
    try:
        began = time.monotonic()
        forgotten = forget(settings(broker), "attic")
        assert time.monotonic() - began < TIMEOUT_S / 2
    finally:
        done.set()
        talking.join()
    assert forgotten.removed == 1
    assert forgotten.online
    retained(broker, set())


def test_other_nodes_below_its_name_stay(broker: Mosquitto, recorder: Recorder) -> None:
    """`serd/home` is a node here, and the base topic of others."""
    others = {
        "serd/home/kitchen/status",
        "serd/home/kitchen/mute",
        "serd/home/kitchen/sensitivity/set",
        "serd/homeless/status",
    }
    own = {
        "serd/home/status",
        "serd/home/mute",
        "serd/home/weather",  # of a later version
        "serd/home/mute/set",
        "serd/home/correct/result",
        "homeassistant/device/serd_home/config",
    }
    for topic in others | own:
        recorder.publish(topic, b"online", retain=True)
    forgotten = forget(settings(broker), "home")
    assert forgotten.removed == len(own)
    assert forgotten.others == ("homeless",)
    retained(broker, others)
    assert forget(settings(broker, "serd/home"), "kitchen").removed == 3
    retained(broker, {"serd/homeless/status"})
