"""The stub broker, with the real client library."""

from __future__ import annotations

import socket
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from serd.benchmark.daemon import StubBroker
from tests.broker import disconnect

WAIT_S = 20.0


def client(sink: StubBroker) -> paho.Client:
    made = paho.Client(CallbackAPIVersion.VERSION2)
    made.connect("127.0.0.1", sink.port)
    made.loop_start()
    return made


def test_it_acknowledges_and_keeps_events() -> None:
    with StubBroker() as sink:
        sender = client(sink)
        subscribed = threading.Event()
        sender.on_subscribe = lambda *_: subscribed.set()
        sender.subscribe([("a/b", 1), ("c", 1)])
        assert subscribed.wait(WAIT_S)
        for number in range(50):
            info = sender.publish("serd/x/emotion", f'{{"seq": {number}}}', qos=1)
        info.wait_for_publish(WAIT_S)
        sender.publish("serd/x/state", "x" * 100_000, qos=1).wait_for_publish(WAIT_S)
        sender.publish("serd/x/speech", "ON", qos=0)
        disconnect(sender)
        assert [event["seq"] for event in sink.events] == list(range(50))


def test_clients_can_connect_one_after_another() -> None:
    with StubBroker() as sink:
        for number in range(3):
            sender = client(sink)
            sender.publish("n/emotion", f'{{"seq": {number}}}', qos=1).wait_for_publish(WAIT_S)
            disconnect(sender)
        assert [event["seq"] for event in sink.events] == [0, 1, 2]


def test_a_client_that_disconnects_mid_packet_does_not_affect_others() -> None:
    with StubBroker() as sink:
        with socket.create_connection(("127.0.0.1", sink.port)) as broken:
            broken.sendall(b"\x10\x7f\x00")
        sender = client(sink)
        sender.publish("n/emotion", '{"seq": 7}', qos=1).wait_for_publish(WAIT_S)
        disconnect(sender)
        assert [event["seq"] for event in sink.events] == [7]
