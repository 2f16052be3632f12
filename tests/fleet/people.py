"""Clients with a name and a password, and the brokers of examples/fleet that know them."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.broker import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paho.mqtt.reasoncodes import ReasonCode

EXAMPLES = Path(__file__).parents[2] / "examples" / "fleet"
PASSWORD = "not a secret"


def users(folder: Path, names: Iterable[str]) -> Path:
    """A mosquitto password file in which everybody has the same password."""
    path = folder / "users"
    path.touch(mode=0o600)
    for name in names:
        subprocess.run(
            ["mosquitto_passwd", "-b", str(path), name, PASSWORD], check=True, capture_output=True
        )
    return path


def guarded(folder: Path, acl: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Lines that make a test's mosquitto know these users, and an access list."""
    folder.mkdir(exist_ok=True)
    return (
        "allow_anonymous false",
        f"password_file {users(folder, names)}",
        f"acl_file {acl}",
    )


class Person:
    """A client that logs in, MQTT 5, so that the broker says what it refuses.

    Args:
        port: Of a broker on loopback.
        name: Its user.
        topics: What it subscribes to.
        ca: Speak TLS.
        session: Client id of a session that the broker keeps.
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
        self._news = threading.Condition()
        self._topics = topics
        self._ready = False
        self._answers: dict[int, ReasonCode] = {}
        client = paho.Client(CallbackAPIVersion.VERSION2, session or "", protocol=paho.MQTTv5)
        client.username_pw_set(name, PASSWORD)
        client.reconnect_delay_set(1, 1)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_all: self._be_ready()
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        if ca is not None:
            client.tls_set(str(ca))
        if will is not None:
            client.will_set(will, b"offline", qos=1)
        wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wishes.SessionExpiryInterval = 0 if session is None else 3600
        client.connect("localhost", port, clean_start=session is None, properties=wishes)
        self.client = client

    def __enter__(self) -> Self:
        self.client.loop_start()
        self._wait(lambda: self._ready)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> bool:
        """Publish with QoS 1 and wait for the answer: whether the broker took it."""
        with self._news:
            info = self.client.publish(topic, payload, qos=1, retain=retain)
        self._wait(lambda: info.mid in self._answers)
        return not self._answers.pop(info.mid).is_failure

    def wait(self, topic: str, payload: bytes = b"x") -> None:
        """Wait until this has come."""
        self._wait(lambda: (topic, payload) in self.received)

    def wait_count(self, count: int) -> None:
        """Wait until that many different messages have come."""
        self._wait(lambda: len(set(self.received)) >= count)

    def topics(self) -> list[str]:
        """Of what has come, in order."""
        with self._news:
            return [topic for topic, _ in self.received]

    def vanish(self) -> None:
        """Be gone without a word."""
        sock = self.client.socket()
        assert sock is not None
        self.client.loop_stop()
        sock.close()

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(condition, TIMEOUT_S), self.received[-10:]

    def _on_connect(
        self, client: paho.Client, _d: object, _f: object, reason: Any, _p: Any
    ) -> None:
        assert not reason.is_failure, reason
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])
        else:
            self._be_ready()

    def _be_ready(self) -> None:
        with self._news:
            self._ready = True
            self._news.notify_all()

    def _on_publish(
        self, _client: object, _data: object, mid: int, reason: ReasonCode, _more: object
    ) -> None:
        with self._news:
            self._answers[mid] = reason
            self._news.notify_all()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._news:
            self.received.append((message.topic, bytes(message.payload)))
            self._news.notify_all()
