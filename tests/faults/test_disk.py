"""A disk that is full or read-only, and a journal that is damaged or locked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serd.audio import SAMPLE
from tests.broker import Recorder, wait_until
from tests.faults.proof import EMOTION, check_delivery, journalled
from tests.pulse import virtual_microphone
from tests.system.node import Node, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broker import Mosquitto
    from tests.faults.manager import Manager
    from tests.faults.talk import Talk

pytestmark = pytest.mark.broker

FAULTY = Path(__file__).with_name("faulty.py")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Fill the disk to the last byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return ballast


def listening(disk: Path, broker: Mosquitto, talk: Talk, manager: Manager) -> Node:
    return Node(disk, broker.port, "--source", "-", stdin=talk.reading, env=manager.env)


def test_a_full_disk_delays_events_and_loses_none(
    disk: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with listening(disk, broker, talk, manager) as node:
        talk.say(3)
        recorder.wait_count(EMOTION, 3)
        ballast = fill(disk)
        talk.say(40)
        node.wait_log("cannot be written")
        manager.wait_status("cannot be written")
        manager.wait_fed()
        recorder.wait(
            lambda: "cannot be written" in str(_telemetry(recorder).get("trouble")), timeout=60
        )
        ballast.unlink()
        node.wait_log("the journal can be written again; 0 events were lost")
        recorder.wait_count(EMOTION, 43)
        talk.end()
        assert node.wait() == 0, node.log
    recorder.wait_for("serd/test-room/status", b"offline")
    check_delivery(recorder.on(EMOTION), disk, at_least=43)
    # Logged when it begins and when it ends, not for each event.
    assert sum("events wait in memory" in line for line in node.log) == 1, node.log


def _telemetry(recorder: Recorder) -> dict[str, object]:
    payload = recorder.last("serd/test-room/telemetry")
    return {} if payload is None else dict(json.loads(payload))


def test_a_read_only_disk_at_startup_is_reported(disk: Path, broker: Mosquitto) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = run_serd("--set", f"journal.path={disk}/journal.db", "--set", f"mqtt.port={broker.port}",
                    "run", "--source", "-", home=disk)  # fmt: skip
    assert done.returncode == 69
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_journal_is_renamed_and_numbering_continues(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with listening(tmp_path, broker, talk, manager) as node:
        talk.say(4)
        recorder.wait_count(EMOTION, 4)
        recorder.publish("serd/test-room/mute/set", b"ON")
        recorder.wait_for("serd/test-room/mute", b"ON")
        assert node.stop() == 0, node.log
    old = journalled(tmp_path)
    journal = tmp_path / "journal.db"
    journal.write_bytes(b"\0" * journal.stat().st_size)  # as a power cut may leave it
    with listening(tmp_path, broker, talk, manager) as node:
        node.wait_log("was put aside as")
        node.wait_log("the microphone is closed")  # it stays muted
        recorder.wait_for("serd/test-room/mute", b"ON", times=2)
        recorder.publish("serd/test-room/mute/set", b"OFF")
        recorder.wait_for("serd/test-room/mute", b"OFF", times=2)
        talk.say(2)
        recorder.wait_count(EMOTION, 6)
        assert node.stop() == 0, node.log
    assert len(list(tmp_path.glob("journal.db.corrupt-*Z"))) == 1
    events = [json.loads(payload) for payload in recorder.on(EMOTION)]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert len({event["id"] for event in events}) == 6
    assert not set(old) & set(journalled(tmp_path))


def test_damage_at_run_time_is_found_by_the_next_start_at_the_latest(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with listening(tmp_path, broker, talk, manager) as node:
        talk.say(4)
        recorder.wait_count(EMOTION, 4)
        for name in ("journal.db", "journal.db-wal"):
            path = tmp_path / name
            with path.open("r+b") as file:  # the same file, not a new one of that name
                file.write(os.urandom(path.stat().st_size))
        talk.say(4)
        recorder.wait_count(EMOTION, 8)
        assert node.stop() == 0, node.log
        log = list(node.log)
    with listening(tmp_path, broker, talk, manager) as node:
        talk.say(4)
        recorder.wait(lambda: len(set(recorder.on(EMOTION))) >= 12)
        manager.wait_fed()
        assert node.stop() == 0, node.log
        log += node.log
    assert any("was put aside as" in line for line in log)
    seqs = {json.loads(p)["id"]: json.loads(p)["seq"] for p in recorder.on(EMOTION)}
    assert len(set(seqs.values())) == len(seqs), "a number was used twice"
    assert not any("Traceback" in line for line in log)


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """The journal locked by another program, as by a database browser that edits it."""
    connection = sqlite3.connect(home / "journal.db", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def test_serd_keeps_listening_while_the_journal_is_locked(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with Node(tmp_path, broker.port, "--source", "-", "--set", "mqtt.telemetry_s=1",
              stdin=talk.reading, env=manager.env) as node:  # fmt: skip
        talk.say(2)
        recorder.wait_count(EMOTION, 2)
        with locked(tmp_path):
            talk.say(20)
            # All of it was heard and segmented, although nothing can be written.
            recorder.wait(lambda: _telemetry(recorder).get("utterances", 0) >= 20)  # type: ignore[operator]
            manager.wait_status("locked by another program")
            manager.wait_fed()
            assert len(journalled(tmp_path)) == len(set(recorder.on(EMOTION))) == 2
        node.wait_log("the journal can be written again; 0 events were lost")
        recorder.wait_count(EMOTION, 22)
        talk.end()
        assert node.wait() == 0, node.log
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=22)
    (warning,) = (line for line in node.log if "events wait in memory" in line)
    assert f"end what holds it: process {os.getpid()} (" in warning
    assert "room on the disk" not in warning


@pytest.mark.pulse
def test_a_locked_journal_loses_no_audio(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with (
        virtual_microphone() as microphone,
        Node(tmp_path, broker.port, "--source", "mic", "--set", "mqtt.telemetry_s=1",
             env=microphone.env) as node,
    ):  # fmt: skip
        node.wait_log("listening to")
        with locked(tmp_path):
            microphone.play(SAMPLE)
            node.wait_log("locked by another program")
        recorder.wait(lambda: len(set(recorder.on(EMOTION))) >= 3)
        recorder.wait(lambda: _telemetry(recorder).get("events") == len(journalled(tmp_path)))
        telemetry = _telemetry(recorder)
        assert node.stop() == 0, node.log
    assert (telemetry["overflows"], telemetry["lost_samples"], telemetry["events_lost"]) == (
        0,
        0,
        0,
    )


def test_a_backlog_is_sent_while_the_journal_is_locked(
    tmp_path: Path, broker: Mosquitto, talk: Talk
) -> None:
    """The publisher only has to read the journal; what it has to write waits."""
    with Node(tmp_path, broker.port, "--source", "-", stdin=talk.reading) as node:
        node.wait_log("connected to the broker")
        broker.stop()
        talk.say(40)
        wait_until(lambda: len(journalled(tmp_path)) == 40, timeout=60)
        with locked(tmp_path):
            broker.start()
            with Recorder(broker.port) as recorder:
                recorder.wait(lambda: len(set(recorder.on(EMOTION))) == 40, 60)
        talk.end()
        assert node.wait() == 0, node.log


def test_the_mute_switch_is_saved_while_the_journal_is_locked(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with listening(tmp_path, broker, talk, manager) as node:
        recorder.wait_for("serd/test-room/mute", b"OFF")
        with locked(tmp_path):
            recorder.publish("serd/test-room/mute/set", b"ON")
            recorder.wait_for("serd/test-room/mute", b"ON")
            mark = tmp_path / "journal.db-mark"
            wait_until(lambda: mark.exists() and '"mute":"ON"' in mark.read_text())
            node.kill()
    with listening(tmp_path, broker, talk, manager) as node:
        node.wait_log("muted: the microphone is closed")
        assert node.stop() == 0, node.log


@pytest.mark.parametrize("how", ["waited in vain", "told to stop"])
def test_events_that_a_recording_could_not_write_are_reported(
    how: str, tmp_path: Path, broker: Mosquitto, manager: Manager
) -> None:
    arguments = ("--source", str(SAMPLE), "--pace", "fast")
    with Node(tmp_path, broker.port, *arguments) as node:
        assert node.wait() == 0, node.log
    total = len(journalled(tmp_path))
    wrapper = [sys.executable, str(FAULTY), "none"] if how == "waited in vain" else ()
    with (
        locked(tmp_path),
        Node(tmp_path, broker.port, *arguments, env=manager.env, wrapper=wrapper) as node,
    ):
        if how == "told to stop":
            manager.wait_status("waiting for the journal")
            assert node.stop() == 69
        else:
            assert node.wait() == 69
    assert f"{total} events are lost" in node.log[-1]
    assert "locked by another program" in node.log[-1]
    assert len(journalled(tmp_path)) == total


def test_a_recording_waits_for_a_briefly_locked_journal(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager
) -> None:
    arguments = ("--source", str(SAMPLE), "--pace", "fast")
    with Node(tmp_path, broker.port, *arguments) as node:
        assert node.wait() == 0, node.log
    total = len(journalled(tmp_path))
    with Node(tmp_path, broker.port, *arguments, env=manager.env) as node:
        with locked(tmp_path):
            manager.wait_status("waiting for the journal")
        assert node.wait() == 0, node.log
    recorder.wait_count(EMOTION, 2 * total)
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=2 * total)


def test_a_reload_loses_no_waiting_events(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager, talk: Talk
) -> None:
    with listening(tmp_path, broker, talk, manager) as node:
        talk.say()
        recorder.wait_count(EMOTION, 1)
        with locked(tmp_path):
            talk.say(3)
            manager.wait_status("locked by another program")
            node.send(signal.SIGHUP)
            node.wait_log("configuration loaded again")
            talk.say(2)
        recorder.wait_count(EMOTION, 6)
        talk.end()
        assert node.wait() == 0, node.log
    check_delivery(recorder.on(EMOTION), tmp_path, at_least=6)
