"""kill -9 at any moment, and reloading the configuration at run time."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf

from tests.broker import Recorder
from tests.faults.proof import EMOTION, check_delivery, journalled
from tests.faults.talk import RATE, utterance
from tests.system.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.broker import Mosquitto
    from tests.faults.manager import Manager
    from tests.faults.talk import Talk

pytestmark = pytest.mark.broker

KILLS = 100


def _serd(arguments: list[str], log: str) -> None:
    """Run serd's command line, in the process that will be killed."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    from serd.cli.main import main

    os._exit(main(arguments))


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    """SIGKILL at 100 random moments of 100 processes, on one journal and one broker.

    The processes are forked from one that has imported serd, so that they spend most of their
    short lives at work and not starting Python.
    """
    speech = tmp_path / "speech.wav"
    sf.write(speech, np.tile(utterance(), 400), RATE)
    log = tmp_path / "log"
    settings = {
        "node": "test-room", "mqtt.host": "127.0.0.1", "mqtt.port": broker.port,
        "journal.path": tmp_path / "journal.db", "log.level": "warning",
    }  # fmt: skip
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["serd.daemon.process", "serd.cli.main", "ai_edge_litert.interpreter"]
    )
    rng = random.Random(20_260)
    counts: list[int] = []

    def run_and_kill(until: Callable[[float], bool]) -> float:
        """Run one process until it is killed; return its lifetime in seconds."""
        process: Any = context.Process(
            target=_serd,
            args=([*arguments, "run", "--source", str(speech), "--pace", "fast"], str(log)),
        )
        begun = time.monotonic()
        process.start()
        while not until(time.monotonic() - begun) and process.is_alive():
            time.sleep(0.005)
        process.kill()
        process.join()
        # None may have ended by itself.
        assert process.exitcode == -signal.SIGKILL, log.read_text()
        counts.append(len(journalled_so_far(tmp_path)))
        return time.monotonic() - begun

    with Recorder(broker.port, persistent="recorder") as recorder:
        # How long this machine takes to its first event determines when to kill the others.
        run_and_kill(lambda _: bool(journalled_so_far(tmp_path)))
        first = run_and_kill(lambda _: len(journalled_so_far(tmp_path)) > counts[-1])
        for _ in range(KILLS):
            run_and_kill(rng.uniform(0.0, max(0.9, 2.5 * first)).__le__)
        quick = tmp_path / "quick.wav"
        sf.write(quick, utterance(), RATE)
        with Node(
            tmp_path, broker.port, "--source", str(quick), "--pace", "fast", "--keep"
        ) as node:
            assert node.wait() == 0, node.log
        recorder.wait(lambda: recorder.last("serd/test-room/status") == b"offline")
        payloads = recorder.on(EMOTION)
    # The kills hit processes at work: starting, listening, journalling, publishing.
    at_work = sum(after > before for before, after in pairwise(counts))
    assert at_work > KILLS / 3
    check_delivery(payloads, tmp_path, at_least=KILLS)


def journalled_so_far(home: Path) -> dict[str, int]:
    try:
        return journalled(home)
    except Exception:  # noqa: BLE001 - the first ones may be killed before there is a journal
        return {}


def test_a_new_configuration_is_applied(
    tmp_path: Path, broker: Mosquitto, manager: Manager, talk: Talk
) -> None:
    with (
        Recorder(broker.port) as recorder,
        Node(tmp_path, broker.port, "--source", "-", stdin=talk.reading, env=manager.env) as node,
    ):
        manager.wait_for("READY=1")
        talk.say()
        recorder.wait_count(EMOTION, 1)
        (tmp_path / "config.yaml").write_text("mqtt:\n  base_topic: house/serd\n")
        node.send(signal.SIGHUP)
        node.wait_log("configuration loaded again")
        recorder.wait_for("house/serd/test-room/status", b"online")
        recorder.wait_for("serd/test-room/status", b"offline")
        talk.say()
        recorder.wait_count("house/serd/test-room/emotion", 1)
        assert any(text.startswith("RELOADING=1\nMONOTONIC_USEC=") for _, text in manager.messages)
        manager.wait(lambda: sum(text == "READY=1" for _, text in manager.messages) == 2)
        assert "STOPPING=1" not in [text for _, text in manager.messages]
        talk.end()
        assert node.wait() == 0, node.log
        assert sorted(journalled(tmp_path).values()) == [1, 2]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("mqtt:\n  port: none\n", "mqtt.port = none"),
        ("model:\n  path: nowhere.tflite\n", "nowhere.tflite"),
        ("mqtt:\n  tls:\n    ca: nowhere.pem\n", "nowhere.pem"),
        ("rubbish: [", "config.yaml"),
    ],
)
def test_an_invalid_configuration_is_rejected_and_the_old_one_stays_active(
    bad: str, expected: str, broker: Mosquitto, recorder: Recorder, talk: Talk
) -> None:
    tmp_path = broker.folder.parent
    with Node(tmp_path, broker.port, "--source", "-", stdin=talk.reading) as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        (tmp_path / "config.yaml").write_text(bad)
        node.send(signal.SIGHUP)
        node.wait_log("going on with the old configuration")
        assert any(expected in line for line in node.log), node.log
        talk.say()
        recorder.wait_count(EMOTION, 2)
        talk.end()
        assert node.wait() == 0, node.log
    # It stayed online all the time.
    recorder.wait_for("serd/test-room/status", b"offline")
    assert recorder.on("serd/test-room/status") == [b"online", b"offline"]


def test_a_stop_during_a_reload_is_not_lost(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, talk: Talk
) -> None:
    with Node(tmp_path, broker.port, "--source", "-", stdin=talk.reading) as node:
        recorder.wait_for("serd/test-room/status", b"online")
        for _ in range(5):
            node.send(signal.SIGHUP)
            time.sleep(0.1)
        assert node.stop() == 0, node.log
