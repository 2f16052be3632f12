from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE, ffmpeg
from serd.audio.ffmpeg import FfmpegFile, PipeDecoder, reason, script
from serd.audio.file import FileSource
from serd.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

needs_ffmpeg = pytest.mark.skipif(
    not ffmpeg.installed(), reason="ffmpeg is not installed (apt install ffmpeg)"
)


def convert(target: Path, *options: str) -> Path:
    command = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(SAMPLE), *options, str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=120)
    return target


def read_all(file: FfmpegFile, frames: int = 7_001) -> NDArray[np.float32]:
    parts = []
    while len(block := file.read(frames)):
        parts.append(block)
    return np.concatenate(parts)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "rate", "channels"),
    [
        ("a.m4a", ("-c:a", "aac"), 16_000, 1),
        ("a.aac", ("-c:a", "aac", "-ac", "2"), 16_000, 2),
        ("alac.m4a", ("-c:a", "alac"), 16_000, 1),
        ("a.wma", ("-c:a", "wmav2", "-ar", "44100"), 44_100, 1),
        ("a.webm", ("-c:a", "libopus"), 48_000, 1),
        ("a.mka", ("-c:a", "flac"), 16_000, 1),
        ("-a\n\x1b[31m.mp4", ("-f", "mp4", "-ac", "6"), 16_000, 6),
    ],
)
def test_a_recording_is_decoded_at_its_own_rate_and_channels(
    tmp_path: Path, name: str, options: tuple[str, ...], rate: int, channels: int
) -> None:
    path = convert(tmp_path / name, "-t", "4", *options)
    expected, _ = sf.read(SAMPLE, dtype="float32", stop=4 * 16_000)
    file = FfmpegFile(path)
    try:
        assert (file.rate, file.channels) == (rate, channels)
        samples = read_all(file)
        assert file.problem is None
    finally:
        file.close()
    assert len(samples) / rate == pytest.approx(4.0, abs=0.15)
    assert float(np.sqrt(np.mean(samples**2) * channels)) > 0.3 * float(np.std(expected))
    if name == "alac.m4a":
        np.testing.assert_allclose(samples[:, 0], expected, atol=1e-4)


@needs_ffmpeg
def test_a_truncated_recording_is_decoded_as_far_as_possible(tmp_path: Path) -> None:
    whole = convert(tmp_path / "a.webm", "-c:a", "libopus")
    cut = tmp_path / "cut.webm"
    cut.write_bytes(whole.read_bytes()[:30_000])
    file = FfmpegFile(cut)
    assert len(read_all(file)) > 48_000
    assert "prematurely" in (file.problem or "")
    file.close()


@needs_ffmpeg
def test_files_without_audio_are_rejected(tmp_path: Path) -> None:
    text = tmp_path / "a.m4a"
    text.write_text("no sound")
    with pytest.raises(InputError, match="no sound that ffmpeg can decode"):
        FfmpegFile(text)
    silent = tmp_path / "v.mp4"
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=d=0.2", str(silent)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=120)
    with pytest.raises(InputError, match="has no sound track"):
        FfmpegFile(silent)


@needs_ffmpeg
def test_a_playlist_cannot_refer_to_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    sf.write(secret, np.zeros(1_000), 16_000)
    for name, text in {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile 'secret.wav'\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError):
            FfmpegFile(tmp_path / name)


def test_without_ffmpeg_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"not installed \(sudo apt install ffmpeg\)"):
        FfmpegFile(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("[rtsp @ 0x5] method DESCRIBE failed: 401 Unauthorized", "the login was refused"),
        ("Stream map '0:a:0' matches no streams.", "it has no sound track"),
        ("[tcp @ 0x5] Connection to tcp://127.0.0.1:1 failed: Connection refused", "refused"),
        ("[x @ 0x5] rtsp://u:hunter22@h/a: odd\n", r"rtsp://\*+@h/a: odd"),
        ("hunter22 is odd.", r"^ffmpeg says: \*+ is odd$"),
    ],
)
def test_messages_of_ffmpeg_are_explained_without_secrets(message: str, meaning: str) -> None:
    explanation = reason(message, "rtsp://u:hunter22@h/a") or ""
    assert re.search(meaning, explanation)
    assert "hunter22" not in explanation


def test_a_url_is_quoted_in_the_script_and_must_be_one_line() -> None:
    assert r"file 'http://h/it'\''s'" in script("http://h/it's")
    with pytest.raises(ValueError, match="no line breaks"):
        script("http://h/\nfile '/etc/passwd'")


@needs_ffmpeg
def test_a_decoder_that_has_ended_leaves_what_comes_next_alone() -> None:
    reading, writing = os.pipe()
    decoder = PipeDecoder(reading, b"fLaC" + b"no sound" * 100)
    decoder.end()
    os.write(writing, b"the next recording")
    assert os.read(reading, 100) == b"the next recording"
    os.close(reading)
    os.close(writing)


@needs_ffmpeg
def test_the_length_of_a_recording_without_one_in_its_header_is_found(tmp_path: Path) -> None:
    path = convert(tmp_path / "a.m4a", "-t", "4")
    assert FileSource(path).length_s() == pytest.approx(4.0, abs=0.15)
