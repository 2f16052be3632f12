"""The table in docs/recordings.md: unusual recordings, generated here, and how they are read."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from serd.audio import SAMPLE, recording
from serd.audio.container import parts
from serd.audio.file import FileSource, read_mono16k
from serd.audio.recording import AudioFile
from serd.audio.source import EndOfSource
from serd.errors import InputError, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000


def sound(seconds: float = 3.0, hertz: float = 300.0, rate: int = RATE) -> NDArray[Any]:
    time_s = np.arange(round(rate * seconds)) / rate
    return 0.3 * np.sin(2 * np.pi * hertz * time_s) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time_s))


def write(path: Path, samples: NDArray[Any], rate: int = RATE, **more: Any) -> bytes:
    if path.suffix == ".opus":
        more = {"format": "OGG", "subtype": "OPUS"}
    soundfile.write(path, samples, rate, **more)
    return path.read_bytes()


def read_recording(path: Path) -> tuple[float, list[str]]:
    """Read a recording; return its seconds of audio and the warnings about it."""
    warnings: list[str] = []
    samples = 0
    with FileSource(path, pace="fast", warn=warnings.append) as source:
        while True:
            try:
                block = source.read(60.0)
            except EndOfSource:
                break
            assert block is not None
            samples += len(block)
    return samples / RATE, warnings


@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "flac", "ogg", "opus", "mp3"])
def test_joined_files_are_read_to_the_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"joined.{kind}"
    one, two = write(path, sound(3)), write(path, sound(2, 500))
    path.write_bytes(one + two + one)
    seconds, warnings = read_recording(path)
    assert seconds == pytest.approx(8, abs=0.15)
    assert warnings == []
    samples = read_mono16k(path)
    half = len(samples) // 2  # the middle of the second part: another tone
    piece = samples[half - 4_000 : half + 4_000]
    loudest = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))).argmax() * RATE / len(piece)
    assert loudest == pytest.approx(500, abs=5)


def test_parts_may_differ_in_rate_and_channels(tmp_path: Path) -> None:
    path = tmp_path / "joined.ogg"
    one = write(path, sound(2))
    two = write(path, np.stack([sound(2, rate=44_100)] * 2, axis=1), 44_100)
    path.write_bytes(one + two)
    seconds, warnings = read_recording(path)
    assert seconds == pytest.approx(4, abs=0.05)
    assert warnings == []


def test_two_data_chunks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    one, two = write(path, sound(1)), write(path, sound(2))
    body = one[12:] + b"LIST" + struct.pack("<I", 4) + b"INFO" + two[36:]
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    assert read_recording(path) == (3.0, [])


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("wav", True), ("aiff", True), ("au", True), ("mp3", True), ("flac", True), ("rf64", True),
     ("ogg", False), ("opus", False)],
)  # fmt: skip
def test_a_truncated_file_is_read_as_far_as_possible(
    tmp_path: Path, kind: str, missing: bool
) -> None:
    path = tmp_path / f"cut.{kind}"
    more: dict[str, Any] = {"format": "RF64"} if kind == "rf64" else {}
    data = write(path, np.random.default_rng(2).uniform(-0.3, 0.3, 20 * RATE), **more)
    path.write_bytes(data[: len(data) * 6 // 10])
    seconds, warnings = read_recording(path)
    assert 9 < seconds < 13
    (sentence,) = warnings
    assert sentence.startswith(f"{path} ")
    assert f"after {seconds:.2f} s" in sentence
    if missing:
        assert f"{20 - seconds:.2f} s" in sentence
    else:
        assert "how much is missing, nothing in it says" in sentence


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_size_that_was_never_filled_in_is_ignored(tmp_path: Path, size: int, order: str) -> None:
    path = tmp_path / "streamed.wav"
    data = write(path, sound(2), endian="BIG" if order == ">" else "LITTLE", format="WAV")
    at = data.index(b"data") + 4
    path.write_bytes(data[:4] + struct.pack(order + "I", size) + data[8:at]
                     + struct.pack(order + "I", size) + data[at + 4 :])  # fmt: skip
    assert read_recording(path) == (2.0, [])


def test_an_empty_data_chunk_holds_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    write(path, np.zeros(0))
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(InputError, match="holds no audio"):
        read_recording(path)


@pytest.mark.parametrize(("scale", "bits"), [(32_767, 16), (2**23 - 1, 24), (2**31 - 1, 32)])
def test_floats_in_the_range_of_integers_are_scaled(
    tmp_path: Path, scale: float, bits: int
) -> None:
    path = tmp_path / "float.wav"
    voice = sound(2)
    voice /= np.abs(voice).max()
    write(path, np.concatenate([np.zeros(RATE), voice]) * scale, subtype="FLOAT")
    (sentence,) = read_recording(path)[1]
    assert f"taken for {bits}-bit integers" in sentence
    write(plain := tmp_path / "plain.wav", np.concatenate([np.zeros(RATE), voice]), subtype="FLOAT")
    np.testing.assert_allclose(read_mono16k(path), read_mono16k(plain), atol=1e-3)
    assert read_recording(plain)[1] == []


def test_an_overdriven_mix_is_not_taken_for_integers(tmp_path: Path) -> None:
    write(path := tmp_path / "hot.wav", 10 * sound(1), subtype="FLOAT")
    assert read_recording(path) == (1.0, [])


def test_libmpg123_writes_nothing_to_stderr(tmp_path: Path) -> None:
    data = write(path := tmp_path / "a.mp3", np.random.default_rng(2).uniform(-0.3, 0.3, 9 * RATE))
    path.write_bytes(data[: len(data) // 2] + b"\0" * 999 + data[len(data) * 2 // 3 :])
    code = (
        "import sys, os, logging; logging.disable()\n"
        "from serd.audio.file import read_mono16k\n"
        "os.write(2, b'before ')\n"
        f"read_mono16k({str(path)!r})\n"
        "os.write(2, b'after')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"before after"


CONTAINERS = ["m4a", "aac", "mp4", "mka", "webm", "wma", "alac.m4a"]


def encode(path: Path) -> None:
    source = path.with_name("source.wav")
    write(source, sound(3))
    codec = {"webm": "libopus", "wma": "wmav2", "mka": "libvorbis"}.get(path.suffix[1:], "aac")
    codec = "alac" if "alac" in path.name else codec
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", source, "-c:a", codec, "-strict", "-2", path],
        check=True,
    )


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("kind", CONTAINERS)
def test_other_containers_are_read_with_ffmpeg(tmp_path: Path, kind: str) -> None:
    encode(path := tmp_path / f"a.{kind}")
    seconds, warnings = read_recording(path)
    assert seconds == pytest.approx(3, abs=0.15)
    assert warnings == []
    path.rename(nameless := tmp_path / "nameless")
    assert read_recording(nameless)[0] == seconds


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [("a.m4a", b"\0\0\0\x20ftypM4A ", "MP4 or M4A"), ("a.webm", b"\x1aE\xdf\xa3", "WebM"),
     ("b.wma", b"0&\xb2u\x8ef\xcf\x11", "WMA"), ("b.ape", b"?", "APE")],
)  # fmt: skip
def test_without_ffmpeg_they_are_rejected_by_name_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, head: bytes, kind: str
) -> None:
    monkeypatch.setattr(recording, "installed", lambda: False)
    (path := tmp_path / name).write_bytes(head + bytes(5_000))
    with pytest.raises(InputError, match=f"{kind}.*ffmpeg, which is not installed") as caught:
        read_recording(path)
    assert caught.value.remedy == "sudo apt install ffmpeg"


NAMES = [
    b"caf\xe9.wav", "café.wav".encode(), "cafe\u0301.wav".encode(), b"two\nlines.wav",
    b"\x1b[31mred\x1b[0m.wav", b"-rf.wav", b"a" * 246 + b".wav", b"a b\t'\"$(x).wav",
    "\u202egnp.wav".encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_file_name_is_opened_and_printed_safely(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    shutil.copy(SAMPLE, path)
    with FileSource(path, pace="fast") as source:
        assert source.read(60.0) is not None
        assert source.name.isprintable()
        source.name.encode()
    path.write_bytes(b"no sound")
    with pytest.raises(InputError) as caught:
        AudioFile(path)
    assert str(caught.value).isprintable()
    assert shown(path) in str(caught.value)
    if name.decode("utf-8", "replace").isprintable() and b"\xe9" not in name:
        assert shown(path) == str(path)


def test_an_ordinary_recording_gives_no_warnings(tmp_path: Path) -> None:
    for kind in ("wav", "flac", "ogg", "mp3", "aiff", "opus"):
        write(path := tmp_path / f"a.{kind}", sound(2))
        assert len(parts(path)) == 1
        seconds, warnings = read_recording(path)
        assert seconds == pytest.approx(2, abs=0.05)
        assert warnings == []
    assert read_recording(SAMPLE)[1] == []


def test_an_mp3_whose_recorder_was_killed_is_read_to_its_end(tmp_path: Path) -> None:
    """Its Xing header, which is written at the end, still has neither frames nor bytes."""
    path = tmp_path / "killed.mp3"
    data = bytearray(write(path, sound(3), subtype="MPEG_LAYER_III"))
    tag = max(data.find(b"Xing", 0, 400), data.find(b"Info", 0, 400))
    assert tag > 0
    data[tag + 8 : tag + 120] = bytes(112)
    path.write_bytes(data[: 2 * len(data) // 3])
    assert len(parts(path)) == 1
    seconds, _ = read_recording(path)
    assert seconds == pytest.approx(2.0, abs=0.2)


def test_a_file_that_cannot_be_mapped_is_one_part() -> None:
    with pytest.raises(InputError, match="format not recognised"):
        AudioFile("/proc/cpuinfo")


def test_a_named_pipe_is_opened_once(tmp_path: Path) -> None:
    data = write(tmp_path / "one.wav", sound(3))
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    feeder = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    feeder.start()
    assert read_recording(path)[0] == pytest.approx(3.0, abs=0.05)
    feeder.join(20)
    assert not feeder.is_alive()


def test_an_mp3_of_varying_bit_rate_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "radio.mp3"
    quiet_then_loud = np.concatenate([0.001 * sound(3), sound(3)])
    data = write(path, quiet_then_loud, subtype="MPEG_LAYER_III")
    first = max(data.find(b"Xing", 0, 400), data.find(b"Info", 0, 400))
    begin = data.index(data[:2], first)  # the frame after the one that has the length
    path.write_bytes(data[begin:])
    seconds, warnings = read_recording(path)
    assert seconds == pytest.approx(6.0, abs=0.2)
    assert FileSource(path).length_s() == pytest.approx(6.0, abs=0.2)
    assert not warnings
