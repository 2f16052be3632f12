from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN
from serd.model.metadata import FeatureParameters


def test_the_default_input_holds_three_seconds() -> None:
    params = FeatureParameters()
    assert params.frames_of(48_000) == params.frames
    assert params.longest >= 47_872


def test_lists_become_tuples_and_survive_json() -> None:
    means = [0.5] * 64
    params = FeatureParameters(mean=means, sd=[2] * 64)  # type: ignore[arg-type]
    assert params.mean == tuple(means)
    assert params.sd[0] == 2.0
    again = msgspec.json.decode(msgspec.json.encode(params), type=FeatureParameters)
    assert again == params
    assert hash(again) == hash(params)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"rate": 10}, "rate is 10"),
        ({"fft": 511, "window": 400, "hop": 200}, "not even"),
        ({"fft": 1 << 20}, "fft is 1048576"),
        ({"window": 513}, "window is 513"),
        ({"hop": 0}, "hop is 0"),
        ({"hop": 513}, "hop is 513"),
        ({"mel_bands": 0}, "mel_bands is 0"),
        ({"mel_bands": 100_000}, "mel_bands is 100000"),
        ({"coefficients": 65}, "coefficients is 65"),
        ({"frames": 10**9}, "frames is 1000000000"),
        ({"f_max_hz": 8001.0}, "f_max_hz is 8001"),
        ({"f_min_hz": -1.0}, "f_min_hz is -1"),
        ({"f_min_hz": 7600.0}, "not above"),
        ({"f_min_hz": float("nan")}, "f_min_hz is nan"),
        ({"amin": 0.0}, "amin is 0"),
        ({"range_db": float("inf")}, "range_db is inf"),
        ({"mean": (0.0,) * 63}, "63 figures for 64"),
        ({"mean": (float("nan"),) * 64}, "not finite"),
        ({"sd": (0.0,) * 64}, "outside"),
    ],
)
def test_invalid_feature_parameters_are_rejected(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureParameters(**bad)


@pytest.mark.parametrize(
    ("name", "value"), [("mel_scale", "htk"), ("mel_norm", "none"), ("reference", "absolute")]
)
def test_unsupported_features_are_rejected(name: str, value: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"'{value}' - at `\$\.{name}`"):
        msgspec.json.decode(msgspec.json.encode({name: value}), type=FeatureParameters)


def test_unknown_parameters_are_rejected() -> None:
    with pytest.raises(msgspec.ValidationError, match="deltas"):
        msgspec.json.decode(b'{"deltas": true}', type=FeatureParameters)


def test_every_emotion_has_coordinates() -> None:
    assert tuple(COORDINATES) == EMOTIONS
    assert UNCERTAIN not in EMOTIONS
    assert COORDINATES["neutral"] == (0.0, 0.0)
    assert all(v * v + a * a <= 1.0 for v, a in COORDINATES.values())
    aroused = {name for name, (_, arousal) in COORDINATES.items() if arousal > 0}
    assert aroused == {"happy", "angry", "fearful", "disgust", "surprised"}
    pleasant = {name for name, (valence, _) in COORDINATES.items() if valence > 0}
    assert pleasant == {"calm", "happy", "surprised"}
