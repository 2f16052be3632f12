"""The tail of a room, against a plain recursion and an impulse response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.model.classifier import Classifier
from serd.model.metadata import FeatureParameters, Reverb
from serd.model.mfcc import MfccFrontEnd
from serd.model.model_file import ModelFile, pack
from serd.model.reverb import add_tail, tail_factors
from tests.model.signals import voice

if TYPE_CHECKING:
    from pathlib import Path

FRAME_S = 0.016
ROOM = Reverb(rt60_s=0.5, tail_db=-3.0)
DRY = FeatureParameters()
WET = FeatureParameters(reverb=ROOM)


def recursion(power: np.ndarray, decay: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """One frame after the other, in float64."""
    wet = power.astype(np.float64)
    tail = np.zeros(power.shape[1])
    for frame in range(1, len(power)):
        tail = decay.astype(np.float64) * tail + fresh.astype(np.float64) * power[frame - 1]
        wet[frame] += tail
    return wet


@settings(max_examples=80, deadline=None)
@given(
    frames=st.integers(0, 300),
    rt60_s=st.floats(0.01, 10.0),
    tail_db=st.floats(-60.0, 20.0),
    seed=st.integers(0, 1000),
)
def test_the_tail_is_that_of_a_plain_recursion(
    frames: int, rt60_s: float, tail_db: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    power = (10.0 ** random.uniform(-12, 4, size=(frames, 16))).astype(np.float32)
    factors = tail_factors(rt60_s, tail_db, bands=16, frame_s=FRAME_S)
    wet = add_tail(power, *factors)
    assert wet.shape == power.shape
    assert wet.dtype == np.float32
    # 1e-12 of the loudest power is -120 dB, 50 dB below the range of the features.
    loudest = power.max(initial=0.0)
    np.testing.assert_allclose(
        wet, recursion(power, *factors), rtol=2e-5, atol=1e-12 * float(loudest)
    )


def test_an_impulse_decays_by_60_db_in_rt60_and_the_tail_has_its_energy() -> None:
    power = np.zeros((400, 64), dtype=np.float32)
    power[10] = 1.0
    wet = add_tail(power, *tail_factors(0.4, -6.0, bands=64, frame_s=FRAME_S))
    assert not wet[:10].any()
    np.testing.assert_allclose(wet[10], 1.0)
    np.testing.assert_allclose(wet[11:].sum(axis=0), 10**-0.6, rtol=1e-3)
    fall = 10.0 * np.log10(wet[11] / wet[36])  # 25 frames are 0.4 s
    assert fall[0] == pytest.approx(60.0, abs=0.1)
    assert fall[-1] == pytest.approx(120.0, abs=0.2)


def test_each_clip_of_a_batch_has_its_own_room() -> None:
    power = np.random.default_rng(0).gamma(1.0, size=(3, 50, 8)).astype(np.float32)
    rt60_s, tail_db = np.array([0.2, 0.5, 1.0]), np.array([-10.0, -3.0, 0.0])
    wet = add_tail(power, *tail_factors(rt60_s, tail_db, bands=8, frame_s=FRAME_S))
    for clip in range(3):
        factors = tail_factors(rt60_s[clip], tail_db[clip], bands=8, frame_s=FRAME_S)
        np.testing.assert_array_equal(wet[clip], add_tail(power[clip], *factors))


def test_the_front_end_adds_the_room_before_the_logarithm() -> None:
    samples = np.random.default_rng(1).normal(0.0, 0.1, 16_000).astype(np.float32)
    power = MfccFrontEnd(DRY).mel_power(samples)
    silence = np.zeros((62, 64), dtype=np.float32)
    surrounded = np.concatenate([silence, power, np.zeros((63, 64), dtype=np.float32)])
    factors = tail_factors(ROOM.rt60_s, ROOM.tail_db, bands=64, frame_s=FRAME_S)
    expected = MfccFrontEnd(DRY).finish_mel(recursion(surrounded, *factors).astype(np.float32))
    found = MfccFrontEnd(WET).features(samples)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - MfccFrontEnd(DRY).features(samples)).max() > 10.0


def test_an_utterance_in_silence_has_the_same_features_as_alone() -> None:
    """Training places utterances in silence, the daemon passes them alone."""
    front_end = MfccFrontEnd(WET)
    power = np.random.default_rng(2).gamma(1.0, size=(90, 64)).astype(np.float32)
    surrounded = np.zeros((188, 64), dtype=np.float32)
    surrounded[30:120] = power
    np.testing.assert_allclose(
        front_end.finish_mel(surrounded, 0), front_end.finish_mel(power, 30), atol=1e-3
    )


def test_silence_has_no_tail() -> None:
    nothing = MfccFrontEnd(DRY).features(np.zeros(0, dtype=np.float32))
    for length in (0, 9000):
        silent = MfccFrontEnd(WET).features(np.zeros(length, dtype=np.float32))
        np.testing.assert_array_equal(silent, nothing)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"rt60_s": 0.0, "tail_db": -3.0}, "rt60_s"),
        ({"rt60_s": float("nan"), "tail_db": -3.0}, "rt60_s"),
        ({"rt60_s": 11.0, "tail_db": -3.0}, "rt60_s"),
        ({"rt60_s": 0.5, "tail_db": 21.0}, "tail_db"),
        ({"rt60_s": 0.5, "tail_db": float("-inf")}, "tail_db"),
    ],
)
def test_impossible_rooms_are_refused(given: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Reverb(**given)


def test_the_room_is_not_part_of_mel_power() -> None:
    tuned = FeatureParameters(reverb=ROOM, mean=(1.0,) * 64, sd=(2.0,) * 64)
    assert tuned.bare == DRY


def test_a_model_file_brings_its_room(tiny_model_path: Path) -> None:
    """Nothing but the file says that there is a room, and a stream hears it too."""
    dry = ModelFile.load(tiny_model_path)
    features = msgspec.structs.replace(dry.info.features, reverb=ROOM)
    info = msgspec.structs.replace(dry.info, features=features)
    wet = ModelFile.parse(pack(dry.network, dry.labels, info), "with a room")
    assert wet.info.features == features
    samples = voice(1.5)
    power = MfccFrontEnd(dry.info.features).mel_power(samples)
    heard = Classifier(wet).classify_utterance(samples)
    told = Classifier(dry).classify_features(MfccFrontEnd(features).finish_mel(power))
    assert heard.scores == told.scores
    assert heard.scores != Classifier(dry).classify_utterance(samples).scores
