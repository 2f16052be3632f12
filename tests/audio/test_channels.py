"""Several channels: as much speech is found in them as in the best of them alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.audio import SAMPLE
from serd.audio.channels import ChannelMixer, channel_problem
from serd.audio.file import FileSource, read_mono16k
from serd.audio.source import EndOfSource
from serd.config import SpeechConfig
from serd.errors import InputError
from serd.speech import End, Segmenter, make_vad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.audio.channels import Choice
    from serd.audio.source import SourceStats

RATE = 16_000


def speech() -> NDArray[np.float64]:
    """The sample, twice, with a pause before each."""
    pause = np.zeros(RATE)
    once = read_mono16k(SAMPLE).astype(np.float64)
    return np.concatenate([pause, once, pause, once])


def noise(length: int, level_dbfs: float, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(length) * 10 ** (level_dbfs / 20)


def find_utterances(path: Path, channel: Choice) -> tuple[list[tuple[int, int]], SourceStats]:
    """Start and end of the utterances in a recording, and the statistics of the source."""
    configured = SpeechConfig()
    segmenter = Segmenter(configured, make_vad(configured))
    events = []
    with FileSource(path, pace="fast", channel=channel) as source:
        while True:
            try:
                block = source.read(10.0)
            except EndOfSource:
                break
            assert block is not None
            events += segmenter.feed(block.samples)
        stats = source.stats
    events += segmenter.flush()
    found = [(e.utterance.start, e.utterance.end) for e in events if isinstance(e, End)]
    return found, stats


def overlapping(found: list[tuple[int, int]], expected: list[tuple[int, int]]) -> int:
    """How many of the expected utterances were found, at least by half."""
    return sum(
        any(min(end, b) - max(start, a) > (b - a) / 2 for start, end in found) for a, b in expected
    )


def dead_channel(voice: NDArray[Any]) -> list[NDArray[Any]]:
    return [np.full(len(voice), 0.02), voice + noise(len(voice), -70, 1)]


def left_only(voice: NDArray[Any]) -> list[NDArray[Any]]:
    return [voice + noise(len(voice), -70, 1), np.zeros(len(voice))]


def antiphase(voice: NDArray[Any]) -> list[NDArray[Any]]:
    return [voice + noise(len(voice), -75, 1), noise(len(voice), -75, 2) - voice]


def hum_on_one(voice: NDArray[Any]) -> list[NDArray[Any]]:
    hum = 0.1 * np.sin(2 * np.pi * 50 * np.arange(len(voice)) / RATE)
    hum += 0.05 * np.sin(2 * np.pi * 150 * np.arange(len(voice)) / RATE)
    return [voice + hum, 0.5 * voice + noise(len(voice), -70, 2)]


def array_of_six(voice: NDArray[Any]) -> list[NDArray[Any]]:
    """A processed channel, four microphones, and a playback channel that has speech at times."""
    played = np.zeros(len(voice))
    once = 0.5 * voice[RATE : 4 * RATE]
    at = min(6 * RATE, len(voice) // 2)
    played[at : at + len(once)] = once[: len(voice) - at]
    mics = [np.roll(voice, n) * (0.2 + 0.1 * n) + noise(len(voice), -68, n) for n in range(4)]
    return [0.5 * voice + noise(len(voice), -60, 9), *mics, played]


def array_of_eight(voice: NDArray[Any]) -> list[NDArray[Any]]:
    """Six microphones and two playback channels, one of which has music."""
    time_s = np.arange(len(voice)) / RATE
    music = 0.2 * np.sin(2 * np.pi * 440 * time_s) + 0.1 * np.sin(2 * np.pi * 660 * time_s)
    mics = [np.roll(voice, n) * 0.5 + noise(len(voice), -66, n) for n in range(6)]
    return [*mics, np.zeros(len(voice)), music * (time_s % 4 > 2)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, int]]:
    """The utterances in the voice alone."""
    soundfile.write(path := tmp_path_factory.mktemp("voice") / "clean.wav", speech(), RATE)
    found = find_utterances(path, "mix")[0]
    assert len(found) >= 4
    return found


@pytest.mark.parametrize(
    ("make", "channel", "chosen", "rate"),
    [
        (dead_channel, "mix", {0}, 16_000),
        (dead_channel, "auto", {2}, 16_000),
        (left_only, "mix", {0}, 48_000),
        (left_only, "auto", {1}, 16_000),
        (antiphase, "mix", {1, 2}, 44_100),
        (antiphase, "auto", {1, 2}, 16_000),
        (hum_on_one, "auto", {2}, 48_000),
        (hum_on_one, 2, {2}, 16_000),
        (array_of_six, "auto", {1, 2, 3, 4, 5}, 16_000),
        (array_of_eight, "auto", {1, 2, 3, 4, 5, 6}, 16_000),
    ],
)
@pytest.mark.slow
def test_as_much_speech_is_found_as_in_the_best_channel_alone(  # noqa: PLR0917 - fixtures by name
    tmp_path: Path,
    expected: list[tuple[int, int]],
    make: Callable[[NDArray[Any]], list[NDArray[Any]]],
    channel: Choice,
    chosen: set[int],
    rate: int,
) -> None:
    import soxr

    columns = np.stack(make(speech()), axis=1)
    if rate != RATE:
        columns = soxr.resample(columns, RATE, rate)
    soundfile.write(path := tmp_path / "array.wav", columns, rate, subtype="PCM_24")
    found, stats = find_utterances(path, channel)
    assert overlapping(found, expected) >= 0.9 * len(expected)
    if stats.channel:  # and as much as that channel alone
        assert overlapping(found, expected) >= overlapping(
            find_utterances(path, stats.channel)[0], expected
        )
    assert stats.channel in chosen
    assert len(stats.channel_dbfs) == columns.shape[1]


def test_problems_with_channels_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack(antiphase(speech()), axis=1), RATE)
    _, stats = find_utterances(path, "mix")
    assert stats.channels_cancel
    assert "cancel each other" in caplog.text
    assert caplog.text.count("cancel each other") == 1
    soundfile.write(path, np.stack(dead_channel(speech()), axis=1), RATE)
    _, stats = find_utterances(path, "auto")
    assert stats.channels_dead == (1,)
    assert stats.channel_dbfs[0] < -90
    assert -40 < stats.channel_dbfs[1] < -10
    assert "channel 2 of 2 is listened to" in caplog.text


def test_mixing_identical_channels_keeps_their_level(tmp_path: Path) -> None:
    voice = speech()
    soundfile.write(one := tmp_path / "one.wav", voice, RATE, subtype="FLOAT")
    soundfile.write(
        four := tmp_path / "four.wav", np.stack([voice] * 4, axis=1), RATE, subtype="FLOAT"
    )
    np.testing.assert_allclose(read_mono16k(four), read_mono16k(one), atol=1e-6)


@settings(max_examples=6, deadline=None)
@given(sizes=st.lists(st.integers(1, 5_000), min_size=1, max_size=12))
@pytest.mark.parametrize("choice", ["mix", "auto", 2])
@pytest.mark.parametrize("make", [antiphase, hum_on_one, array_of_six])
@pytest.mark.slow
def test_block_sizes_do_not_change_a_bit_of_the_result(
    choice: Choice, make: Callable[[NDArray[Any]], list[NDArray[Any]]], sizes: list[int]
) -> None:
    frames = np.stack(make(speech()[: 3 * RATE]), axis=1).astype(np.float32)
    count = frames.shape[1]
    whole = ChannelMixer(choice, rate=RATE, count=count, name="it").mix(frames)
    cut, at, turn = ChannelMixer(choice, rate=RATE, count=count, name="it"), 0, 0
    parts = []
    while at < len(frames):
        size = sizes[turn % len(sizes)]
        parts.append(cut.mix(frames[at : at + size]))
        at, turn = at + size, turn + 1
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_switching_channels_does_not_click(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)
    frames = np.stack([tone, -tone], axis=1).astype(np.float32)
    mixed = ChannelMixer("mix", rate=RATE, count=2, name="it").mix(frames)
    # Silence while they cancel each other, then one of them alone, faded in within 5 ms.
    assert np.abs(mixed[-1_000:]).max() == pytest.approx(0.5, abs=1e-3)
    assert np.abs(np.diff(mixed)).max() < 0.03


def test_a_missing_channel_number_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((1_000, 2)), RATE)
    with pytest.raises(InputError, match=r"a\.wav has 2 channels, and audio\.channel asks for num"):
        read_mono16k(path, channel=3)
    soundfile.write(path, np.zeros(1_000), RATE)
    assert len(read_mono16k(path, channel=3)) == 1_000
    assert channel_problem("mix", 1) is None
    assert channel_problem(2, 1) == "has one channel, and audio.channel asks for number 2"
