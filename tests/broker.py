"""A real mosquitto that tests can start, pause, kill and restart on the same port.

Also a subscriber that records every message, and certificates for TLS.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S = 20.0
"""How long a test waits for something that must happen; long, as it only costs time on failure."""


def find_mosquitto() -> str:
    """The path of mosquitto, which Debian installs outside a normal user's PATH."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("mosquitto is not installed")
    return found


@dataclass
class Certificates:
    """Files made by :func:`make_certificates`, in PEM format."""

    ca: Path
    server: Path
    server_key: Path
    expired: Path
    """A certificate of the same server key that expired yesterday."""
    client: Path
    client_key: Path
    stranger_ca: Path
    """A CA that signed none of these certificates."""


def make_certificates(folder: Path) -> Certificates:
    """Create a CA and certificates for server and client with the openssl program."""
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "stranger"):
        openssl("req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN=serd test {name}", "-days", "2")  # fmt: skip
    for name, alternatives in (("server", "DNS:localhost,IP:127.0.0.1"), ("client", "DNS:client")):
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}")  # fmt: skip
    for name, request, days in (("server", "server", "2"), ("expired", "server", "-1"),
                                ("client", "client", "2")):  # fmt: skip
        openssl("x509", "-req", "-in", f"{request}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-copy_extensions", "copy", "-days", days,
                "-out", f"{name}.pem")  # fmt: skip
    return Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        expired=folder / "expired.pem",
        client=folder / "client.pem",
        client_key=folder / "client.key",
        stranger_ca=folder / "stranger.pem",
    )


@dataclass
class Mosquitto:
    """A mosquitto on a fixed loopback port."""

    folder: Path
    port: int
    username: str | None = None
    password: str | None = None
    certificates: Certificates | None = None
    client_certificates: bool = False
    expired: bool = False
    extra: tuple[str, ...] = ()
    log: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None
    _reader: threading.Thread | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        """Start it and wait until it is listening."""
        assert self._process is None
        with self._changed:
            self.log.clear()
        self._process = subprocess.Popen(
            [find_mosquitto(), "-v", "-c", str(self._write_configuration())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="mosquitto-log")
        self._reader.start()
        self.wait_log("running")

    def stop(self) -> None:
        """Stop it cleanly, so that it saves its retained messages."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it without a clean shutdown, as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        """Stop or kill it, and start it again on the same port."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, but it does not respond."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue after :meth:`pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wait_log(self, text: str, *, count: int = 1) -> None:
        """Wait until at least ``count`` lines of its log contain the text."""

        def seen() -> bool:
            return sum(text in line for line in self.log) >= count

        with self._changed:
            if not self._changed.wait_for(lambda: seen() or not self._reading, TIMEOUT_S):
                raise AssertionError(f"{text!r} not in the log of mosquitto: {self.log[-20:]}")
            if not seen():
                raise AssertionError(f"mosquitto ended: {self.log[-20:]}")

    @property
    def _reading(self) -> bool:
        return self._reader is not None and self._reader.is_alive()

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stderr is not None
        for line in process.stderr:
            with self._changed:
                self.log.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._reader = None
            self._changed.notify_all()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, reader, self._process = self._process, self._reader, None
        _signal_until_ended(process, how)
        if reader is not None:
            reader.join(TIMEOUT_S)
        if process.stderr is not None:
            process.stderr.close()

    def _write_configuration(self) -> Path:
        # When started by root, mosquitto switches to its own user, which cannot access the folder.
        lines = ["user root", f"listener {self.port} 127.0.0.1", "log_timestamp false",
                 "persistence true", f"persistence_location {self.folder}/"]  # fmt: skip
        if self.username is None:
            lines.append("allow_anonymous true")
        else:
            users = self.folder / "users"
            subprocess.run(
                ["mosquitto_passwd", "-c", "-b", str(users), self.username, self.password or ""],
                check=True,
                capture_output=True,
            )
            lines += ["allow_anonymous false", f"password_file {users}"]
        if self.certificates is not None:
            certificate = self.certificates.expired if self.expired else self.certificates.server
            lines += [f"cafile {self.certificates.ca}", f"certfile {certificate}",
                      f"keyfile {self.certificates.server_key}"]  # fmt: skip
            if self.client_certificates:
                lines.append("require_certificate true")
        path = self.folder / "mosquitto.conf"
        path.write_text("\n".join([*lines, *self.extra]) + "\n")
        return path


def _signal_until_ended(process: subprocess.Popen[str], how: signal.Signals) -> None:
    """Repeat the signal until the process ends: one sent right after startup may be missed."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        process.send_signal(how)
        if how is not signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise
        else:
            return


@contextlib.contextmanager
def mosquitto(
    folder: Path,
    *,
    port: int = 0,
    password: str | None = None,
    tls: Certificates | None = None,
    client_certificates: bool = False,
    expired: bool = False,
    extra: tuple[str, ...] = (),
    started: bool = True,
) -> Iterator[Mosquitto]:
    """Run a mosquitto for the duration of a ``with`` block.

    Args:
        folder: Parent of the folder for configuration and database, which is created.
        port: 0 picks a free one.
        password: If given, only user ``serd`` with this password may connect.
        tls: Use TLS with the server certificate of these.
        client_certificates: Require a client certificate.
        expired: Use the expired server certificate.
        extra: Additional configuration lines.
        started: Whether to start it immediately.
    """
    port = port or free_port()
    home = folder / f"mosquitto-{port}"
    home.mkdir(exist_ok=True)
    broker = Mosquitto(
        folder=home,
        port=port,
        username=None if password is None else "serd",
        password=password,
        certificates=tls,
        client_certificates=client_certificates,
        expired=expired,
        extra=extra,
    )
    try:
        if started:
            broker.start()
        yield broker
    finally:
        broker.kill()


@dataclass(frozen=True)
class Received:
    """A message as a subscriber received it."""

    topic: str
    payload: bytes
    retained: bool
    duplicate: bool
    qos: int


def disconnect(client: paho.Client) -> None:
    """Disconnect a client, and wait until its thread has ended."""
    client.disconnect()
    # Once disconnected, the thread ends by itself, and paho forgets it; if it does so between
    # loop_stop's check and its join, there is nothing left to wait for.
    with contextlib.suppress(AttributeError):
        client.loop_stop()


class Recorder:
    """A subscriber that records every message in order and reconnects automatically.

    Args:
        port: Port of the broker.
        topic: Topic filter to subscribe to.
        persistent: Client ID of a persistent session, for which the broker queues messages (QoS 1)
            while the subscriber is disconnected.
    """

    def __init__(
        self, port: int, topic: str = "#", *, host: str = "127.0.0.1", persistent: str | None = None
    ) -> None:
        self.messages: list[Received] = []
        self._last: dict[str, bytes] = {}
        self._counts: Counter[str] = Counter()
        self.connections = 0
        self._changed = threading.Condition()
        self._topic = topic
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=persistent or "",
            clean_session=persistent is None,
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect_async(host, port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        self.wait(lambda: self.connections > 0)
        return self

    def __exit__(self, *exception: object) -> None:
        disconnect(self._client)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message and wait until the broker has acknowledged it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(TIMEOUT_S)

    def on(self, topic: str) -> list[bytes]:
        """The payloads received on a topic so far, in order."""
        with self._changed:
            return [message.payload for message in self.messages if message.topic == topic]

    def last(self, topic: str) -> bytes | None:
        """The latest payload received on a topic, if any."""
        with self._changed:
            return self._last.get(topic)

    def wait(self, condition: Callable[[], bool], timeout: float = TIMEOUT_S) -> None:
        """Wait until a condition holds; it is checked after every message."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                shown = "\n".join(f"{m.topic} {m.payload[:120]!r}" for m in self.messages[-20:])
                raise AssertionError(f"did not happen in time; the last messages:\n{shown}")

    def wait_for(self, topic: str, payload: bytes, *, times: int = 1) -> None:
        """Wait until this message has been received ``times`` times."""
        self.wait(lambda: self.on(topic).count(payload) >= times)

    def wait_count(self, topic: str, count: int) -> None:
        """Wait until ``count`` messages have been received on a topic."""
        self.wait(lambda: self._counts[topic] >= count)

    def _on_connect(self, client: paho.Client, *_rest: object) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_subscribe(self, *_all: object) -> None:
        with self._changed:
            self.connections += 1
            self._changed.notify_all()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self._last[message.topic] = bytes(message.payload)
            self._counts[message.topic] += 1
            self.messages.append(
                Received(
                    topic=message.topic,
                    payload=bytes(message.payload),
                    retained=message.retain,
                    duplicate=message.dup,
                    qos=message.qos,
                )
            )
            self._changed.notify_all()


def wait_until(condition: Callable[[], bool], *, timeout: float = TIMEOUT_S) -> None:
    """Poll until a condition holds; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("did not happen in time")
        time.sleep(0.005)
