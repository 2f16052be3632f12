"""The real microphone path: PulseAudio, ALSA, PortAudio, callback, ring, resampler."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from serd.audio.file import read_mono16k
from serd.audio.level import rms_dbfs
from tests.pulse import VirtualMicrophone, virtual_microphone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Command = Callable[[str], dict[str, Any]]

pytestmark = pytest.mark.pulse


@contextlib.contextmanager
def listener(mic: VirtualMicrophone) -> Iterator[Command]:
    """Start a process with this microphone; see ``listener.py``."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.audio.listener"],
        env=mic.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def command(line: str) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, "the listener died"
            result: dict[str, Any] = json.loads(answer)
            return result

        yield command
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def successful(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, after a check that it is not an error."""
    assert "error" not in answer, answer
    return answer


def speechlike(path: Path, *, rate: int, channels: int) -> Path:
    """Three seconds of syllables of coloured noise with pauses, without repetition."""
    chance = np.random.default_rng(7)
    time = np.arange(3 * rate) / rate
    noise = np.convolve(chance.standard_normal(len(time)), np.ones(rate // 4000) / 8, mode="same")
    # It starts with silence: PulseAudio drops some milliseconds when a sink wakes up.
    loud = np.abs(np.sin(2 * np.pi * 1.7 * time)) * ((time > 0.3) & ((time < 1.4) | (time > 1.9)))
    mono = 0.3 * noise / np.abs(noise).max() * loud
    # Unequal channels, so that taking only one of them would be noticed.
    frames = np.stack([mono * (1.0 - 0.4 * channel) for channel in range(channels)], axis=1)
    soundfile.write(path, frames, rate, subtype="PCM_16")
    return path


def find(
    played: NDArray[np.float32], recorded: NDArray[np.float32]
) -> tuple[float, float, NDArray[np.float32]]:
    """Find ``played`` in ``recorded``: offset in samples, correlation, the matching part.

    The two clocks are not aligned to 16 kHz samples, so the offset is searched in steps of 1/20.
    """
    size = 1 << (len(played) + len(recorded)).bit_length()
    spectrum = np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(played, size))
    whole = int(np.fft.irfft(spectrum, size)[: len(recorded)].argmax())
    part = recorded[whole : whole + len(played)]
    assert len(part) == len(played), "the end is missing"
    turns = np.exp(2j * np.pi * np.fft.rfftfreq(size))
    norm = float(np.linalg.norm(part) * np.linalg.norm(played))
    best, offset = max(
        (float(np.fft.irfft(spectrum * turns**fraction, size)[whole]) / norm, whole + fraction)
        for fraction in np.arange(-0.5, 0.55, 0.05)
    )
    return offset, best, part


def play_and_read(mic: VirtualMicrophone, path: Path, command: Command) -> None:
    """Play a file and read until all of it must have arrived."""
    with mic.playing(path) as player:
        while player.poll() is None:
            successful(command("read 0.3"))
    # The rest arrives after the server's latency, which may be up to 2 s with PulseAudio.
    successful(command("read 2.5"))


def assert_no_gap(blocks: list[dict[str, Any]]) -> None:
    end = 0
    for block in blocks:
        assert block["lost"] == 0
        assert block["position"] == end
        end += block["samples"]


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1)])
def test_played_audio_is_received_unchanged(tmp_path: Path, rate: int, channels: int) -> None:
    path = speechlike(tmp_path / "played.wav", rate=rate, channels=channels)
    with virtual_microphone(rate=rate, channels=channels) as mic, listener(mic) as command:
        command(f"format {rate} {channels}")
        opened = successful(command("open"))
        successful(command("read 0.2"))
        play_and_read(mic, path, command)
        report = successful(command(f"save {tmp_path / 'recorded.npy'}"))
        successful(command("close"))

    assert (opened["rate"], opened["channels"]) == (rate, channels)
    assert_no_gap(report["blocks"])
    assert report["overflow_samples"] == 0
    played, recorded = read_mono16k(path), np.load(tmp_path / "recorded.npy")
    offset, correlation, part = find(played, recorded)
    at = round(offset)
    assert correlation > 0.999
    assert rms_dbfs(part) == pytest.approx(rms_dbfs(played), abs=0.1)
    # Nothing was stretched: both halves are where they are in the whole.
    half = len(played) // 2
    assert find(played[:half], recorded)[0] == pytest.approx(offset, abs=1)
    assert find(played[half:], recorded)[0] == pytest.approx(offset + half, abs=1)
    # There is silence around it: it was received only once.
    rest = np.concatenate([recorded[:at], recorded[at + len(played) :]])
    assert rms_dbfs(rest[np.abs(rest) > 0]) < -50 or not np.any(rest)


def test_the_default_device_is_opened_in_its_own_format(tmp_path: Path) -> None:
    with virtual_microphone(rate=48_000, channels=1) as mic, listener(mic) as command:
        opened = successful(command("open"))
        successful(command("read 0.5"))
    assert opened["name"] == "default"
    assert opened["channels"] == 2
    assert opened["rate"] in (44_100, 48_000)


def test_closing_frees_the_device_and_it_can_be_reopened(tmp_path: Path) -> None:
    with virtual_microphone() as mic, listener(mic) as command:
        for times in (1, 2, 3):
            assert successful(command("open"))["opens"] == times
            successful(command("read 0.3"))
            assert mic.recorders() == 1
            successful(command("close"))
            assert mic.recorders() == 0
        blocks = successful(command(f"save {tmp_path / 'recorded.npy'}"))["blocks"]

    ends = [block["position"] + block["samples"] for block in blocks]
    starts = [block["position"] - block["lost"] for block in blocks]
    assert starts[1:] == ends[:-1]
    reopened = [block for block in blocks if block["lost"]]
    assert len(reopened) == 2
    # Positions follow the clock: they advance by the time between the two arrivals.
    for block in reopened:
        before = blocks[blocks.index(block) - 1]
        elapsed = (block["arrived"] - before["arrived"]) * 16_000
        moved = block["position"] + block["samples"] - before["position"] - before["samples"]
        assert moved == pytest.approx(elapsed, abs=16_000 * 0.5)


def test_a_server_that_dies_is_noticed_and_can_be_used_after_its_restart(tmp_path: Path) -> None:
    path = speechlike(tmp_path / "played.wav", rate=44_100, channels=2)
    with virtual_microphone() as mic, listener(mic) as command:
        successful(command("open"))
        successful(command("read 0.3"))
        mic.stop()
        gone = command("drain")
        assert gone["error"] == "UnavailableError"
        assert "microphone 'default'" in gone["message"]
        assert "error" not in command("close")
        absent = command("open")
        assert absent["error"] == "UnavailableError"

        mic.start()
        successful(command("open"))
        successful(command("read 0.2"))
        play_and_read(mic, path, command)
        successful(command(f"save {tmp_path / 'recorded.npy'}"))
        successful(command("close"))
    assert find(read_mono16k(path), np.load(tmp_path / "recorded.npy"))[1] > 0.99


def test_an_unplugged_microphone_is_noticed() -> None:
    with virtual_microphone() as mic, listener(mic) as command:
        successful(command("open"))
        successful(command("read 0.3"))
        mic.unplug()
        assert command("drain")["error"] == "UnavailableError"
        mic.plug()
        successful(command("open"))
        successful(command("read 0.3"))
        successful(command("close"))


def test_another_program_can_record_through_the_sound_server_too(tmp_path: Path) -> None:
    path = speechlike(tmp_path / "played.wav", rate=44_100, channels=2)
    with virtual_microphone() as mic, listener(mic) as command:
        record = ["parec", "--device=room.monitor", "--raw", "--format=s16le", "--rate=16000",
                  "--channels=1", str(tmp_path / "other.raw")]  # fmt: skip
        with subprocess.Popen(record, env=mic.env) as other:
            successful(command("open"))
            successful(command("read 0.2"))
            play_and_read(mic, path, command)
            assert mic.recorders() == 2
            successful(command(f"save {tmp_path / 'recorded.npy'}"))
            successful(command("close"))
            other.terminate()
    played = read_mono16k(path)
    assert find(played, np.load(tmp_path / "recorded.npy"))[1] > 0.99
    others = np.fromfile(tmp_path / "other.raw", "<i2").astype(np.float32) / np.float32(32_768)
    assert rms_dbfs(others[np.abs(others) > 0]) > -40
