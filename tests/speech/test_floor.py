"""The energy floor adapts to the room."""

from __future__ import annotations

import numpy as np
import pytest

from serd.audio.format import FRAME_SAMPLES
from serd.speech.vad import BLOCK_FRAMES, BLOCKS, LEARNING_FRAMES, EnergyFloor
from tests.speech.signals import Samples, at, fan, hum, noise, vowels


def passes(floor: EnergyFloor, energy: float) -> bool:
    return floor.judge([energy])[0]


def judge(floor: EnergyFloor, samples: Samples) -> list[bool]:
    count = len(samples) // FRAME_SAMPLES
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).astype(np.float64)
    return [passes(floor, energy) for energy in np.square(frames).sum(axis=1).tolist()]


def energy(dbfs: float) -> float:
    return float(FRAME_SAMPLES * 10 ** (dbfs / 10))


def test_frames_below_the_fixed_floor_do_not_pass() -> None:
    floor = EnergyFloor(-50.0)
    assert [passes(floor, energy(level)) for level in (-50.1, -49.9, -120, -10)] == [
        False,
        True,
        False,
        True,
    ]
    assert not passes(floor, 0.0)


@pytest.mark.parametrize("level", [-60, -40, -20])
@pytest.mark.parametrize(
    ("steady", "max_share"),
    [
        (noise(8), 0.0),
        (noise(8, slope=1), 0.0),
        (noise(8, slope=2), 0.4),
        (fan(8), 0.12),
        (hum(8), 0),
    ],
    ids=["white", "pink", "brown", "fan", "hum"],
)
def test_steady_noise_does_not_pass_once_it_is_learnt(
    steady: Samples, max_share: float, level: float
) -> None:
    passed = judge(EnergyFloor(-65.0), at(steady, level))
    assert all(passed[:LEARNING_FRAMES]) or level == -60
    assert np.mean(passed[LEARNING_FRAMES:]) <= max_share


def test_speech_above_the_noise_passes() -> None:
    voice = np.concatenate([np.zeros(48000, np.float32), vowels(4.0)])
    mixed = voice + at(noise(7.0), -40)
    passed = judge(EnergyFloor(-65.0), mixed)
    assert np.mean(passed[100:]) > 0.75
    assert np.mean(passed[LEARNING_FRAMES:100]) == 0


def test_speech_from_the_first_sample_on_passes() -> None:
    assert np.mean(judge(EnergyFloor(-65.0), vowels(10.0))) > 0.75


def test_a_louder_room_is_learnt_in_about_four_seconds() -> None:
    floor = EnergyFloor(-65.0)
    for _ in range(200):
        assert not passes(floor, energy(-70))
    passed = [passes(floor, energy(-30)) for _ in range(300)]
    learnt = passed.index(False)
    assert BLOCKS * BLOCK_FRAMES <= learnt <= (BLOCKS + 1) * BLOCK_FRAMES
    assert not any(passed[learnt:])


def test_a_quieter_room_is_learnt_at_once() -> None:
    floor = EnergyFloor(-65.0)
    for _ in range(200):
        passes(floor, energy(-30))
    assert not passes(floor, energy(-31))
    passes(floor, energy(-60))
    assert passes(floor, energy(-31))


def test_reset_forgets_the_room() -> None:
    floor = EnergyFloor(-65.0)
    for _ in range(200):
        passes(floor, energy(-30))
    floor.reset()
    assert passes(floor, energy(-30))
