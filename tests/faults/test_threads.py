"""A thread that hangs or dies: never alive and deaf."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.broker import wait_until
from tests.faults.proof import EMOTION, prove_delivery
from tests.system.node import Node

if TYPE_CHECKING:
    from tests.broker import Mosquitto, Recorder
    from tests.faults.manager import Manager
    from tests.faults.talk import Talk

pytestmark = pytest.mark.broker

FAULTY = Path(__file__).with_name("faulty.py")


def faulty(home: Path, broker: Mosquitto, manager: Manager, talk: Talk, fault: str) -> Node:
    return Node(home, broker.port, "--source", "-", stdin=talk.reading, env=manager.env,
                wrapper=[sys.executable, str(FAULTY), fault])  # fmt: skip


def strike(home: Path) -> None:
    """Let the fault happen, and see that it has."""
    path = home / "strike"
    path.touch()
    wait_until(lambda: not path.exists())


def test_a_pipeline_that_hangs_ends_the_process(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "pipeline-hangs") as node:
        talk.murmur()
        recorder.wait_count(EMOTION, 2)
        strike(tmp_path)
        struck = time.monotonic()
        assert node.wait() == 70
        talk.hush()
    assert "the pipeline hangs: no sign of life for 4 s; leaving with exit code 70" in node.log[-1]
    # systemd would have noticed as well: the watchdog is not fed for what does not work.
    assert manager.fed(since=struck + 3.0) == 0
    recorder.wait_for("serd/test-room/status", b"offline")
    prove_delivery(recorder.on(EMOTION), tmp_path, at_least=2)


def test_a_pipeline_that_dies_is_started_again_once(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "pipeline-dies") as node:
        talk.murmur()
        recorder.wait_count(EMOTION, 1)
        strike(tmp_path)
        node.wait_log("the pipeline had died and was started again")
        before = len(recorder.on(EMOTION))
        recorder.wait_count(EMOTION, before + 2)
        manager.wait_fed()
        strike(tmp_path)
        assert node.wait() == 70
        talk.hush()
    assert node.log[-1].endswith("the pipeline has died again") or any(
        "the pipeline has died again" in line for line in node.log[-3:]
    )
    prove_delivery(recorder.on(EMOTION), tmp_path, at_least=3)


def test_a_publisher_that_dies_is_started_again(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "publisher-dies") as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        strike(tmp_path)
        talk.say(3)
        node.wait_log("the publisher had died and was started again")
        recorder.wait_count(EMOTION, 4)
        talk.end()
        assert node.wait() == 0, node.log
    prove_delivery(recorder.on(EMOTION), tmp_path, at_least=4)


def test_a_publisher_that_hangs_ends_the_process_and_loses_nothing(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "publisher-hangs") as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        strike(tmp_path)
        talk.say(3)
        assert node.wait() == 70
    assert any("the publisher hangs" in line for line in node.log[-3:]), node.log
    # systemd starts it again:
    with Node(tmp_path, broker.port, "--source", "-", stdin=talk.reading) as node:
        talk.say()
        talk.end()
        assert node.wait() == 0, node.log
    recorder.wait_for("serd/test-room/status", b"offline", times=2)
    prove_delivery(recorder.on(EMOTION), tmp_path, at_least=4)


def test_a_main_thread_that_hangs_starves_the_watchdog(
    tmp_path: Path, broker: Mosquitto, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "main-hangs"):
        manager.wait_fed()
        strike(tmp_path)
        struck = time.monotonic()
        time.sleep(4)
        assert manager.fed(since=struck + 1.5) == 0  # and systemd kills it after WatchdogSec


def test_a_process_that_was_stopped_goes_on(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    """SIGSTOP, a debugger, a suspended machine: none is taken for a fault of serd's."""
    with faulty(tmp_path, broker, manager, talk, "none") as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        node.send(signal.SIGSTOP)
        time.sleep(6)  # longer than serd's patience with a part
        node.send(signal.SIGCONT)
        manager.wait_fed()
        talk.say()
        recorder.wait_count(EMOTION, 2)
        talk.end()
        assert node.wait() == 0, node.log


def test_knowing_waits_feed_the_watchdog(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "none") as node:
        manager.wait_for("READY=1")
        manager.wait_fed(6)  # nobody writes into the pipe, for longer than serd's patience
        assert manager.status == "listening"
        recorder.publish("serd/test-room/mute/set", b"ON")
        manager.wait_status("muted: the source is closed")
        manager.wait_fed(6)
        recorder.publish("serd/test-room/mute/set", b"OFF")
        manager.wait_status("listening")
        broker.kill()
        manager.wait_status("listening; the broker does not answer")
        manager.wait_fed(6)
        assert node.stop() == 0, node.log
    manager.wait_for("STOPPING=1")
