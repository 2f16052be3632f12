"""A thread that hangs or dies: serd never keeps running without working."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.broker import wait_until
from tests.faults.proof import EMOTION, check_delivery
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


def trigger(home: Path) -> None:
    """Trigger the fault, and wait until it has happened."""
    path = home / "strike"
    path.touch()
    wait_until(lambda: not path.exists())


def test_a_pipeline_that_hangs_ends_the_process(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "pipeline-hangs") as node:
        talk.start_talking()
        recorder.wait_count(EMOTION, 2)
        trigger(tmp_path)
        triggered = time.monotonic()
        assert node.wait() == 70
        talk.stop_talking()
    assert "the pipeline hangs: no sign of life for 4 s; leaving with exit code 70" in node.log[-1]
    # systemd would have noticed too: a hanging part stops the watchdog.
    assert manager.fed(since=triggered + 3.0) == 0
    recorder.wait_for("serd/test-room/status", b"offline")
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=2)


def test_a_pipeline_that_dies_is_restarted_once(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "pipeline-dies") as node:
        talk.start_talking()
        recorder.wait_count(EMOTION, 1)
        trigger(tmp_path)
        node.wait_log("the pipeline had died and was started again")
        before = len(recorder.on(EMOTION))
        recorder.wait_count(EMOTION, before + 2)
        manager.wait_fed()
        trigger(tmp_path)
        assert node.wait() == 70
        talk.stop_talking()
    assert node.log[-1].endswith("the pipeline has died again") or any(
        "the pipeline has died again" in line for line in node.log[-3:]
    )
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=3)


def test_a_publisher_that_dies_is_restarted(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "publisher-dies") as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        trigger(tmp_path)
        talk.say(3)
        node.wait_log("the publisher had died and was started again")
        recorder.wait_count(EMOTION, 4)
        talk.end()
        assert node.wait() == 0, node.log
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=4)


def test_a_publisher_that_hangs_ends_the_process_and_loses_nothing(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "publisher-hangs") as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        trigger(tmp_path)
        talk.say(3)
        assert node.wait() == 70
    assert any("the publisher hangs" in line for line in node.log[-3:]), node.log
    # Restarted, as by systemd:
    with Node(tmp_path, broker.port, "--source", "-", stdin=talk.reading) as node:
        talk.say()
        talk.end()
        assert node.wait() == 0, node.log
    recorder.wait_for("serd/test-room/status", b"offline", times=2)
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=4)


def test_a_main_thread_that_hangs_stops_the_watchdog(
    tmp_path: Path, broker: Mosquitto, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "main-hangs"):
        manager.wait_fed()
        trigger(tmp_path)
        triggered = time.monotonic()
        time.sleep(4)
        assert manager.fed(since=triggered + 1.5) == 0  # and systemd kills it after WatchdogSec


def test_a_suspended_process_resumes(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    """SIGSTOP, a debugger, a suspended machine: none is taken for a hanging part."""
    with faulty(tmp_path, broker, manager, talk, "none") as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        node.send(signal.SIGSTOP)
        time.sleep(6)  # longer than the timeout of any part
        node.send(signal.SIGCONT)
        manager.wait_fed()
        talk.say()
        recorder.wait_count(EMOTION, 2)
        talk.end()
        assert node.wait() == 0, node.log


def test_expected_waits_feed_the_watchdog(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with faulty(tmp_path, broker, manager, talk, "none") as node:
        manager.wait_for("READY=1")
        manager.wait_fed(6)  # no input for longer than the timeout of any part
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
