"""The microphone is missing, unplugged, plugged in again, dead, or must not listen."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf

from tests.broker import wait_until
from tests.faults.proof import EMOTION
from tests.faults.talk import RATE, utterance
from tests.pulse import VirtualMicrophone, virtual_microphone
from tests.system.node import Node, run_serd, serd_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broker import Mosquitto, Recorder
    from tests.faults.manager import Manager

pytestmark = [pytest.mark.broker, pytest.mark.pulse]

FAULTY = Path(__file__).with_name("faulty.py")
TELEMETRY = "serd/test-room/telemetry"


@dataclass
class Room:
    """A microphone that can be unplugged, a broker, a subscriber and a service manager."""

    home: Path
    broker: Mosquitto
    recorder: Recorder
    manager: Manager
    microphone: VirtualMicrophone
    speech: Path

    @property
    def env(self) -> dict[str, str]:
        return self.microphone.env | self.manager.env


@pytest.fixture
def room(tmp_path: Path, broker: Mosquitto, recorder: Recorder, manager: Manager) -> Iterator[Room]:
    speech = tmp_path / "speech.wav"
    sf.write(speech, np.concatenate([np.zeros(RATE // 2, np.int16), utterance()]), RATE)
    with virtual_microphone() as microphone:
        yield Room(tmp_path, broker, recorder, manager, microphone, speech)


def listening(room: Room, *more: str) -> Node:
    return Node(room.home, room.broker.port, "--source", "mic", *more, env=room.env)


def telemetry(room: Room) -> dict[str, Any]:
    payload = room.recorder.last(TELEMETRY)
    return {} if payload is None else dict(json.loads(payload))


def check_speech_is_detected(room: Room) -> None:
    """Play speech, and check that it becomes an event."""
    before = len(room.recorder.on(EMOTION))
    for _ in range(5):  # the first words may be missed while a device is being opened
        room.microphone.play(room.speech)
        with contextlib.suppress(AssertionError):
            room.recorder.wait(lambda: len(room.recorder.on(EMOTION)) > before, 4.0)
            return
    room.recorder.wait_count(EMOTION, before + 1)


def test_a_microphone_that_is_missing_at_startup(room: Room) -> None:
    room.microphone.unplug()
    with listening(room) as node:
        node.wait_log("trying again until it works")
        room.manager.wait_for("READY=1")
        room.manager.wait_status("waiting for the microphone")
        room.recorder.wait(lambda: telemetry(room).get("condition") == "waiting")
        assert telemetry(room)["trouble"]
        room.manager.wait_fed(6)  # it waits, but does not hang
        room.microphone.plug()
        node.wait_log("the source is there again")
        room.manager.wait_status("listening")
        check_speech_is_detected(room)
        room.recorder.wait(lambda: telemetry(room).get("trouble", "") is None)
        assert node.stop() == 0, node.log
    assert sum("trying again" in line for line in node.log) <= 2, node.log


def test_a_microphone_that_is_unplugged_and_plugged_in_again(room: Room) -> None:
    with listening(room) as node:
        node.wait_log("listening to")
        check_speech_is_detected(room)
        unplugged = time.monotonic()
        room.microphone.unplug()
        room.manager.wait_status("waiting for the microphone")
        assert time.monotonic() - unplugged < 10
        room.manager.wait_fed()
        room.microphone.plug()
        plugged = time.monotonic()
        room.manager.wait_status("listening")
        assert time.monotonic() - plugged < 15
        check_speech_is_detected(room)
        assert node.stop() == 0, node.log
    assert sum("trying again" in line for line in node.log) <= 3, node.log


def test_a_sound_server_that_is_restarted(room: Room) -> None:
    with listening(room) as node:
        node.wait_log("listening to")
        room.microphone.stop()
        room.manager.wait_status("waiting for the microphone")
        room.microphone.start()
        room.manager.wait_status("listening")
        check_speech_is_detected(room)
        assert node.stop() == 0, node.log


def test_a_sound_server_that_freezes_and_resumes(room: Room) -> None:
    """Frozen for longer than serd's timeout for a hanging thread."""
    with listening(room) as node:
        node.wait_log("listening to")
        check_speech_is_detected(room)
        room.microphone.freeze()
        try:
            room.manager.wait_status("waiting for the microphone")
            node.wait_log("does not answer")
            frozen = time.monotonic()
            room.manager.wait(lambda: time.monotonic() - frozen > 45, timeout=90)
            assert room.manager.fed(since=frozen + 20) >= 3  # it waits, but does not hang
            room.recorder.wait(lambda: telemetry(room).get("condition") == "waiting")
            # The mute switch works meanwhile.
            room.recorder.publish("serd/test-room/mute/set", b"ON")
            room.manager.wait_status("muted")
            room.recorder.publish("serd/test-room/mute/set", b"OFF")
            room.manager.wait_status("waiting for the microphone")
        finally:
            room.microphone.thaw()
        room.manager.wait_status("listening")
        check_speech_is_detected(room)
        wait_until(lambda: room.microphone.recorders() == 1)  # none was left behind
        assert node.stop() == 0, node.log
    # Logged when it begins, and again after unmuting; not for each attempt.
    assert sum("does not answer" in line for line in node.log) <= 5, node.log


def test_a_sound_server_that_is_frozen_at_startup(room: Room) -> None:
    room.microphone.freeze()
    try:
        with listening(room) as node:
            room.manager.wait_status("waiting for the microphone")
            node.wait_log("does not answer")
            room.manager.wait_fed()
            room.microphone.thaw()
            room.manager.wait_status("listening")
            check_speech_is_detected(room)
            assert node.stop() == 0, node.log
    finally:
        room.microphone.thaw()


def test_a_source_that_is_suspended(room: Room) -> None:
    with listening(room) as node:
        node.wait_log("listening to")
        check_speech_is_detected(room)
        room.microphone.suspend(on=True)
        room.manager.wait_status("waiting for the microphone")
        # Reopened repeatedly, but that alone does not count as recovered.
        room.recorder.wait(lambda: telemetry(room).get("mic_reopens", 0) >= 2, timeout=90)
        room.manager.wait_fed()
        assert "waiting for the microphone" in room.manager.status
        assert not any("there again" in line for line in node.log), node.log
        room.microphone.suspend(on=False)
        node.wait_log("the source is there again")
        check_speech_is_detected(room)
        assert node.stop() == 0, node.log
    assert sum("trying again" in line for line in node.log) <= 2, node.log
    assert sum("there again" in line for line in node.log) == 1, node.log


def test_a_microphone_that_returns_with_another_device_index(room: Room) -> None:
    configuration = Path(room.microphone.env["ALSA_CONFIG_PATH"])
    plain = configuration.read_text()
    pcm = 'pcm.room_mic { type pulse device "room.monitor" }\n'
    configuration.write_text(plain + pcm)

    def device_index() -> int:
        listed = run_serd("devices", "--json", home=room.home, env=room.microphone.env).stdout
        return next(int(d["index"]) for d in json.loads(listed) if d["name"] == "room_mic")

    before = device_index()
    device = ("--set", "audio.device=room_mic")
    with listening(room, *device) as node:
        node.wait_log("listening to room_mic")
        room.microphone.unplug()
        room.manager.wait_status("waiting for the microphone")
        more = 'pcm.another_{} {{ type pulse device "room.monitor" }}\n'
        configuration.write_text(plain + "".join(more.format(n) for n in range(3)) + pcm)
        room.microphone.plug()
        room.manager.wait_status("listening")
        assert device_index() != before
        check_speech_is_detected(room)
        assert node.stop() == 0, node.log


def test_an_open_stream_that_delivers_only_zeros(room: Room) -> None:
    """Nothing is played into this microphone: it delivers zeros, on time."""
    with Node(room.home, room.broker.port, "--source", "mic", env=room.env,
              wrapper=[sys.executable, str(FAULTY), "none"]) as node:  # fmt: skip
        node.wait_log("open, but delivers nothing but one value")
        room.manager.wait_status("listening; the microphone")
        room.recorder.wait(lambda: "one value" in str(telemetry(room).get("trouble")))
        # It is reopened, and listens in between.
        room.recorder.wait(lambda: telemetry(room).get("mic_reopens", 0) >= 1, timeout=90)
        room.manager.wait_fed()
        check_speech_is_detected(room)
        node.wait_log("the microphone hears something again")
        assert node.stop() == 0, node.log
    alarms = [line for line in node.log if "one value" in line]
    assert len(alarms) <= 2, node.log  # the second, if any, after the speech had ended
    assert sum("listening to" in line for line in node.log) == 1


def test_mute_closes_the_device(room: Room) -> None:
    with listening(room) as node:
        node.wait_log("listening to")
        wait_until(lambda: room.microphone.recorders() == 1)
        room.recorder.wait_for("serd/test-room/mute", b"OFF")
        room.recorder.publish("serd/test-room/mute/set", b"ON")
        room.recorder.wait_for("serd/test-room/mute", b"ON")
        wait_until(lambda: room.microphone.recorders() == 0)
        room.microphone.play(room.speech)
        # Toggled faster than the pipeline checks: it must not take that for the end of the source.
        for payload in (b"OFF", b"ON", b"OFF"):
            room.recorder.publish("serd/test-room/mute/set", payload)
        time.sleep(3)  # the last of these may take a moment to take effect
        wait_until(lambda: room.microphone.recorders() == 1)
        assert room.recorder.on(EMOTION) == []
        check_speech_is_detected(room)
        assert node.stop() == 0, node.log


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a private /etc/localtime")
def test_quiet_hours_follow_a_change_of_time_zone(room: Room) -> None:
    """Changed at run time, as by `timedatectl set-timezone`; a reload keeps the new time zone."""
    zones = Path("/usr/share/zoneinfo/Etc")
    private = room.home / "localtime"
    private.write_bytes((zones / "UTC").read_bytes())
    os.utime(private, (1, 1))
    now = time.time()
    hour = [time.strftime("%H:%M", time.gmtime(now + minutes * 60)) for minutes in (230, 360)]
    quiet = f'quiet_hours=[{{from: "{hour[0]}", to: "{hour[1]}"}}]'
    inside = ["unshare", "--mount", "sh", "-c",
              'mount --bind "$0" /etc/localtime && exec "$@"', str(private)]  # fmt: skip
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mounts here")
    env = {name: value for name, value in room.env.items() if name != "TZ"}
    with Node(room.home, room.broker.port, "--source", "mic", "--set", quiet, env=env,
              wrapper=[*inside, *serd_command()]) as node:  # fmt: skip
        node.wait_log("listening to")
        private.write_bytes((zones / "GMT-4").read_bytes())  # four hours later
        os.utime(private, (2, 2))
        room.manager.wait_status("quiet hours: the microphone is closed")
        wait_until(lambda: room.microphone.recorders() == 0)
        node.wait_log("the time zone is now")
        node.send(signal.SIGHUP)
        node.wait_log("configuration loaded again")
        room.manager.wait_status("quiet hours")
        private.write_bytes((zones / "UTC").read_bytes())
        os.utime(private, (3, 3))
        room.manager.wait_status("listening")
        assert node.stop() == 0, node.log


def test_quiet_hours_close_the_microphone(room: Room) -> None:
    begin = time.strftime("%H:%M", time.localtime(time.time() - 120))
    quiet = 'quiet_hours=[{from: "%s", to: "%s"}]'
    long = quiet % (begin, time.strftime("%H:%M", time.localtime(time.time() + 7200)))
    with listening(room, "--set", long) as node:
        room.manager.wait_status("quiet hours: the microphone is closed")
        assert room.microphone.recorders() == 0
        room.recorder.wait(lambda: telemetry(room).get("condition") == "quiet")
        room.recorder.wait_for("serd/test-room/mute", b"OFF")  # the mute switch is separate
        assert json.loads(room.recorder.last("serd/test-room/state") or b"{}")["muted"] is True
        room.recorder.publish("serd/test-room/mute/set", b"ON")
        room.manager.wait_status("muted")
        room.recorder.publish("serd/test-room/mute/set", b"OFF")
        room.manager.wait_status("quiet hours")
        assert room.microphone.recorders() == 0
        assert not any("listening to" in line for line in node.log)
        assert node.stop() == 0, node.log
    past = quiet % (begin, time.strftime("%H:%M", time.localtime(time.time() - 60)))
    with listening(room, "--set", past) as node:
        node.wait_log("listening to")
        wait_until(lambda: room.microphone.recorders() == 1)
        assert node.stop() == 0, node.log
