"""``serd forget``, with a real broker and the messages of a real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.audio import SAMPLE
from tests.broker import Mosquitto, Recorder, mosquitto
from tests.cli.test_discovery import leave, retained
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]

pytestmark = pytest.mark.broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def forget(serd: Serd, broker: Mosquitto) -> Callable[..., Outcome]:
    def call(*arguments: str) -> Outcome:
        return serd(
            "forget", *arguments, "--set", "mqtt.host=127.0.0.1", "--set",
            f"mqtt.port={broker.port}",
        )  # fmt: skip

    return call


def test_removes_every_topic_of_the_node_and_no_other(
    forget: Callable[..., Outcome], broker: Mosquitto
) -> None:
    leave(broker, "attic")
    leave(broker, "kitchen")
    with Recorder(broker.port) as recorder:  # from a later version, say
        recorder.publish("serd/attic/weather", b"rain", retain=True)
    before = retained(broker)
    code, out, err = forget("attic")
    assert (code, err) == (0, "")
    assert out.startswith("attic is forgotten at 127.0.0.1:")
    left = retained(broker)
    assert left == {topic for topic in before if "attic" not in topic}
    assert left


def test_an_unknown_node_gets_a_suggestion(
    forget: Callable[..., Outcome], broker: Mosquitto
) -> None:
    leave(broker, "kitchen")
    code, out, _ = forget("kitchn")
    assert code == 0
    assert "keeps nothing of kitchn; did you mean kitchen?" in out
    assert forget("a/b").code == 2


def test_a_run_on_a_recording_leaves_nothing_behind_without_keep(
    tmp_path: Path, forget: Callable[..., Outcome], broker: Mosquitto
) -> None:
    play = ("--source", str(SAMPLE), "--pace", "fast")
    with Recorder(broker.port) as recorder:
        with Node(tmp_path, broker.port, *play) as node:
            assert node.wait() == 0, node.log
        # Clients that were connected have seen the node appear and disappear.
        recorder.wait_for("serd/test-room/status", b"offline")
        recorder.wait_for("homeassistant/device/serd_test-room/config", b"")
    assert retained(broker) == set()
    with Node(tmp_path, broker.port, *play, "--keep") as node:
        assert node.wait() == 0, node.log
    kept = retained(broker)
    assert {"serd/test-room/status", "serd/test-room/state"} < kept
    assert "homeassistant/device/serd_test-room/config" in kept
    assert forget("test-room").code == 0
    assert retained(broker) == set()


def test_an_interrupted_run_on_a_recording_leaves_nothing_behind(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with Node(tmp_path, broker.port, "--source", str(SAMPLE)) as node:
        node.wait_log("connected to the broker")
        with Recorder(broker.port) as recorder:
            recorder.wait_for("serd/test-room/status", b"online")
        assert node.stop() == 0, node.log
    assert retained(broker) == set()
