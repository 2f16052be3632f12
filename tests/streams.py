"""Real senders of audio on loopback: an RTSP server, HTTP servers, UDP and SRT senders.

Each is a context manager with a ``url``, and can be killed, frozen, thawed and restarted at the
same address.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pytest
import soundfile as sf

from tests.faults.talk import RATE, utterance
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")
START_S = 60.0


def speech(folder: Path) -> Path:
    """A WAV file with half a minute of utterances, each followed by silence."""
    path = folder / "speech.wav"
    if not path.exists():
        sf.write(path, np.tile(utterance(), 15), RATE)
    return path


def need(*programs: str, gi: bool = False) -> None:
    """If a program is missing, skip the test, or fail it in CI."""
    missing = [program for program in programs if shutil.which(program) is None]
    if gi and not missing:
        code = "import gi; gi.require_version('GstRtspServer', '1.0')"
        probe = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False)
        missing = [] if probe.returncode == 0 else ["gir1.2-gst-rtsp-server-1.0 and python3-gi"]
    if missing:
        reason = f"not installed: {', '.join(missing)} (apt install)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


class Sender:
    """A program that sends audio.

    Args:
        command: The program and its arguments.
        url: Where its stream can be received.
        prints_port: Whether it prints its port when it is ready.
    """

    def __init__(self, command: Sequence[str], url: str, *, prints_port: bool = False) -> None:
        self.command = list(command)
        self._url = url
        self._prints_port = prints_port
        self.port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its stream can be received."""
        return self._url.format(port=self.port)

    def start(self) -> Self:
        """Start it; a restart uses the same port."""
        command = [part.format(port=self.port or 0) for part in self.command]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._prints_port else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._prints_port:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            self.process.stdout.close()
            if not line:
                pytest.fail(f"{command[0]} did not start")
            self.port = int(line)
        return self

    def kill(self) -> None:
        """Kill it without a clean shutdown, as a power cut would."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(START_S)
            self.process = None

    def freeze(self) -> None:
        """Freeze its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its processes continue."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def rtsp(folder: Path, path: str = "l16", *, password: str = "", login: str = "") -> Sender:
    """A camera.

    Args:
        folder: Folder for the speech file.
        path: See ``rtsp_server.py``.
        password: The password that it requires, if not empty.
        login: The login in the URL.
    """
    need("ffmpeg", gi=True)
    raw = folder / "speech.raw"
    raw.write_bytes(np.tile(utterance(), 15).tobytes())
    command = [SYSTEM_PYTHON, str(RTSP_SERVER), str(raw), "{port}"]
    url = f"rtsp://{login + '@' if login else ''}127.0.0.1:{{port}}/{path}"
    return Sender([*command, password] if password else command, url, prints_port=True)


def udp(folder: Path, *options: str) -> Sender:
    """A sender of MPEG-TS to a loopback port, whether or not anything listens there."""
    need("ffmpeg")
    port = free_port(socket.SOCK_DGRAM)
    target = f"udp://127.0.0.1:{port}"
    command = [*_ffmpeg(folder), *(options or ("-c:a", "aac")), "-f", "mpegts"]
    return Sender([*command, f"{target}?pkt_size=1316"], target)


def srt(folder: Path, passphrase: str = "") -> Sender:
    """A sender that serves one listener and is then restarted for the next one."""
    need("ffmpeg")
    port = free_port(socket.SOCK_DGRAM)
    target = f"srt://127.0.0.1:{port}"
    own = f"{target}?mode=listener" + (f"&passphrase={passphrase}" if passphrase else "")
    loop = (
        f"while :; do {' '.join([*_ffmpeg(folder), '-c:a', 'aac', '-f', 'mpegts'])} '{own}'; done"
    )
    return Sender(["sh", "-c", loop], target)


def http(folder: Path, kind: str = "mp3") -> Sender:
    """A web server that sends a stream to every client in real time."""
    need("ffmpeg")
    command = [sys_python(), "-m", "tests.http_stream", str(speech(folder)), "{port}", kind]
    return Sender(command, f"http://127.0.0.1:{{port}}/live.{kind}", prints_port=True)


def sys_python() -> str:
    """The Python that runs the tests."""
    import sys

    return sys.executable


def _ffmpeg(folder: Path) -> list[str]:
    """The beginning of an ffmpeg command that plays the speech in a loop in real time."""
    return [
        "ffmpeg", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", str(speech(folder)),
    ]  # fmt: skip


def waited(condition: object, timeout: float = START_S) -> float:
    """Wait for a condition; return the seconds that it took."""
    assert callable(condition)
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout, "timed out"
        time.sleep(0.02)
    return time.monotonic() - begun


def icecast(folder: Path) -> Sender:
    """An icecast server and a source that feeds it."""
    need("ffmpeg", "icecast2")
    port = free_port()
    config = folder / "icecast.xml"
    config.write_text(
        "<icecast><authentication><source-password>letmein</source-password></authentication>"
        f"<listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>"
        "<paths><logdir>/tmp</logdir><webroot>/usr/share/icecast2/web</webroot></paths>"
        "<logging><accesslog>-</accesslog><errorlog>-</errorlog></logging>"
        "<security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>"
        "</icecast>"
    )
    config.chmod(0o644)
    target = f"icecast://source:letmein@127.0.0.1:{port}/live"
    feed = [*_ffmpeg(folder), "-c:a", "libmp3lame", "-f", "mp3", target]
    loop = f"icecast2 -c {config} & while :; do {' '.join(feed)}; sleep 0.2; done"
    return Sender(["sh", "-c", loop], f"http://127.0.0.1:{port}/live")
