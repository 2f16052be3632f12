"""The follower yields messages across every interruption until it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

import pytest
from msgspec.structs import replace

from serd.backoff import Backoff
from serd.config import MqttConfig
from serd.errors import ConfigError
from serd.events.event import encode
from serd.mqtt.follower import Follower
from serd.mqtt.messages import EventMessage, Message, StatusMessage
from serd.mqtt.topics import KINDS, Kind
from tests.broker import TIMEOUT_S, Mosquitto, Recorder, mosquitto
from tests.mqtt.samples import new_event, poison

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker


class Listener:
    """A follower on its own thread, and what it yielded."""

    def __init__(self, port: int, *, node: str = "+", kinds: tuple[Kind, ...] = KINDS) -> None:
        self.messages: list[Message] = []
        self.changes: list[tuple[bool, str]] = []
        self._changed = threading.Condition()
        self.follower = Follower(
            MqttConfig(host="127.0.0.1", port=port),
            node=node,
            kinds=kinds,
            on_connection=self._change,
            backoff=Backoff(first_s=0.05, longest_s=0.2),
        )
        self._thread = threading.Thread(target=self._run, name="listener")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.follower.stop()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT_S), (self.messages[-5:], self.changes)

    def _run(self) -> None:
        for message in self.follower:
            with self._changed:
                self.messages.append(message)
                self._changed.notify_all()

    def _change(self, connected: bool, reason: str) -> None:
        with self._changed:
            self.changes.append((connected, reason))
            self._changed.notify_all()


@pytest.fixture
def sender(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port, "none") as recorder:
        yield recorder


def event_payload(seq: int, node: str = "attic") -> bytes:
    return encode(replace(new_event(node=node), seq=seq, latency_ms=1.0))


def test_following_all_nodes(broker: Mosquitto, sender: Recorder) -> None:
    sender.publish("serd/attic/status", b"online", retain=True)
    with Listener(broker.port) as listener:
        listener.wait(lambda: listener.messages == [StatusMessage(node="attic", online=True)])
        sender.publish("serd/cellar/emotion", event_payload(1, "cellar"))
        listener.wait(lambda: len(listener.messages) == 2)
        assert isinstance(listener.messages[1], EventMessage)
        assert listener.messages[1].node == "cellar"
        assert listener.follower.connected
        assert listener.follower.received == 2
    assert listener.changes == [(True, ""), (False, "stopped")]


def test_following_one_node_and_some_kinds(broker: Mosquitto, sender: Recorder) -> None:
    with Listener(broker.port, node="attic", kinds=("emotion", "status")) as listener:
        listener.wait(lambda: listener.changes == [(True, "")])
        for node in ("cellar", "attic"):
            sender.publish(f"serd/{node}/speech", b"ON", retain=True)
            sender.publish(f"serd/{node}/emotion", event_payload(1, node))
            sender.publish(f"serd/{node}/status", b"offline", retain=True)
        listener.wait(lambda: len(listener.messages) == 2)
        assert listener.messages[1] == StatusMessage(node="attic", online=False)


def test_invalid_messages_are_counted_and_skipped(broker: Mosquitto, sender: Recorder) -> None:
    with Listener(broker.port) as listener:
        listener.wait(lambda: listener.changes == [(True, "")])
        for invalid in (b"\xff\x00", b"{}", b"nonsense", bytes(10_000)):
            sender.publish("serd/attic/emotion", invalid)
            sender.publish("serd/attic/status", invalid)
        sender.publish("serd/attic/status", b"online")
        listener.wait(lambda: len(listener.messages) == 1)
        assert listener.follower.rejected == 8


def test_no_message_ends_a_follower(broker: Mosquitto, sender: Recorder) -> None:
    """Invalid messages, some retained, and a giant are counted and dropped; later ones arrive."""
    messages = poison()
    for number, (topic, payload) in enumerate(messages):
        sender.publish(topic, payload, retain=number % 7 == 0)
    sender.publish("serd/evil/emotion", bytes(10_000_000), retain=True)
    sender.publish("serd/attic/status", b"online", retain=True)
    with Listener(broker.port) as listener:
        online = StatusMessage(node="attic", online=True)
        listener.wait(lambda: online in listener.messages)
        listener.wait(lambda: listener.follower.rejected > 1)
        before = listener.follower.rejected
        for topic, payload in messages:
            sender.publish(topic, payload)
        sender.publish("serd/attic/emotion", event_payload(7))
        listener.wait(lambda: isinstance(listener.messages[-1], EventMessage))
        assert listener.follower.rejected == before + len(messages)
        assert listener.changes == [(True, "")]


def test_a_topic_that_is_not_utf_8_is_counted(tmp_path: Path) -> None:
    """mosquitto does not forward such topics; other brokers do."""
    event = event_payload(1)
    packets = b"".join(
        bytes([0x30]) + varint(2 + len(topic) + 1 + len(event)) + len(topic).to_bytes(2, "big")
        + topic + b"\0" + event
        for topic in (b"serd/\xff\xfe/emotion", b"", b"serd/attic/emotion")
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"\x20\x03\x00\x00\x00")
                peer.recv(4096)
                peer.sendall(packets)
                peer.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        with Listener(server.getsockname()[1]) as listener:
            listener.wait(lambda: bool(listener.messages))
            assert isinstance(listener.messages[0], EventMessage)
            assert listener.follower.rejected == 1
            assert listener.follower.connected
        thread.join(TIMEOUT_S)


def varint(number: int) -> bytes:
    """MQTT's variable byte integer."""
    return bytes([number]) if number < 128 else bytes([number % 128 | 128]) + varint(number // 128)


def test_a_redelivered_event_is_yielded_once(broker: Mosquitto, sender: Recorder) -> None:
    with Listener(broker.port) as listener:
        listener.wait(lambda: listener.changes == [(True, "")])
        first, second = event_payload(1), event_payload(2)
        for payload in (first, second, first, second, event_payload(3)):
            sender.publish("serd/attic/emotion", payload)
        listener.wait(lambda: len(listener.messages) == 3)
        assert listener.follower.repeated == 2


def test_following_continues_after_the_broker_restarts(broker: Mosquitto, sender: Recorder) -> None:
    sender.publish("serd/attic/status", b"online", retain=True)
    with Listener(broker.port) as listener:
        listener.wait(lambda: len(listener.messages) == 1)
        broker.kill()
        listener.wait(lambda: any("connection refused" in reason for _, reason in listener.changes))
        broker.start()
        listener.wait(lambda: listener.changes[-1] == (True, ""))
        sender.wait(lambda: sender.connections == 2)
        sender.publish("serd/attic/status", b"offline")
        listener.wait(lambda: StatusMessage(node="attic", online=False) in listener.messages)
        refused = [reason for _, reason in listener.changes if "refused" in reason]
        assert len(refused) == 1  # reported once, not for each attempt


def test_broker_absent_at_start(tmp_path: Path) -> None:
    with mosquitto(tmp_path, started=False) as broker, Listener(broker.port) as listener:
        listener.wait(lambda: len(listener.changes) == 1)
        assert not listener.follower.connected
        broker.start()
        listener.wait(lambda: listener.changes[-1] == (True, ""))


def test_stop_before_start(broker: Mosquitto) -> None:
    follower = Follower(MqttConfig(port=broker.port))
    follower.stop()
    assert list(follower) == []


def test_invalid_settings_are_rejected() -> None:
    with pytest.raises(ConfigError):
        Follower(MqttConfig(), node="a/b")
    with pytest.raises(ConfigError):
        Follower(MqttConfig(username="u", password_file="/nowhere"))


def test_leaving_the_loop_disconnects_cleanly(broker: Mosquitto, sender: Recorder) -> None:
    sender.publish("serd/attic/status", b"online", retain=True)
    for message in Follower(MqttConfig(port=broker.port)):
        assert message == StatusMessage(node="attic", online=True)
        break
    broker.wait_log("Received DISCONNECT from serd-follower-")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal(broker: Mosquitto, number: signal.Signals) -> None:
    code = """
import signal, sys
from serd.config import MqttConfig
from serd.mqtt.follower import Follower
follower = Follower(MqttConfig(port=int(sys.argv[1])),
                    on_connection=lambda up, why: print(up, flush=True))
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: follower.stop())
for message in follower:
    pass
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(broker.port)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == "True\n"
        os.kill(process.pid, number)
        assert process.wait(TIMEOUT_S) == 0
        assert output.readline() == "False\n"
