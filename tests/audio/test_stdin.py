from __future__ import annotations

import contextlib
import os
import pty
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serd.audio.source import EndOfSource
from serd.audio.stdin import StdinSource
from serd.errors import InputError, UsageError
from tests.audio.reference import high_passed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class Pipe:
    """A pipe with a source that reads from it."""

    def __init__(self, rate: int = 16_000, gain_db: float = 0.0) -> None:
        reading, self.writing = os.pipe()
        self.reading = reading
        self.source = StdinSource(rate=rate, gain_db=gain_db, fd=reading)

    def write(self, data: bytes) -> None:
        os.write(self.writing, data)

    def end(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def rest(self) -> NDArray[np.float32]:
        parts = [np.empty(0, np.float32)]
        with contextlib.suppress(EndOfSource):
            while True:
                block = self.source.read(60.0)
                assert block is not None
                assert block.position == sum(len(part) for part in parts)
                assert block.lost == 0
                parts.append(block.samples)
        return np.concatenate(parts)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    with pipe.source:
        yield pipe
    pipe.end()
    os.close(pipe.reading)


NUMBERS = np.array([0, 1, -1, 16_384, 32_767, -32_768], "<i2")


def test_samples_are_little_endian_16_bit(pipe: Pipe) -> None:
    pipe.write(NUMBERS.tobytes())
    pipe.end()
    np.testing.assert_allclose(pipe.rest(), high_passed(NUMBERS / 32_768), atol=1e-6)
    with pytest.raises(EndOfSource):
        pipe.source.read(0)


def test_samples_split_across_reads_are_reassembled(pipe: Pipe) -> None:
    data = (np.arange(1_000, dtype="<i2") * 31).tobytes()
    got = []
    for start in range(0, len(data), 7):
        pipe.write(data[start : start + 7])
        block = pipe.source.read(60.0)
        assert block is not None
        got.append(block.samples)
    expected = high_passed(np.arange(1_000) * 31 / 32_768)
    np.testing.assert_allclose(np.concatenate(got), expected, atol=1e-6)


def test_a_read_takes_all_available_samples_up_to_a_limit(pipe: Pipe) -> None:
    pipe.write(bytes(2 * 20_000))
    taken = [len(pipe.source.read(60.0) or ()) for _ in range(2)]
    assert taken == [15_360, 4_640]  # at most 32 frames of the detector per read
    assert pipe.source.read(0.0, 15_360) is None


def test_half_a_sample_at_the_end_is_reported(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    pipe.write(NUMBERS.tobytes() + b"x")
    pipe.end()
    assert len(pipe.rest()) == len(NUMBERS)
    assert "middle of a sample" in caplog.text


def test_a_read_without_data_returns_none_and_loses_nothing(pipe: Pipe) -> None:
    assert pipe.source.read(0.0) is None
    assert pipe.source.read(0.001) is None
    pipe.write(NUMBERS.tobytes())
    block = pipe.source.read(60.0)
    assert block is not None
    assert len(block) == len(NUMBERS)


@pytest.mark.parametrize("data", [b"", b"x"])
def test_an_empty_pipe_is_an_error(pipe: Pipe, data: bytes) -> None:
    if data:
        pipe.write(data)
    pipe.end()
    with pytest.raises(InputError, match="holds no audio"):
        pipe.source.read(60.0)


@pytest.mark.parametrize(
    ("head", "kind"), [(b"fLaC", "FLAC"), (b"OggS", "Ogg"), (b"\0\0\0\x18ftypM4A ", "M4A")]
)
def test_a_recording_is_rejected_by_name_without_ffmpeg(
    pipe: Pipe, head: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    pipe.write(head + bytes(5_000))
    with pytest.raises(InputError, match=rf"is .*{kind}.*apt install ffmpeg, or .*--source PATH"):
        pipe.source.read(60.0)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_are_resampled_and_gain_is_applied(rate: int) -> None:
    pipe = Pipe(rate=rate, gain_db=6.0206)
    with pipe.source:
        tone = np.sin(2 * np.pi * 300 * np.arange(rate // 4) / rate)
        pipe.write((tone * 8_000).astype("<i2").tobytes())
        pipe.end()
        samples = pipe.rest()
        assert pipe.source.stats.rate == rate
    os.close(pipe.reading)
    assert len(samples) == 4_000
    expected = high_passed(np.sin(2 * np.pi * 300 * np.arange(4_000) / 16_000) * 16_000 / 32_768)
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=1e-3)


def test_a_regular_file_can_be_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(np.tile(NUMBERS, 10_000).tobytes())
    with path.open("rb") as file, StdinSource(fd=file.fileno()) as source:
        count = 0
        with contextlib.suppress(EndOfSource):
            while block := source.read(60.0):
                count += len(block)
    assert count == 60_000
    assert source.stats.samples == 60_000


def test_closing_from_another_thread_ends_a_blocked_read(pipe: Pipe) -> None:
    threading.Timer(0.05, pipe.source.close).start()
    with pytest.raises(EndOfSource):
        pipe.source.read(900.0)


def test_reading_continues_after_it_is_reopened(pipe: Pipe) -> None:
    pipe.write(NUMBERS.tobytes())
    assert pipe.source.read(60.0) is not None
    for _ in range(3):
        pipe.source.close()
        pipe.source.close()
        with pytest.raises(EndOfSource):
            pipe.source.read(0)
        pipe.source.open()
        assert pipe.source.read(0) is None
    pipe.write(NUMBERS.tobytes())
    block = pipe.source.read(60.0)
    assert block is not None
    assert block.position == len(NUMBERS)
    assert pipe.source.stats.opens == 4


@pytest.mark.parametrize("extra", [0, 1])
def test_data_written_while_it_was_closed_is_skipped(pipe: Pipe, extra: int) -> None:
    pipe.write(NUMBERS.tobytes())
    first = pipe.source.read(60.0)
    assert first is not None
    pipe.source.close()
    pipe.write(b"\x11" * (20_000 + extra))  # 10 000 samples, and perhaps half of the next
    pipe.source.open()
    begun = time.monotonic()
    assert pipe.source.read(0.2) is None
    assert time.monotonic() - begun >= 0.2  # it waits for the writer instead of spinning
    pipe.write(b"\x11" * extra + NUMBERS.tobytes())
    block = pipe.source.read(60.0)
    assert block is not None
    expected = np.frombuffer(b"\0" * extra + b"\x11" * extra + NUMBERS.tobytes(), "<i2")
    np.testing.assert_allclose(block.samples, high_passed(expected / 32_768), atol=1e-6)
    assert block.position == first.end + 10_000
    assert block.lost == 10_000


def test_a_terminal_is_rejected_with_a_hint() -> None:
    master, slave = pty.openpty()
    try:
        with pytest.raises(UsageError, match=r"is a terminal.*arecord"):
            StdinSource(fd=slave).open()
    finally:
        os.close(master)
        os.close(slave)


def test_missing_standard_input_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="there is no standard input"):
        StdinSource().open()


@pytest.mark.parametrize("rate", [0, -1, 1_999, 10**7])
def test_an_invalid_rate_is_rejected(rate: int) -> None:
    with pytest.raises(UsageError, match="a rate of"):
        StdinSource(rate=rate)
