from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from serd.model.emotions import EMOTIONS
from serd.model.metadata import FeatureParameters
from serd.model.mfcc import MfccFrontEnd
from tests.training.recipes import tiny_recipe
from training import train
from training.batches import clean_features, measure_features
from training.network import TRANSFORM, build_network, inverse_transform
from training.prepare import prepare
from training.recipe.network import Network
from training.recipe.teaching import Hints, Teaching
from training.teach import hint_losses
from training.train import Trainer, distillation_losses, masked_losses, one_cycle, set_up_tensorflow

if TYPE_CHECKING:
    from pathlib import Path

    from training.prepare import Prepared
    from training.recipe import Recipe

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow


def test_the_first_layer_is_initialised_as_the_inverse_transform_to_mel_bands() -> None:
    random = np.random.default_rng(0)
    power = random.gamma(0.5, 1.0, size=(188, 64)).astype(np.float32)
    bare = FeatureParameters()
    plain = MfccFrontEnd(bare).finish_mel(power)
    features = FeatureParameters(
        mean=tuple(plain.mean(axis=0).tolist()), sd=tuple(plain.std(axis=0).tolist())
    )
    kernel, bias = inverse_transform(features)
    back = MfccFrontEnd(features).finish_mel(power) @ kernel[0, 0] + bias
    levels = np.maximum(10 * np.log10(power / power.max()), -70.0)
    levels -= levels.mean(axis=0)
    np.testing.assert_allclose(back, levels / levels.std(), atol=1e-3)


def test_the_network_has_the_expected_size_and_first_layer() -> None:
    set_up_tensorflow(seed=1, threads=1)
    features = FeatureParameters(mean=(1.0,) * 64, sd=(2.0,) * 64)
    model = build_network(Network(), features, 8)
    assert model.output_shape == (None, 8)
    assert 260_000 < model.count_params() < 280_000
    for actual, expected in zip(
        model.get_layer(TRANSFORM).get_weights(), inverse_transform(features), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


def test_masked_classes_do_not_contribute_to_the_loss() -> None:
    set_up_tensorflow(seed=1, threads=1)
    targets = np.array([[1.0, 0.0, 0.0]], dtype=np.float32)
    mask = np.array([[1.0, 0.0, 1.0]], dtype=np.float32)
    losses = [
        float(masked_losses(np.array([[0.5, calm, 0.1]], dtype=np.float32), targets, mask, 0.1)[0])
        for calm in (-3.0, 0.0, 9.0)
    ]
    assert losses[0] == losses[1] == losses[2]
    logits = np.array([0.5, 0.1])
    likely = logits - np.log(np.exp(logits).sum())
    assert losses[0] == pytest.approx(-(0.95 * likely[0] + 0.05 * likely[1]), rel=1e-5)


def test_soft_targets_have_their_share_of_the_loss_and_none_where_absent() -> None:
    set_up_tensorflow(seed=1, threads=1)
    teaching = Teaching(teacher="x", licence="x", share=0.6, temperature=2.0, gain=3.0)
    logits = np.array([[0.5, 9.0, -0.7], [0.5, 9.0, -0.7]], dtype=np.float32)
    mask = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], dtype=np.float32)
    soft_targets = np.array([[0.8, 0.0, 0.2], [0.0, 0.0, 0.0]], dtype=np.float32)
    labels = np.array([2.0, 5.0], dtype=np.float32)
    losses = np.asarray(distillation_losses(labels, logits, mask, soft_targets, teaching))
    halved = np.array([0.5, -0.7]) / 2
    likely = halved - np.log(np.exp(halved).sum())
    soft = -(0.8 * likely[0] + 0.2 * likely[1])
    assert losses[0] == pytest.approx(0.4 * 2.0 + 0.6 * 3.0 * soft, rel=1e-5)
    assert losses[1] == 5.0


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = [one_cycle(step, 1000, 3e-3, 0.15) for step in range(1000)]
    assert rates[0] == pytest.approx(1.5e-4)
    assert rates.index(max(rates)) == 150
    assert max(rates) == pytest.approx(3e-3)
    assert rates[150:] == sorted(rates[150:], reverse=True)
    assert rates[-1] < 1e-6


@pytest.fixture
def clips(synthetic_corpora: Path, tmp_path: Path) -> list[Prepared]:
    from training.corpora import read_corpus

    recipe = tiny_recipe()
    found = read_corpus("ravdess", synthetic_corpora).clips[:32]
    return prepare(found, recipe.preparation, recipe.features, cache=tmp_path, jobs=1)


def with_emotion_hints(recipe: Recipe, clips: list[Prepared]) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with a hinting teacher, and hints determined by the emotion."""
    teaching = Teaching(teacher="x", licence="x", hints=Hints(components=2, weight=3.0))
    hints = {
        one.clip.id: np.array(
            [(place % 2 * 2 - 1, place // 4 * 2 - 1)] * len(one.copies), dtype=np.float16
        )
        for one in clips
        for place in [EMOTIONS.index(one.clip.emotion)]
    }
    return msgspec.structs.replace(recipe, teaching=teaching), hints


@pytest.mark.parametrize("with_hints", [False, True])
def test_an_interrupted_run_ends_with_the_same_weights(
    clips: list[Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, with_hints: bool
) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(train, "VALIDATE_EVERY", 4)
    recipe = tiny_recipe(steps=10)
    hints: dict[str, Any] = {}
    if with_hints:
        recipe, hints = with_emotion_hints(recipe, clips)
    features = measure_features(clips, recipe.features)
    weights = []
    for name in ("uninterrupted", "interrupted"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "interrupted":

            def stop(step: int, _: dict[str, float]) -> None:
                # The checkpoint of this step is not written yet: the run resumes from step 4.
                if step == 8:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                Trainer(recipe, features, clips, clips[:8], folder, hints=hints).run(stop)
        trainer = Trainer(recipe, features, clips, clips[:8], folder, hints=hints)
        weights.append(trainer.run().get_weights())
        assert trainer.step == 10
        assert [figures["step"] for figures in trainer.curves] == [4, 8, 10]
    for uninterrupted, resumed in zip(*weights, strict=True):
        np.testing.assert_array_equal(resumed, uninterrupted)


def test_training_beats_chance(clips: list[Prepared], tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(tiny_recipe(steps=40))
    features = measure_features(clips, recipe.features)
    trainer = Trainer(recipe, features, clips, clips, tmp_path)
    trainer.run()
    assert trainer.curves[-1]["validation_accuracy"] > 0.5


def test_hints_are_learned_and_do_not_change_the_network(
    clips: list[Prepared], tmp_path: Path
) -> None:
    plain = tiny_recipe(steps=60)
    recipe, hints = with_emotion_hints(plain, clips)
    features = measure_features(clips, plain.features)
    shapes: list[list[tuple[int, ...]]] = []
    for chosen in (plain, recipe):
        folder = tmp_path / str(len(shapes))
        folder.mkdir()
        trainer = Trainer(chosen, features, clips, [], folder, hints=hints)
        shapes.append([weight.shape for weight in trainer.run().get_weights()])
    assert shapes[0] == shapes[1]
    assert trainer._hint_predictor is not None
    _, predicted = trainer._hint_predictor.model(clean_features(clips, features), training=False)
    expected = np.stack([hints[one.clip.id][0] for one in clips])
    error = np.asarray(hint_losses(predicted, expected, np.ones(len(clips), np.float32)))
    # Predicting zeros would give an error of 1.
    assert error.mean() < 0.6
    assert not np.asarray(hint_losses(predicted, expected, np.zeros(len(clips), np.float32))).any()
