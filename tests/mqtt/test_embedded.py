"""The embedded broker with real clients: serd's, paho's and mosquitto's."""

from __future__ import annotations

import builtins
import contextlib
import logging
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from serd.backoff import Backoff
from serd.config import MqttConfig
from serd.errors import ConfigError, UnavailableError
from serd.events.event import decode
from serd.events.journal import Journal
from serd.mqtt.access import Access
from serd.mqtt.broker import EmbeddedBroker, _PacketSizes
from serd.mqtt.link import Link
from serd.mqtt.publisher import MqttPublisher
from tests.broker import TIMEOUT_S, Recorder, wait_until
from tests.mqtt.samples import NODE, journalled, room

if TYPE_CHECKING:
    from pathlib import Path

EMOTION = f"serd/{NODE}/emotion"
STATUS = f"serd/{NODE}/status"
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"


@pytest.fixture
def broker() -> object:
    with EmbeddedBroker() as running:
        yield running


def test_serds_publisher_and_paho_clients(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal, Recorder(broker.port) as recorder:
        publisher = MqttPublisher(
            MqttConfig(host="embedded", port=broker.port),
            NODE,
            journal,
            backoff=Backoff(first_s=0.05),
        )
        publisher.start()
        publisher.announce(state=room())
        for event in journalled(journal, 200):
            publisher.announce(event=event)
        assert publisher.drain(TIMEOUT_S)
        recorder.wait_count(EMOTION, 200)
        assert [decode(payload).seq for payload in recorder.on(EMOTION)] == list(range(1, 201))
        publisher.stop()
        recorder.wait_for(STATUS, b"offline")
        with Recorder(broker.port) as late:
            late.wait_for(STATUS, b"offline")
            late.wait_count(f"serd/{NODE}/state", 1)
            late.wait_count(f"homeassistant/device/serd_{NODE}/config", 1)
            assert all(message.retained for message in late.messages)


def test_last_will(broker: EmbeddedBroker) -> None:
    with Recorder(broker.port) as recorder:
        link = Link(Access(MqttConfig(port=broker.port)), "rude", will=("rude/status", b"offline"))
        link.open()
        link.publish("rude/status", b"online", qos=1, retain=True)
        recorder.wait_for("rude/status", b"online")
        link.abandon()
        recorder.wait_for("rude/status", b"offline")
    with Recorder(broker.port) as late:
        late.wait_for("rude/status", b"offline")


def test_mosquitto_clients(broker: EmbeddedBroker) -> None:
    address = ["-h", "127.0.0.1", "-p", str(broker.port)]
    subprocess.run(
        ["mosquitto_pub", *address, "-t", "serd/x/mute", "-m", "OFF", "-r", "-q", "1"], check=True
    )
    listening = subprocess.run(
        ["mosquitto_sub", *address, "-t", "serd/#", "-v", "-C", "1", "-W", "20"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert listening.stdout == "serd/x/mute OFF\n"


def test_it_listens_on_loopback_only(broker: EmbeddedBroker) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; only picks the outgoing address
            own = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has only a loopback address")
    with pytest.raises(OSError, match=r"refused|unreachable"):
        socket.create_connection((own, broker.port), timeout=5).close()


def test_garbage_does_not_stop_it(
    broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str]
) -> None:
    for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff", bytes(1000)):
        with socket.create_connection(("127.0.0.1", broker.port)) as peer:
            peer.sendall(garbage)
    with Recorder(broker.port) as recorder:
        recorder.publish("a/b", b"still here")
        recorder.wait_for("a/b", b"still here")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("first", [b"", CONNECT])
def test_a_giant_packet_is_not_read(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, first: bytes
) -> None:
    """The client is disconnected as soon as it has announced the size; this is logged once."""
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", broker.port), timeout=TIMEOUT_S) as peer:
            if first:
                peer.sendall(first)
                assert peer.recv(4) == b"\x20\x02\x00\x00"
            kind = b"\x30" if first else b"\x10"
            peer.sendall(kind + b"\xff\xff\xff\x7f\x00\x04MQTT\x04" + bytes(64_000))
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(1) == b""
    with Recorder(broker.port) as recorder:
        recorder.publish("a/b", bytes(900_000))
        recorder.wait_count("a/b", 1)
    (text,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "1048576 at most" in text


def test_the_sizes_of_packets_are_followed_however_they_are_read() -> None:
    packets = b"".join(
        [b"\xc0\x00", b"\x30\x03abc", b"\x30\x80\x01" + bytes(128), b"\xc0\x00", b"\x82\x01x"]
    )
    for step in (1, 2, 3, 7, 50, 1000):
        sizes = _PacketSizes()
        for at in range(0, len(packets), step):
            sizes.feed(packets[at : at + step])
        sizes.feed(b"\x30\x80\x80\x40" + bytes(1024 * 1024))
        with pytest.raises(EOFError, match="1048577 bytes"):
            sizes.feed(b"\x30\x81\x80\x40")


def test_retained_messages_are_bounded(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(broker.port, "nothing") as sender:
        sender.publish("small", b"before", retain=True)
        for number in range(18):
            sender.publish(f"large/{number}", bytes(1_000_000), retain=True)
        sender.publish("large/0", b"", retain=True)  # makes room
        sender.publish("large/0", b"again", retain=True)
        sender.publish("small", b"after", retain=True)
        for number in (16, 17):
            sender.publish(f"large/{number}", bytes(1_000_000), retain=True)
    with Recorder(broker.port) as late:
        late.wait_for("small", b"after")
        late.wait_for("large/0", b"again")
        late.wait_count("large/16", 1)
        sizes = [len(message.payload) for message in late.messages if message.retained]
        assert sum(sizes) < 16 * 1024 * 1024
    (text,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "keeps no further retained messages" in text


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}: Address already in use"):
            EmbeddedBroker(port).start()


def test_a_start_failure_of_the_broker_itself_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serd.mqtt.broker._check_port", lambda _port: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broker = EmbeddedBroker(taken.getsockname()[1])
        with pytest.raises(UnavailableError, match="cannot listen"):
            broker.start()
        broker.stop()


def test_a_missing_package_is_reported_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_amqtt(name: str, *rest: object) -> object:
        if name.startswith("amqtt"):
            raise ImportError("No module named 'amqtt'", name="amqtt")
        return original(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_amqtt)
    with pytest.raises(ConfigError, match=r"install serd-emotion\[embedded\]"):
        EmbeddedBroker().start()


def test_repeated_start_and_stop() -> None:
    before = threading.active_count()
    port = 0
    for _ in range(3):
        broker = EmbeddedBroker(port)
        broker.start()
        port = broker.port  # reuses the port immediately
        with Recorder(port) as recorder:
            recorder.publish("a", b"b")
        broker.stop()
        broker.stop()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
    wait_until(lambda: threading.active_count() == before)


def test_it_can_be_stopped_while_a_client_is_connected() -> None:
    broker = EmbeddedBroker()
    broker.start()
    with Recorder(broker.port):
        broker.stop()


def test_nothing_is_written_to_stdout_or_stderr(tmp_path: Path) -> None:
    """In a process as users run it: logging at INFO, every warning shown once."""
    code = """
import logging, time
logging.basicConfig(level=logging.INFO)
from serd.config import MqttConfig
from serd.mqtt.access import Access
from serd.mqtt.broker import EmbeddedBroker
from serd.mqtt.link import Link
with EmbeddedBroker() as broker:
    polite = Link(Access(MqttConfig(port=broker.port)), "polite"); polite.open(); polite.close()
    rude = Link(Access(MqttConfig(port=broker.port)), "rude", will=("x", b"y"))
    rude.open(); rude.subscribe(["#"]); rude.step(0.1); rude.abandon()
    stays = Link(Access(MqttConfig(port=broker.port)), "stays"); stays.open()
"""
    ended = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
    assert ended.stdout == ""
