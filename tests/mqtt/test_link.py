"""One connection to a real broker: it works, or the error says why not."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from serd.config import MqttConfig, TlsConfig
from serd.errors import UnavailableError
from serd.mqtt.access import Access
from serd.mqtt.client import Wake
from serd.mqtt.link import Link, LinkError
from tests.broker import TIMEOUT_S, Certificates, Mosquitto, Recorder, mosquitto
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.broker


def reason(settings: MqttConfig) -> str:
    """The error message of a connection that fails."""
    link = Link(Access(settings), "test")
    with pytest.raises(LinkError) as caught:
        link.open()
    return str(caught.value)


def step_until(link: Link, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        link.step(0.1)


def at(broker: Mosquitto, **more: object) -> MqttConfig:
    return MqttConfig(host="localhost", port=broker.port, **more)  # type: ignore[arg-type]


def test_messages_go_both_ways(broker: Mosquitto) -> None:
    link = Link(Access(at(broker)), "test")
    link.open()
    link.subscribe(["a/+"])
    info = link.publish("a/b", b"hello", qos=1, retain=False)
    step_until(link, lambda: bool(link.received) and info.is_published())
    message = link.received.popleft()
    assert (message.topic, message.payload) == ("a/b", b"hello")
    assert link.subscription is True
    link.close()


def test_connection_refused(tmp_path: Path) -> None:
    port = free_port()
    text = reason(MqttConfig(host="localhost", port=port))
    assert text == f"connection refused: is a broker running at localhost:{port}?"


def test_unknown_host_name() -> None:
    assert "broker.invalid is not known" in reason(MqttConfig(host="broker.invalid"))


def test_wrong_password(tmp_path: Path) -> None:
    with mosquitto(tmp_path, password="right") as broker:
        text = reason(at(broker, username="serd", password="wr0ng"))
        assert "wrong user name or password for 'serd'" in text
        assert "wr0ng" not in text
        assert "wants a user name and a password" in reason(at(broker))
        link = Link(Access(at(broker, username="serd", password="right")), "test")
        link.open()
        link.close()


def test_tls(tmp_path: Path, certificates: Certificates) -> None:
    with mosquitto(tmp_path, tls=certificates) as broker:
        tls = TlsConfig(ca=str(certificates.ca))
        link = Link(Access(at(broker, tls=tls)), "test")
        link.open()
        big = bytes(100_000)
        link.subscribe(["big"])
        link.publish("big", big, qos=1, retain=False)
        step_until(link, lambda: bool(link.received))
        assert link.received.popleft().payload == big
        link.close()
        other = TlsConfig(ca=str(certificates.stranger_ca))
        assert "certificate is not accepted" in reason(at(broker, tls=other))
        assert "does it want TLS" in reason(at(broker))  # no TLS to a TLS port


def test_tls_to_a_plain_port(broker: Mosquitto, certificates: Certificates) -> None:
    text = reason(at(broker, tls=TlsConfig(ca=str(certificates.ca))))
    assert "TLS" in text or "closed the connection" in text


def test_certificate_of_another_host(tmp_path: Path, certificates: Certificates) -> None:
    """The host name in the certificate is checked, not only its signature."""
    other = replace(certificates, server=certificates.client, server_key=certificates.client_key)
    with mosquitto(tmp_path, tls=other) as broker:
        text = reason(at(broker, tls=TlsConfig(ca=str(certificates.ca))))
        assert "Hostname mismatch" in text


def test_expired_certificate(tmp_path: Path, certificates: Certificates) -> None:
    with mosquitto(tmp_path, tls=certificates, expired=True) as broker:
        text = reason(at(broker, tls=TlsConfig(ca=str(certificates.ca))))
        assert "certificate has expired" in text


def test_client_certificate(tmp_path: Path, certificates: Certificates) -> None:
    with mosquitto(tmp_path, tls=certificates, client_certificates=True) as broker:
        text = reason(at(broker, tls=TlsConfig(ca=str(certificates.ca))))
        assert "client certificate" in text
        tls = TlsConfig(
            ca=str(certificates.ca), cert=str(certificates.client), key=str(certificates.client_key)
        )
        link = Link(Access(at(broker, tls=tls)), "test")
        link.open()
        link.close()


def test_silent_server() -> None:
    """Waiting for a server that accepts connections but never replies can be given up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = Link(Access(MqttConfig(port=server.getsockname()[1])), "test")
        wake = Wake()
        timer = threading.Timer(0.2, wake.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(LinkError, match="given up"):
            link.open(give_up=lambda: True, wake=wake)
        assert time.monotonic() - began < 4
        timer.join()
        wake.close()


def test_a_killed_broker_is_noticed(broker: Mosquitto) -> None:
    link = Link(Access(at(broker)), "test")
    link.open()
    broker.kill()
    with pytest.raises(LinkError, match="lost"):
        link.step(5.0)


def test_the_last_will_is_sent_only_without_a_clean_disconnect(broker: Mosquitto) -> None:
    with Recorder(broker.port) as recorder:
        polite = Link(Access(at(broker)), "polite", will=("polite/status", b"offline"))
        polite.open()
        polite.close()
        rude = Link(Access(at(broker)), "rude", will=("rude/status", b"offline"))
        rude.open()
        rude.abandon()
        recorder.wait_for("rude/status", b"offline")
        assert recorder.on("polite/status") == []


def test_a_rejected_subscription_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK: success, no properties
                subscribe = peer.recv(4096)
                peer.sendall(b"\x90\x04" + subscribe[2:4] + b"\x00\x87")  # SUBACK: not authorized
                peer.recv(4096)

        thread = threading.Thread(target=refuse)
        thread.start()
        link = Link(Access(MqttConfig(port=server.getsockname()[1])), "test")
        link.open()
        assert link.subscription is None
        link.subscribe(["forbidden/#"])
        step_until(link, lambda: link.subscription is False)
        link.close()
        thread.join(TIMEOUT_S)


def test_a_wake_up_is_neither_lost_nor_repeated() -> None:
    wake = Wake()
    wake.set()
    began = time.monotonic()
    wake.wait(20)
    assert time.monotonic() - began < 10
    for _ in range(100_000):
        wake.set()  # never blocks, however often
    wake.clear()
    began = time.monotonic()
    wake.wait(0.05)
    assert time.monotonic() - began >= 0.05
    wake.close()
    wake.set()


def test_deliver_and_round_trip(broker: Mosquitto) -> None:
    link = Link(Access(at(broker)), "test")
    link.open()
    link.subscribe(["a/#"])
    assert link.wait_for_subscription(TIMEOUT_S) is True
    link.deliver("a/b", b"x", retain=False, timeout=TIMEOUT_S)
    assert link.in_flight == 0
    assert link.round_trip([("a/c", b"y")], TIMEOUT_S) == ({"a/c"}, {})
    assert link.round_trip([("elsewhere", b"y")], 0.2) == (set(), {})
    with pytest.raises(UnavailableError, match="the broker does not acknowledge what is sent to a"):
        link.deliver("a/b", b"x", retain=False, timeout=0.0)
    link.limits = link.limits._replace(packet_bytes=10)
    with pytest.raises(
        UnavailableError, match=r"a/b has \d+ bytes, and the broker takes 10 at most"
    ):
        link.deliver("a/b", b"much too long", retain=False, timeout=TIMEOUT_S)
    _, refused = link.round_trip([("a/b", b"much too long")], TIMEOUT_S)
    assert refused.keys() == {"a/b"}
    link.close()
