from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import soundfile

from serd.model.metadata import FeatureParameters
from tests.training.test_batches import prepared
from training.augment import excerpt, load_training_sounds, recorded_noise, replace_with_recordings
from training.batches import Batches, measure_features
from training.corpora.esc10 import TEST_FOLDS, TRAINING_FOLDS
from training.recipe import load_recipe
from training.recipe.augmentation import Sounds

if TYPE_CHECKING:
    from pathlib import Path

BANDS = 64


def sounds() -> list[np.ndarray]:
    """Two distinguishable sounds: one fills the lower bands, one the upper."""
    low, high = np.zeros((2, 300, BANDS), dtype=np.float32)
    low[:, :32], high[:, 32:] = 1.0, 3.0
    return [low, high]


def test_training_loads_only_its_own_folds(tmp_path: Path) -> None:
    folder = tmp_path / "esc10" / "rain"
    folder.mkdir(parents=True)
    for fold in (1, 2, 3, 4, 5):
        # As many seconds as the fold's number, to identify the sounds.
        noise = np.random.default_rng(fold).normal(0, 0.1, 16_000 * fold).astype(np.float32)
        soundfile.write(folder / f"{fold}-100{fold}-A.wav", noise, 16_000)
    assert not set(TRAINING_FOLDS) & set(TEST_FOLDS)
    loaded = load_training_sounds(tmp_path, FeatureParameters())
    assert [round(len(sound) * 256 / 16_000) for sound in loaded] == list(TRAINING_FOLDS)


def test_excerpts_favour_loud_parts_of_a_sound() -> None:
    quiet_then_loud = np.full((400, BANDS), 1e-6, dtype=np.float32)
    quiet_then_loud[300:] = 1.0
    loud = 0
    for seed in range(200):
        piece = excerpt([quiet_then_loud], 40, 60, np.random.default_rng(seed))
        assert 40 <= len(piece) <= 60
        loud += piece.max() == 1.0
    # A third of all positions are loud; the loudest of three positions is loud in 70 % of draws.
    assert 115 <= loud <= 165


def test_a_short_sound_is_repeated_to_fill_the_window() -> None:
    ramp = np.arange(50, dtype=np.float32)[:, None] * np.ones(BANDS, dtype=np.float32)
    noise = recorded_noise([ramp], 188, np.random.default_rng(0))
    assert noise.shape == (188, BANDS)
    np.testing.assert_array_equal(np.diff(noise[:, 0]) % 50, 1.0)


def test_recordings_replace_noise_at_the_same_power() -> None:
    noise = np.ones((20, 188, BANDS), dtype=np.float32)
    noise[3] = 0.0  # a clip without noise stays without noise
    before = noise.sum(axis=(1, 2))
    replace_with_recordings(noise, sounds(), 0.5, np.random.default_rng(1))
    np.testing.assert_allclose(noise.sum(axis=(1, 2)), before, rtol=1e-4)
    recorded = [clip for clip in noise if (clip == 0).any() and clip.any()]
    assert 4 <= len(recorded) <= 15
    assert not noise[3].any()


@pytest.mark.parametrize("share", [0.0, 0.25])
@pytest.mark.slow
def test_sounds_without_speech_have_a_uniform_target(share: float) -> None:
    clips = [prepared("ravdess", number, "happy") for number in range(12)]
    recipe = msgspec.structs.replace(
        load_recipe("default"), sounds=Sounds(share=share, as_noise=0.0)
    )
    features = measure_features(clips, recipe.features)
    soft_targets = {one.clip.id: np.eye(8, dtype=np.float32)[0] for one in clips}
    batches = Batches(clips, recipe, features, soft_targets=soft_targets, sounds=sounds())
    alone = 0
    for step in range(10):
        batch = batches.batch(step)
        uniform = np.isclose(batch.targets, 1.0 / 8.0).all(axis=1)
        assert (batch.targets[~uniform].max(axis=1) == 1.0).all()
        assert not batch.soft_targets[uniform].any()
        assert batch.soft_targets[~uniform].any(axis=1).all()
        assert batch.mask[uniform].all()
        alone += int(uniform.sum())
    assert alone == 0 if share == 0.0 else 50 <= alone <= 110


def test_a_recipe_without_sounds_uses_none() -> None:
    clips = [prepared("ravdess", number, "happy") for number in range(12)]
    recipe = msgspec.structs.replace(load_recipe("default"), sounds=None)
    features = measure_features(clips, recipe.features)
    with_some = Batches(clips, recipe, features, sounds=sounds()).batch(3)
    with_none = Batches(clips, recipe, features).batch(3)
    np.testing.assert_array_equal(with_some.features, with_none.features)
