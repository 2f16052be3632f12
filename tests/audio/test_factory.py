from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serd.audio.factory import make_source
from serd.audio.file import FileSource
from serd.audio.microphone import Microphone
from serd.audio.stdin import StdinSource
from serd.config import AudioConfig


def test_the_configuration_determines_the_source() -> None:
    microphone = make_source(AudioConfig(device="usb:1:2", buffer_s=3.0))
    assert isinstance(microphone, Microphone)
    assert (microphone.device, microphone.buffer_s, microphone.live) == ("usb:1:2", 3.0, True)
    assert microphone.name == "usb:1:2"
    pipe = make_source(AudioConfig(source="-", rate_hz=8_000))
    assert isinstance(pipe, StdinSource)
    assert (pipe.rate, pipe.live) == (8_000, True)
    file = make_source(AudioConfig(source="/a/b.wav", pace="fast"))
    assert isinstance(file, FileSource)
    assert (file.path, file.pace, file.live) == (Path("/a/b.wav"), "fast", False)


@pytest.mark.parametrize("source", ["mic", "-", "/a/b.wav"])
def test_making_a_source_opens_nothing(source: str) -> None:
    """Neither PortAudio nor libsndfile is loaded before a source is opened."""
    code = (
        "import sys; from serd.audio.factory import make_source\n"
        "from serd.config import AudioConfig;"
        f"make_source(AudioConfig(source={source!r}));"
        "print(sorted({'sounddevice', 'soundfile'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
