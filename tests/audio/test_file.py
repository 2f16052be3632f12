from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.audio import file as module
from serd.audio.file import FileSource, read_mono16k
from serd.audio.recording import AudioFile
from serd.audio.source import Block, EndOfSource
from serd.errors import InputError
from tests.audio.reference import high_passed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


def tones(rate: int, seconds: float = 1.0) -> NDArray[np.float64]:
    """A chord below 1 kHz, which every rate from 8 kHz on can carry."""
    time_s = np.arange(round(rate * seconds)) / rate
    hertz = np.array([[220.0], [330.0], [700.0]])
    mix: NDArray[np.float64] = 0.2 * np.sin(2 * np.pi * hertz * time_s).sum(axis=0)
    return mix


def blocks(source: FileSource) -> Iterator[Block]:
    while True:
        try:
            block = source.read(60.0)
        except EndOfSource:
            return
        if block is not None:
            yield block


def stream(path: Path, **arguments: Any) -> list[Block]:
    with FileSource(path, pace="fast", **arguments) as source:
        return list(blocks(source))


GOOD = [
    ("wav", 16_000, 1, "PCM_16", 2e-3),
    ("wav", 16_000, 1, "PCM_U8", 1e-2),
    ("wav", 44_100, 2, "PCM_24", 2e-3),
    ("wav", 48_000, 1, "PCM_32", 2e-3),
    ("wav", 48_000, 2, "FLOAT", 2e-3),
    ("wav", 22_050, 1, "DOUBLE", 2e-3),
    ("wav", 16_000, 8, "PCM_16", 2e-3),
    ("wav", 8_000, 1, "PCM_16", 2e-3),
    ("wav", 8_000, 1, "ULAW", 2e-2),
    ("wav", 192_000, 2, "PCM_24", 2e-3),
    ("flac", 11_025, 1, "PCM_16", 2e-3),
    ("flac", 96_000, 8, "PCM_24", 2e-3),
    ("aiff", 32_000, 2, "PCM_16", 2e-3),
    ("ogg", 44_100, 1, "VORBIS", 3e-2),
    ("mp3", 44_100, 2, "MPEG_LAYER_III", 3e-2),
]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: "-".join(map(str, case[:4])))
def test_every_format_gives_the_same_samples(
    tmp_path: Path, case: tuple[str, int, int, str, float]
) -> None:
    suffix, rate, channels, subtype, tolerance = case
    path = tmp_path / f"chord.{suffix}"
    # Channels of unequal loudness whose mean is the chord.
    gains = np.linspace(0.5, 1.5, channels) if channels > 1 else np.ones(1)
    soundfile.write(path, tones(rate)[:, np.newaxis] * gains, rate, subtype=subtype)
    samples = read_mono16k(path)
    assert samples.dtype == np.float32
    assert len(samples) == 16_000
    edge = 1_600  # lossy codecs distort the abrupt beginning and end
    np.testing.assert_allclose(
        samples[edge:-edge], high_passed(tones(16_000))[edge:-edge], atol=tolerance, rtol=0
    )
    np.testing.assert_array_equal(np.concatenate([b.samples for b in stream(path)]), samples)


def _wav(
    data: NDArray[np.float64], subtype: str = "FLOAT", rate: int = 16_000
) -> Callable[..., Any]:
    return lambda path: soundfile.write(path, data, rate, subtype=subtype, format="WAV")


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _cut(suffix: str, share: float) -> Callable[[Path], object]:
    """A truncated recording, with only this share of its bytes."""

    def write(path: Path) -> None:
        chance = np.random.default_rng(3)
        soundfile.write(path, 0.1 * chance.standard_normal(96_000), 16_000, format=suffix)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return write


BAD: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("nothing", "a.wav", lambda path: None, "does not exist"),
    ("a directory", "a.wav", lambda path: path.mkdir(), "is a directory"),
    ("no bytes", "a.wav", _bytes(b""), r"is empty \(0 bytes\)"),
    ("no samples", "a.wav", _wav(np.zeros(0)), r"holds no audio \(0 samples\)"),
    ("text", "a.wav", _bytes(b"Dear diary, today I was happy.\n" * 99), "is not audio"),
    ("a picture", "a.flac", _bytes(b"\x89PNG\r\n\x1a\n" + bytes(999)), "is not audio"),
    ("rubbish as MP3", "a.mp3", _bytes(bytes(range(256)) * 20), "is not audio"),
    ("headerless", "a.raw", _bytes(bytes(32_000)), "is not audio"),
    ("half a WAV header", "a.wav", _bytes(b"RIFF\x24\0\0\0WAVEfm"), "is not audio"),
    ("half a FLAC header", "a.flac", _cut("FLAC", 0.001), "is (not audio|damaged)"),
    ("half an Ogg header", "a.ogg", _cut("OGG", 0.005), "is not audio"),
    ("1 Hz", "a.wav", _wav(np.zeros(100), "PCM_16", rate=1), "has a sample rate of 1 Hz"),
    ("2 GHz", "a.wav", _wav(np.zeros(100), "PCM_16", rate=2**31 - 1), "has a sample rate of"),
]


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [pytest.param(name, make, reason, id=case) for case, name, make, reason in BAD],
)
def test_invalid_files_are_rejected_with_path_and_reason(
    tmp_path: Path, name: str, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / name
    make(path)
    for use in (read_mono16k, stream):
        with pytest.raises(InputError, match=f"^{re.escape(str(path))} {reason}") as caught:
            use(path)
        assert "\n" not in str(caught.value)


def test_an_invalid_path_is_rejected() -> None:
    with pytest.raises(InputError, match="is not a path"):
        read_mono16k("a\0b")


def test_a_path_that_cannot_be_looked_up_is_rejected() -> None:
    """A folder without permission would do as well, but not if the tests run as root."""
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        FileSource("x" * 300).length_s()


def test_an_unreadable_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    _wav(tones(16_000))(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # root may read everything
    try:
        with pytest.raises(InputError, match=r"cannot be read: Permission denied"):
            read_mono16k(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("suffix", ["WAV", "FLAC", "OGG"])
def test_the_readable_part_of_a_truncated_file_is_used(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, cut = tmp_path / f"whole.{suffix.lower()}", tmp_path / f"cut.{suffix.lower()}"
    _cut(suffix, 1.0)(whole)
    _cut(suffix, 0.5)(cut)
    full, part = read_mono16k(whole), read_mono16k(cut)
    assert 0.2 < len(part) / len(full) < 0.6
    steady = len(part) - 2_000  # a lossy codec fades out at a cut
    np.testing.assert_allclose(part[:steady], full[:steady], atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([b.samples for b in stream(cut)]), part)
    if suffix == "FLAC":
        assert f"{cut} is damaged after" in caplog.text


def test_a_wav_file_with_too_large_a_size_in_its_header_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "streamed.wav"
    _wav(tones(16_000), "PCM_16")(path)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # as a recorder writes into a pipe
    path.write_bytes(data)
    assert len(read_mono16k(path)) == 16_000


def test_nan_and_infinity_become_silence_and_other_samples_are_kept(tmp_path: Path) -> None:
    data = tones(16_000)
    data[100:200], data[5_000], data[6_000] = np.nan, np.inf, -np.inf
    _wav(data)(path := tmp_path / "a.wav")
    samples = read_mono16k(path)
    expected = high_passed(np.where(np.isfinite(data), data, 0.0))
    np.testing.assert_allclose(samples, expected, atol=1e-6)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_overdriven_samples_are_clipped_at_full_scale(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    _wav(np.where(tones(rate) > 0, 1e30, -50.0), rate=rate)(path)
    samples = read_mono16k(path)
    assert np.all(np.abs(samples) <= 1.0)
    assert samples.max() == 1.0
    assert samples.min() == -1.0


def test_a_file_with_one_sample_is_accepted(tmp_path: Path) -> None:
    _wav(np.array([0.5]))(path := tmp_path / "a.wav")
    assert len(read_mono16k(path)) == 1


def test_gain_is_applied(tmp_path: Path) -> None:
    _wav(0.1 * tones(44_100), rate=44_100)(path := tmp_path / "a.wav")
    quiet, loud = read_mono16k(path), read_mono16k(path, gain_db=6.0206)
    np.testing.assert_allclose(loud, 2 * quiet, atol=1e-5)
    np.testing.assert_array_equal(
        np.concatenate([b.samples for b in stream(path, gain_db=6.0206)]), loud
    )


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=5))
@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac"])
@pytest.mark.slow
def test_frames_do_not_depend_on_the_sizes_of_reads(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, sizes: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"noise.{suffix}"
    if not path.exists():
        chance = np.random.default_rng(5)
        soundfile.write(path, 0.3 * chance.uniform(-1, 1, (44_100, 2)), 44_100)
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    file, parts, number = AudioFile(path), [], 0
    while len(part := file.read(sizes[number % len(sizes)])):
        parts.append(part)
        number += 1
    file.close()
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_positions_are_gapless_and_stats_are_counted(tmp_path: Path) -> None:
    _wav(tones(44_100, 1.5), rate=44_100)(path := tmp_path / "a.wav")
    source = FileSource(path, pace="fast")
    assert source.stats.opens == 0
    assert source.name == str(path)
    assert not source.live
    with source:
        made = list(blocks(source))
        stats = source.stats
    assert [b.position for b in made] == [0, *np.cumsum([len(b) for b in made])[:-1]]
    assert all(b.lost == 0 for b in made)
    assert (stats.samples, stats.blocks, stats.opens) == (24_000, len(made), 1)
    assert (stats.rate, stats.channels, stats.overflow_samples) == (44_100, 1, 0)


def test_end_of_source_is_raised_until_the_source_is_reopened(tmp_path: Path) -> None:
    _wav(tones(16_000))(path := tmp_path / "a.wav")
    source = FileSource(path, pace="fast")
    with pytest.raises(EndOfSource):
        source.read(0)
    source.open()
    first = list(blocks(source))
    for _ in range(3):
        with pytest.raises(EndOfSource):
            source.read(0)
    source.open()
    assert [b.position for b in blocks(source)] == [b.position for b in first]
    source.close()
    source.close()
    with pytest.raises(EndOfSource):
        source.read(0)


class Clock:
    """A fake clock that advances only during waits, each time by ``late`` more than requested."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.late = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds + self.late
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("rate", [16_000, 11_025])
@pytest.mark.parametrize("late", [0.0, 0.002, 0.5])
def test_real_pace_keeps_absolute_deadlines(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, rate: int, late: float
) -> None:
    """Late wake-ups and late reads do not delay any later block."""
    _wav(tones(rate, 10.0), rate=rate)(path := tmp_path / "a.wav")
    with FileSource(path) as source:
        monkeypatch.setattr(source._closed, "wait", clock.wait)
        clock.late = late
        begun = clock.now
        arrivals, first = [], source.read(0.0)
        assert first is None  # no audio is due yet
        for block in blocks(source):
            assert clock.now >= block.arrived
            # No block arrives before its audio is over; the resampler may delay it further.
            assert block.arrived - begun >= block.end / 16_000 - 1e-9
            arrivals.append(block.arrived - begun)
            clock.now += late
    assert arrivals[-1] == pytest.approx(10.0)
    steps = np.diff(arrivals[:-2])
    # The resampler may hold back some blocks' worth of samples, but never part of a block.
    multiples = np.asarray(steps) * rate / round(0.03 * rate)
    np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-6)
    assert np.rint(multiples).max() <= 3


def test_a_timeout_at_real_pace_returns_none_and_loses_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wav(tones(16_000))(path := tmp_path / "a.wav")
    with FileSource(path) as source:
        monkeypatch.setattr(source._closed, "wait", clock.wait)
        got, waits = [], 0
        while True:
            try:
                block = source.read(0.007)
            except EndOfSource:
                break
            if block is None:
                waits += 1
            else:
                got.append(block)
    assert waits >= 100
    np.testing.assert_array_equal(np.concatenate([b.samples for b in got]), read_mono16k(path))


def test_fast_pace_never_waits(tmp_path: Path, clock: Clock) -> None:
    _wav(tones(16_000, 60.0))(path := tmp_path / "a.wav")
    assert sum(len(b) for b in stream(path)) == 60 * 16_000
    assert clock.now == 1_000.0


def test_closing_from_another_thread_ends_a_blocked_read(tmp_path: Path) -> None:
    # One block of this file lasts long enough that only close() can end the wait.
    _wav(np.zeros(2_000 * 60), "PCM_16", rate=2_000)(path := tmp_path / "a.wav")
    source = FileSource(path)
    source.open()
    source._begun = time.monotonic() + 1_000
    threading.Timer(0.05, source.close).start()
    with pytest.raises(EndOfSource):
        source.read(900.0)


def test_closing_while_another_thread_reads_never_crashes(tmp_path: Path) -> None:
    _wav(tones(48_000, 15.0), rate=48_000)(path := tmp_path / "a.wav")
    for turn in range(50):
        source = FileSource(path, pace="fast")
        source.open()
        closer = threading.Thread(target=source.close)
        for _ in range(turn % 10):
            source.read(0)
        closer.start()
        for _ in blocks(source):
            pass
        closer.join()


def test_memory_does_not_grow_with_the_length_of_the_file(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as out:
        for _ in range(10):
            out.write(np.zeros(16_000 * 60, np.int16))
    tracemalloc.start()
    try:
        with FileSource(path, pace="fast") as source:
            for _ in blocks(source):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # ten minutes are 38 MB


def test_the_length_of_joined_recordings_is_that_of_all(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    _wav(tones(16_000))(path)
    assert FileSource(path).length_s() == 1.0
    joined = tmp_path / "joined.wav"
    joined.write_bytes(2 * path.read_bytes())
    assert FileSource(joined).length_s() == 2.0


def test_a_recording_shorter_than_one_sample_at_16_khz_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    _wav(np.zeros(1), rate=48_000)(path)
    with pytest.raises(InputError, match="is too short"):
        read_mono16k(path)
