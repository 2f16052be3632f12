"""A microphone without hardware: a private PulseAudio server whose null sink is recorded.

    with virtual_microphone(rate=44_100, channels=2) as mic:
        process = subprocess.Popen([...], env=mic.env)   # ALSA's default device is the microphone
        mic.play(path)                                   # what is played is recorded

The server has its own run-time directory, configuration and socket, so it does not interfere with
one that is already running. It runs as any user, including root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("pulseaudio", "pactl", "paplay")
PLUGIN = "libasound_module_pcm_pulse.so"
START_S = 60.0


class VirtualMicrophone:
    """A private PulseAudio server; see the module. Made by :func:`virtual_microphone`."""

    def __init__(self, home: Path, *, rate: int, channels: int) -> None:
        self.rate = rate
        self.channels = channels
        self._home = home
        self._socket = home / "native"
        self._server: subprocess.Popen[bytes] | None = None
        self.env = {
            **os.environ,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "PULSE_SERVER": f"unix:{self._socket}",
            "ALSA_CONFIG_PATH": str(home / "asound.conf"),
        }
        """The environment for a process that is to use this microphone as ALSA's default."""
        (home / "asound.conf").write_text(
            "</usr/share/alsa/alsa.conf>\n"
            'pcm.!default { type pulse device "room.monitor" }\n'
            "ctl.!default { type pulse }\n"
        )
        (home / "script.pa").write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={self._socket}\n"
            f"load-module module-null-sink {self._sink}\n"
        )

    @property
    def _sink(self) -> str:
        return f"sink_name=room rate={self.rate} channels={self.channels} format=s16le"

    @property
    def socket(self) -> Path:
        """The socket of the server."""
        return self._socket

    @property
    def log(self) -> str:
        """The server's log so far."""
        path = self._home / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the server and wait until it responds."""
        self._server = subprocess.Popen(
            [
                "pulseaudio",
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--realtime=no",
                "--high-priority=no",
                f"--log-target=file:{self._home / 'log'}",
                "-F",
                str(self._home / "script.pa"),
            ],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while self._pactl("info").returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"PulseAudio did not start: {self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill the server, as a crash would."""
        server, self._server = self._server, None
        if server is not None:
            server.kill()
            server.wait()
        self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Freeze the server process until :meth:`thaw`."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server process continue."""
        if self._server is not None:
            self._server.send_signal(signal.SIGCONT)

    def suspend(self, *, on: bool) -> None:
        """Suspend the source, as a server may do for other clients: it exists, but is silent."""
        self._pactl("suspend-sink", "room", str(int(on)), check=True)  # a monitor follows its sink

    def unplug(self) -> None:
        """Remove the microphone while the server keeps running."""
        modules = self._pactl("list", "short", "modules").stdout.splitlines()
        for line in modules:
            number, name, *_ = line.split("\t")
            if name == "module-null-sink":
                self._pactl("unload-module", number, check=True)

    def plug(self) -> None:
        """Add the microphone again."""
        self._pactl("load-module", "module-null-sink", *self._sink.split(), check=True)

    def recorders(self) -> int:
        """The number of streams that are recording from it."""
        return len(self._pactl("list", "short", "source-outputs").stdout.splitlines())

    def play(self, path: Path) -> None:
        """Play a file to the microphone; returns when playback has ended."""
        with self.playing(path) as player:
            player.wait(timeout=600)

    @contextlib.contextmanager
    def playing(self, path: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Play a file during the ``with`` block; waits for playback to end."""
        with subprocess.Popen(["paplay", "--device=room", str(path)], env=self.env) as player:
            yield player
            assert player.wait(timeout=600) == 0, "paplay failed"

    def _pactl(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pactl", *arguments],
            env=self.env,
            check=check,
            timeout=60,
            capture_output=True,
            text=True,
        )


@contextlib.contextmanager
def virtual_microphone(*, rate: int = 44_100, channels: int = 2) -> Iterator[VirtualMicrophone]:
    """Start a private PulseAudio server for the duration of a ``with`` block.

    If PulseAudio is not installed, skips the test, or fails it if ``CI=true`` is set.

    Args:
        rate: Sample rate of the microphone in Hz.
        channels: Number of channels of the microphone.
    """
    _need_programs()
    # Not below pytest's tmp_path: the path of a socket is limited to 107 characters.
    with tempfile.TemporaryDirectory(prefix="serd-pulse-") as folder:
        microphone = VirtualMicrophone(Path(folder), rate=rate, channels=channels)
        microphone.start()
        try:
            yield microphone
        finally:
            microphone.stop()


def _need_programs() -> None:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not any(Path("/usr/lib").glob(f"*/alsa-lib/{PLUGIN}")) and not missing:
        missing = [PLUGIN]
    if missing:
        reason = (
            f"{', '.join(missing)} not installed "
            "(apt install pulseaudio pulseaudio-utils libasound2-plugins)"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
