"""``serd discovery remove``, with a real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker import Mosquitto, Recorder, mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]

pytestmark = pytest.mark.broker

CONFIG = "homeassistant/device/serd_{}/config"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def remove(serd: Serd, broker: Mosquitto) -> Callable[..., Outcome]:
    def call(*arguments: str) -> Outcome:
        settings = ("mqtt.host=127.0.0.1", f"mqtt.port={broker.port}", "node=attic")
        options = [part for setting in settings for part in ("--set", setting)]
        return serd("discovery", "remove", *arguments, *options)

    return call


def leave(broker: Mosquitto, node: str, status: bytes = b"offline") -> None:
    """Publish the retained messages that a node leaves on the broker."""
    with Recorder(broker.port) as recorder:
        recorder.publish(CONFIG.format(node), b"{}", retain=True)
        recorder.publish(f"serd/{node}/status", status, retain=True)
        for kind in ("state", "speech", "mute", "telemetry"):
            recorder.publish(f"serd/{node}/{kind}", b"x", retain=True)


def retained(broker: Mosquitto) -> set[str]:
    with Recorder(broker.port) as recorder:
        recorder.publish("end", b"")
        recorder.wait_for("end", b"")
        return {m.topic for m in recorder.messages if m.retained and "/" in m.topic}


def test_removes_this_node_only(remove: Callable[..., Outcome], broker: Mosquitto) -> None:
    leave(broker, "attic")
    leave(broker, "kitchen")
    before = retained(broker)
    code, out, err = remove()
    assert (code, err) == (0, "")
    assert "attic" in out
    assert before - retained(broker) == {CONFIG.format("attic")}


def test_removes_a_named_node(remove: Callable[..., Outcome], broker: Mosquitto) -> None:
    leave(broker, "attic")
    leave(broker, "kitchen")
    before = retained(broker)
    assert remove("kitchen").code == 0
    assert before - retained(broker) == {CONFIG.format("kitchen")}


def test_purge_removes_every_topic_of_the_node(
    remove: Callable[..., Outcome], broker: Mosquitto
) -> None:
    leave(broker, "attic")
    leave(broker, "kitchen")
    assert remove("--purge").code == 0
    left = retained(broker)
    assert left
    assert not any("attic" in topic for topic in left)


def test_warns_about_a_running_node(remove: Callable[..., Outcome], broker: Mosquitto) -> None:
    leave(broker, "attic", status=b"online")
    code, _, err = remove()
    assert code == 0
    assert "attic is running" in err
    assert CONFIG.format("attic") not in retained(broker)


def test_removing_an_unknown_node_is_not_an_error(remove: Callable[..., Outcome]) -> None:
    assert remove("nobody").code == 0


def test_an_invalid_name_is_rejected(remove: Callable[..., Outcome]) -> None:
    code, out, err = remove("a/b")
    assert (code, out) == (2, "")
    assert "a/b" in err


def test_an_unreachable_broker_is_an_error(
    remove: Callable[..., Outcome], broker: Mosquitto
) -> None:
    broker.stop()
    code, out, err = remove()
    assert (code, out) == (69, "")
    assert "connection refused" in err
