"""Clients that log in, and the access control of the brokers of examples/fleet."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.broker import TIMEOUT_S, disconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paho.mqtt.reasoncodes import ReasonCode

EXAMPLES = Path(__file__).parents[2] / "examples" / "fleet"
PASSWORD = "not a secret"


def users(folder: Path, names: Iterable[str]) -> Path:
    """A mosquitto password file in which every user has the same password."""
    path = folder / "users"
    path.touch(mode=0o600)
    for name in names:
        subprocess.run(
            ["mosquitto_passwd", "-b", str(path), name, PASSWORD], check=True, capture_output=True
        )
    return path


def access_control(folder: Path, acl: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Lines of mosquitto configuration with these users and an ACL."""
    folder.mkdir(exist_ok=True)
    return (
        "allow_anonymous false",
        f"password_file {users(folder, names)}",
        f"acl_file {acl}",
    )


class User:
    """A client that logs in; with MQTT 5, so that the broker reports what it rejects.

    Args:
        port: Port of a broker on loopback.
        name: User name.
        topics: Topics to subscribe to.
        ca: CA file; connect with TLS.
        session: Client id of a persistent session.
        will: Topic of a last will.
    """

    def __init__(
        self,
        port: int,
        name: str,
        *topics: str,
        ca: Path | None = None,
        session: str | None = None,
        will: str | None = None,
    ) -> None:
        self.received: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._topics = topics
        self._ready = False
        self._reasons: dict[int, ReasonCode] = {}
        client = paho.Client(CallbackAPIVersion.VERSION2, session or "", protocol=paho.MQTTv5)
        client.username_pw_set(name, PASSWORD)
        client.reconnect_delay_set(1, 1)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_all: self._set_ready()
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        if ca is not None:
            client.tls_set(str(ca))
        if will is not None:
            client.will_set(will, b"offline", qos=1)
        connect_properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        connect_properties.SessionExpiryInterval = 0 if session is None else 3600
        client.connect(
            "localhost", port, clean_start=session is None, properties=connect_properties
        )
        self.client = client

    def __enter__(self) -> Self:
        self.client.loop_start()
        self._wait(lambda: self._ready)
        return self

    def __exit__(self, *_: object) -> None:
        disconnect(self.client)

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> bool:
        """Publish with QoS 1; return whether the broker accepted it."""
        with self._changed:
            info = self.client.publish(topic, payload, qos=1, retain=retain)
        self._wait(lambda: info.mid in self._reasons)
        return not self._reasons.pop(info.mid).is_failure

    def wait(self, topic: str, payload: bytes = b"x") -> None:
        """Wait until this message has arrived."""
        self._wait(lambda: (topic, payload) in self.received)

    def wait_count(self, count: int) -> None:
        """Wait until that many different messages have arrived."""
        self._wait(lambda: len(set(self.received)) >= count)

    def topics(self) -> list[str]:
        """Topics of the received messages, in order."""
        with self._changed:
            return [topic for topic, _ in self.received]

    def drop_connection(self) -> None:
        """Close the connection without a DISCONNECT."""
        sock = self.client.socket()
        assert sock is not None
        self.client.loop_stop()
        sock.close()

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT_S), self.received[-10:]

    def _on_connect(
        self, client: paho.Client, _d: object, _f: object, reason: Any, _p: Any
    ) -> None:
        assert not reason.is_failure, reason
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])
        else:
            self._set_ready()

    def _set_ready(self) -> None:
        with self._changed:
            self._ready = True
            self._changed.notify_all()

    def _on_publish(
        self, _client: object, _data: object, mid: int, reason: ReasonCode, _more: object
    ) -> None:
        with self._changed:
            self._reasons[mid] = reason
            self._changed.notify_all()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.received.append((message.topic, bytes(message.payload)))
            self._changed.notify_all()
