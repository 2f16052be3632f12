"""An utterance at several places of the network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from serd.model.interpreter import Interpreter
from serd.model.metadata import FeatureParameters, ModelInfo, Reverb
from serd.model.mfcc import MfccFrontEnd
from serd.model.model_file import ModelFile, pack
from serd.model.placement import Placements
from tests.model.signals import voice

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = FeatureParameters(mean=(1.0,) * 64, sd=(2.0,) * 64)


@pytest.mark.parametrize("by", [-30, -4, 0, 2, 187])
@pytest.mark.parametrize("seconds", [0.5, 1.9])
def test_the_utterance_is_where_the_front_end_would_have_put_it(by: int, seconds: float) -> None:
    front_end = MfccFrontEnd(PARAMETERS)
    power = front_end.mel_power(voice(seconds, seed=1))
    middle = (PARAMETERS.frames - len(power)) // 2
    expected = front_end.finish_mel(power, offset=middle + by)
    (moved,) = Placements((by,), PARAMETERS).of(front_end.finish_mel(power))
    np.testing.assert_array_equal(moved, expected)


def test_the_tail_of_a_room_moves_along() -> None:
    parameters = msgspec.structs.replace(PARAMETERS, reverb=Reverb(rt60_s=0.5, tail_db=-7.0))
    front_end = MfccFrontEnd(parameters)
    power = front_end.mel_power(voice(1.0, seed=1))
    middle = (parameters.frames - len(power)) // 2
    for by in (-4, 4):
        expected = front_end.finish_mel(power, offset=middle + by)
        (moved,) = Placements((by,), parameters).of(front_end.finish_mel(power))
        end = min(by, 0) or None  # beyond it, the tail has been cut off
        np.testing.assert_array_equal(moved[:end], expected[:end])


def test_features_that_are_not_moved_are_not_copied() -> None:
    features = np.zeros((188, 64), dtype=np.float32)
    first, second = Placements((0, 2), PARAMETERS).of(features)
    assert first is features
    assert second is not features


def test_the_network_answers_with_the_mean_over_the_placements(tiny_model_path: Path) -> None:
    tiny_model = ModelFile.load(tiny_model_path)
    features = MfccFrontEnd(tiny_model.info.features).features(voice(1.2, seed=3))

    def answer(*placements: int) -> np.ndarray:
        info = msgspec.structs.replace(tiny_model.info, placements=placements)
        return Interpreter(msgspec.structs.replace(tiny_model, info=info)).run(features)

    alone = [answer(by) for by in (-70, 0, 70)]
    assert not np.array_equal(alone[0], alone[1])
    np.testing.assert_allclose(answer(-70, 0, 70), np.mean(alone, axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("placements", "told"),
    [
        ((), "1 to 16 different"),
        ((4, 4), "1 to 16 different"),
        (tuple(range(17)), "1 to 16 different"),
        ((0, 188), "placements has 188, and the input has 188 frames"),
        ((-188,), "placements has -188"),
    ],
)
def test_placements_that_make_no_sense_are_refused(placements: tuple[int, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ModelInfo(name="x", version="1", features=PARAMETERS, placements=placements)


def test_a_model_file_keeps_them(tiny_model_path: Path, tmp_path: Path) -> None:
    tiny_model = ModelFile.load(tiny_model_path)
    info = msgspec.structs.replace(tiny_model.info, placements=(-4, 4))
    file = tmp_path / "placed.tflite"
    file.write_bytes(pack(tiny_model.network, tiny_model.labels, info))
    assert ModelFile.load(file).info.placements == (-4, 4)
