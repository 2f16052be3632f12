"""Whatever other clients publish, the node stays connected, obeys commands and keeps publishing."""

from __future__ import annotations

import contextlib
import logging
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from serd.backoff import Backoff
from serd.config import MqttConfig
from serd.events.journal import Journal
from serd.mqtt.access import Access
from serd.mqtt.client import PACKET_LIMIT
from serd.mqtt.link import Link
from serd.mqtt.publisher import MqttPublisher
from tests.broker import TIMEOUT_S, Mosquitto, Recorder, wait_until
from tests.mqtt.samples import NODE, new_event, room
from tests.relay import OldBroker

pytestmark = pytest.mark.broker

EMOTION = f"serd/{NODE}/emotion"
STATUS = f"serd/{NODE}/status"
STATE = f"serd/{NODE}/state"
MUTE_SET = f"serd/{NODE}/mute/set"
DISCOVERY = f"homeassistant/device/serd_{NODE}/config"
BIRTH = "homeassistant/status"
FLOOD = 30_000

Start = Callable[..., MqttPublisher]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


@pytest.fixture
def start(journal: Journal) -> Iterator[Start]:
    started: list[MqttPublisher] = []

    def begin(
        port: int, *, on_mute: Callable[[bool], None] | None = None, **more: object
    ) -> MqttPublisher:
        publisher = MqttPublisher(
            MqttConfig(**{"host": "localhost", "port": port, **more}),  # type: ignore[arg-type]
            NODE,
            journal,
            on_mute=on_mute,
            backoff=Backoff(first_s=0.05, longest_s=0.2),
        )
        started.append(publisher)
        publisher.start()
        return publisher

    yield begin
    for publisher in started:
        publisher.stop(0.5)
        assert not publisher.alive


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def publish_retained_giant(port: int, topic: str, size: int) -> None:
    """Publish a retained message of that many bytes."""
    subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1", "-r", "-s"],
        input=bytes(size),
        check=True,
    )


@pytest.mark.parametrize("topic", [BIRTH, MUTE_SET])
@pytest.mark.parametrize("old", [False, True])
def test_a_giant_retained_message_does_not_disturb_the_node(
    broker: Mosquitto,
    tmp_path: Path,
    start: Start,
    journal: Journal,
    caplog: pytest.LogCaptureFixture,
    *,
    topic: str,
    old: bool,
) -> None:
    """With MQTT 5 and 3.1.1 the node stays connected, can be muted, publishes, and warns once."""
    publish_retained_giant(broker.port, topic, 10_000_000)
    obeyed: list[bool] = []
    with (
        OldBroker(broker.port) if old else contextlib.nullcontext(broker) as route,
        Recorder(broker.port, EMOTION) as recorder,
    ):
        publisher = start(route.port, on_mute=obeyed.append)
        wait_until(lambda: warnings_of(caplog) != [], timeout=3 * TIMEOUT_S)
        for number in range(20):
            publisher.announce(event=journal.append(new_event(number)))
        recorder.publish(MUTE_SET, b"ON")
        assert publisher.drain(3 * TIMEOUT_S)
        wait_until(lambda: obeyed == [True], timeout=3 * TIMEOUT_S)
        recorder.wait_count(EMOTION, 20)
        assert publisher.counters()["reconnects"] == 0
        (text,) = warnings_of(caplog)
    assert topic in text
    assert re.search("message of 100000[0-9]{2} bytes", text)


def test_with_mqtt_5_a_message_above_the_packet_limit_is_not_delivered(
    broker: Mosquitto, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    publish_retained_giant(broker.port, BIRTH, PACKET_LIMIT + 1)
    publisher = start(broker.port)
    publisher.announce(state=room())
    assert publisher.drain(3 * TIMEOUT_S)
    assert publisher.counters()["reconnects"] == 0
    assert warnings_of(caplog) == []


def test_giant_messages_do_not_increase_memory(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        Node(broker.port, tmp_path) as node,
        Recorder(broker.port, STATE) as states,
    ):
        states.wait_count(STATE, 1)
        before = node.peak_mb()
        for _ in range(3):
            publish_retained_giant(broker.port, BIRTH, 20_000_000)
        states.publish(MUTE_SET, b"ON")
        assert node.next_command() == "muted"
        assert node.peak_mb() - before < 4


def test_a_message_with_a_thousand_properties_is_handled_quickly(
    broker: Mosquitto, start: Start
) -> None:
    """The client library would take half a minute for 250 kB of them."""
    obeyed: list[bool] = []
    publisher = start(broker.port, on_mute=obeyed.append)
    wait_until(lambda: publisher.connected)
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("a", "b")] * 1000
    sender = Link(Access(MqttConfig(port=broker.port)), "sender")
    sender.open()
    sender._client.publish(MUTE_SET, b"ON", 1, properties=properties)
    deadline = time.monotonic() + TIMEOUT_S
    while obeyed != [True] and time.monotonic() < deadline:
        sender.step(0.05)
    assert obeyed == [True]
    sender.close()


def flood(port: int, topic: str, payload: str, count: int = FLOOD) -> None:
    """Publish messages as fast as the broker takes them, from a separate process."""
    subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-l"],
        input=f"{payload}\n" * count,
        text=True,
        check=True,
    )


class Node:
    """A publisher in its own process, so that its memory can be measured."""

    def __init__(self, port: int, folder: Path) -> None:
        self._log = folder / "log"
        command = [sys.executable, "-m", "tests.mqtt.publisher_process", str(port)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, str(folder / "journal.db")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def next_command(self) -> str:
        """Wait for the next command that the node obeys."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def peak_mb(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000  # type: ignore[index]

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def warnings(self) -> list[str]:
        """The lines logged so far."""
        return self._log.read_text().splitlines()


@pytest.mark.parametrize(
    ("topic", "payload", "warnings"),
    [(STATUS, "offline", 1), (STATUS, "online", 1), (BIRTH, "online", 0), (MUTE_SET, "rubbish", 1)],
)
def test_a_flood_fills_neither_log_nor_memory(
    broker: Mosquitto, tmp_path: Path, topic: str, payload: str, warnings: int
) -> None:
    with (
        Recorder(broker.port, STATE) as states,  # each reply republishes it
        Node(broker.port, tmp_path) as node,
    ):
        states.wait_count(STATE, 1)
        flood(broker.port, topic, payload, 1000)  # warm-up: one-time allocations do not count
        states.publish(MUTE_SET, b"ON")
        assert node.next_command() == "muted"
        before = node.resident_mb()
        began = time.monotonic()
        flood(broker.port, topic, payload)
        states.publish(MUTE_SET, b"OFF")
        assert node.next_command() == "unmuted"
        took = time.monotonic() - began
        assert node.resident_mb() - before < 4
        assert len(states.on(STATE)) <= 3 + took / 5
        lines = node.warnings()
    assert len(lines) <= warnings * (1 + took / 60), lines


def test_the_reply_to_home_assistant_is_not_lost_in_a_flood(
    broker: Mosquitto, start: Start
) -> None:
    """It is delayed by some seconds, but sent."""
    publisher = start(broker.port)
    publisher.announce(state=room())
    assert publisher.drain(TIMEOUT_S)
    with Recorder(broker.port) as recorder:
        for _ in range(20):
            recorder.publish(BIRTH, b"online")
        recorder.wait_count(DISCOVERY, 3)  # the retained one, an immediate one, one for the rest
        assert len(recorder.on(DISCOVERY)) == 3
        recorder.publish(STATUS, b"offline", retain=True)
        recorder.wait(lambda: recorder.last(STATUS) == b"online")
        recorder.publish(STATUS, b"offline", retain=True)
        recorder.wait(lambda: recorder.last(STATUS) == b"online")
