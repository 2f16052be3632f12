"""The broker is stopped, killed, cut off or used by a second serd: audio is not affected."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.broker import Recorder, mosquitto
from tests.faults.proof import EMOTION, check_delivery, journalled
from tests.ports import free_port
from tests.system.node import Node, serd_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.broker import Mosquitto
    from tests.faults.manager import Manager
    from tests.faults.talk import Talk

pytestmark = pytest.mark.broker

PATIENCE_S = 60.0
"""How long a reconnect may take: two keepalives of 5 s and some delays."""


def listening(home: Path, broker: Mosquitto, talk: Talk, *more: str, **kinds: object) -> Node:
    options = ("--source", "-", "--set", "mqtt.keepalive_s=5", *more)
    return Node(home, broker.port, *options, stdin=talk.reading, **kinds)  # type: ignore[arg-type]


def wait_journalled(home: Path, count: int) -> None:
    """Wait until that many events are in the journal, whatever the broker does."""
    deadline = time.monotonic() + PATIENCE_S
    while len(journalled(home)) < count:
        assert time.monotonic() < deadline, f"{len(journalled(home))} of {count} events"
        time.sleep(0.05)


def test_a_broker_that_freezes_and_resumes(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, talk: Talk
) -> None:
    with listening(tmp_path, broker, talk) as node:
        talk.say(2)
        recorder.wait_count(EMOTION, 2)
        broker.pause()
        begun = time.monotonic()
        talk.say(20)
        wait_journalled(tmp_path, 22)
        assert time.monotonic() - begun < 20  # 42 s of audio were processed meanwhile
        node.wait_log("no longer answers")
        broker.resume()
        recorder.wait(lambda: len(set(recorder.on(EMOTION))) >= 22, PATIENCE_S)
        talk.end()
        assert node.wait() == 0, node.log
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=22)


@pytest.mark.parametrize("kill", [False, True], ids=["restarted", "killed"])
def test_a_broker_that_is_restarted_or_killed(
    kill: bool, tmp_path: Path, broker: Mosquitto, talk: Talk
) -> None:
    with (
        Recorder(broker.port, persistent="recorder") as recorder,
        listening(tmp_path, broker, talk) as node,
    ):
        talk.say(2)
        recorder.wait_count(EMOTION, 2)
        broker.kill() if kill else broker.stop()
        node.wait_log("no broker")
        talk.say(10)
        wait_journalled(tmp_path, 12)
        before = recorder.connections
        # A killed broker forgets its subscribers: ours has to reconnect first.
        node.send(signal.SIGSTOP)
        broker.start()
        recorder.wait(lambda: recorder.connections > before, PATIENCE_S)
        node.send(signal.SIGCONT)
        recorder.wait(lambda: len(set(recorder.on(EMOTION))) >= 12, PATIENCE_S)
        talk.end()
        assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        check_delivery(recorder.on(EMOTION), tmp_path, at_least=12)


def test_a_flapping_broker(tmp_path: Path, broker: Mosquitto, talk: Talk) -> None:
    with (
        Recorder(broker.port, persistent="recorder") as recorder,
        listening(tmp_path, broker, talk) as node,
    ):
        recorder.wait_for("serd/test-room/status", b"online")
        talk.start_talking()
        for _ in range(5):
            before = recorder.connections
            broker.restart()
            recorder.wait(lambda was=before: recorder.connections > was, PATIENCE_S)  # type: ignore[misc]
        talk.stop_talking()
        talk.end()
        assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        check_delivery(recorder.on(EMOTION), tmp_path, at_least=5)
    # One line per lost connection or new reason, not one per attempt.
    assert sum("no broker" in line for line in node.log) <= 5 * 3, node.log


def test_one_node_name_on_two_machines(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, talk: Talk, manager: Manager
) -> None:
    """With two client ids both can publish, and the conflict is reported."""
    there = tmp_path / "there"
    there.mkdir()
    with listening(tmp_path, broker, talk, env=manager.env) as here:
        recorder.wait_for("serd/test-room/status", b"online")
        other = ("--set", "mqtt.client_id=another")
        with listening(there, broker, talk, *other) as second:
            here.wait_log("is a second serd running with this node name?")
            manager.wait_status("another serd seems to use this node name")
            assert second.stop() == 0
        assert here.stop() == 0


def test_one_client_id_on_two_machines(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, talk: Talk, manager: Manager
) -> None:
    """With one client id the broker keeps disconnecting one for the other."""
    there = tmp_path / "there"
    there.mkdir()
    with listening(tmp_path, broker, talk, env=manager.env) as here:
        recorder.wait_for("serd/test-room/status", b"online")
        with listening(there, broker, talk):
            here.wait_log("does another client call itself serd-test-room?")
            manager.wait_status("another client seems to use this node's client id")
        assert here.stop() == 0


# ---------------------------------------------------------------------------- firewall


class NetworkNamespace:
    """A network namespace with one link to this machine, and a firewall in between."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host_address, self.guest_address = "10.213.97.1", "10.213.97.2"
        self.inside = ["ip", "netns", "exec", name]

    def drop_packets(self) -> None:
        """From now on silently drop every packet, both ways."""
        for chain in ("input", "output"):
            hook = f"{{ type filter hook {chain} priority 0 ; policy drop ; }}"
            self._run(*self.inside, "nft", "add", "chain", "inet", "wall", chain, hook)

    def create(self) -> None:
        self._run("ip", "netns", "add", self.name)
        self._run("ip", "link", "add", f"{self.name}-h", "type", "veth", "peer", "name",
                  f"{self.name}-t")  # fmt: skip
        self._run("ip", "link", "set", f"{self.name}-t", "netns", self.name)
        self._run("ip", "addr", "add", f"{self.host_address}/30", "dev", f"{self.name}-h")
        self._run("ip", "link", "set", f"{self.name}-h", "up")
        self._run(
            *self.inside, "ip", "addr", "add", f"{self.guest_address}/30", "dev", f"{self.name}-t"
        )
        self._run(*self.inside, "ip", "link", "set", f"{self.name}-t", "up")
        self._run(*self.inside, "nft", "add", "table", "inet", "wall")

    def allow_packets(self) -> None:
        """Let packets pass again."""
        self._run(*self.inside, "nft", "flush", "ruleset")
        self._run(*self.inside, "nft", "add", "table", "inet", "wall")

    def delete(self) -> None:
        for command in (("ip", "link", "del", f"{self.name}-h"), ("ip", "netns", "del", self.name)):
            subprocess.run(command, check=False, capture_output=True)

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def namespace() -> Iterator[NetworkNamespace]:
    missing = [name for name in ("ip", "nft") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root, and the programs ip and nft (missing: {missing or 'none'})")
    namespace = NetworkNamespace(f"serd{os.getpid() % 100_000}")
    with contextlib.ExitStack() as stack:
        stack.callback(namespace.delete)
        try:
            namespace.create()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield namespace


def test_a_firewall_that_drops_everything(
    tmp_path: Path, namespace: NetworkNamespace, talk: Talk, manager: Manager
) -> None:
    """A half-open connection: nothing closes it, packets just vanish."""
    port = free_port()
    outside = (f"listener {port} {namespace.host_address}", "allow_anonymous true")
    with (
        mosquitto(tmp_path, extra=outside) as broker,
        Recorder(broker.port) as recorder,
        Node(
            tmp_path, port, "--set", f"mqtt.host={namespace.host_address}",
            "--set", "mqtt.keepalive_s=5", "--source", "-", stdin=talk.reading, env=manager.env,
            wrapper=[*namespace.inside, *serd_command()],
        ) as node,
    ):  # fmt: skip
        talk.say(2)
        recorder.wait_count(EMOTION, 2)
        namespace.drop_packets()
        begun = time.monotonic()
        talk.say(10)
        wait_journalled(tmp_path, 12)
        manager.wait_status("the broker does not answer")
        assert time.monotonic() - begun < 2.5 * 5 + 5  # noticed after the keepalive, not hours
        manager.wait_fed()
        # The broker gives up too, and publishes the last will.
        recorder.wait_for("serd/test-room/status", b"offline")
        namespace.allow_packets()
        recorder.wait(lambda: len(set(recorder.on(EMOTION))) >= 12, PATIENCE_S)
        talk.end()
        assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"online", times=2)
        check_delivery(recorder.on(EMOTION), tmp_path, at_least=12)
        telemetry = [json.loads(payload) for payload in recorder.on("serd/test-room/telemetry")]
    assert telemetry[-1]["overflows"] == 0
