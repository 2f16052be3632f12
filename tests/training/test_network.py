from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from serd.model.features import FeatureParameters
from serd.model.mfcc import MfccFrontEnd
from tests.training.recipes import tiny_recipe
from training import train
from training.batches import measure_features
from training.network import TRANSFORM, build_network, inverse_transform
from training.prepare import prepare
from training.recipe import Network, Teaching
from training.train import Trainer, masked_losses, one_cycle, set_up_tensorflow, with_teacher

if TYPE_CHECKING:
    from pathlib import Path

    from training.prepare import Prepared

pytest.importorskip("tensorflow")


def test_the_first_layer_begins_as_the_way_back_to_mel_bands() -> None:
    random = np.random.default_rng(0)
    power = random.gamma(0.5, 1.0, size=(188, 64)).astype(np.float32)
    bare = FeatureParameters()
    plain = MfccFrontEnd(bare).finish_mel(power)
    features = FeatureParameters(
        mean=tuple(plain.mean(axis=0).tolist()), sd=tuple(plain.std(axis=0).tolist())
    )
    kernel, bias = inverse_transform(features)
    back = MfccFrontEnd(features).finish_mel(power) @ kernel[0, 0] + bias
    levels = 10 * np.log10(power / power.max()).clip(1e-7)
    levels = np.maximum(10 * np.log10(power / power.max()), -70.0)
    levels -= levels.mean(axis=0)
    np.testing.assert_allclose(back, levels / levels.std(), atol=1e-3)


def test_the_network_has_the_size_it_should_and_the_given_first_layer() -> None:
    set_up_tensorflow(seed=1, threads=1)
    features = FeatureParameters(mean=(1.0,) * 64, sd=(2.0,) * 64)
    model = build_network(Network(), features, 8)
    assert model.output_shape == (None, 8)
    assert 260_000 < model.count_params() < 280_000
    for got, wanted in zip(
        model.get_layer(TRANSFORM).get_weights(), inverse_transform(features), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


def test_a_class_that_is_not_heard_has_no_part_in_the_loss() -> None:
    set_up_tensorflow(seed=1, threads=1)
    targets = np.array([[1.0, 0.0, 0.0]], dtype=np.float32)
    heard = np.array([[1.0, 0.0, 1.0]], dtype=np.float32)
    losses = [
        float(masked_losses(np.array([[0.5, calm, 0.1]], dtype=np.float32), targets, heard, 0.1)[0])
        for calm in (-3.0, 0.0, 9.0)
    ]
    assert losses[0] == losses[1] == losses[2]
    logits = np.array([0.5, 0.1])
    likely = logits - np.log(np.exp(logits).sum())
    assert losses[0] == pytest.approx(-(0.95 * likely[0] + 0.05 * likely[1]), rel=1e-5)


def test_a_teacher_has_its_share_of_the_loss_and_none_where_it_says_nothing() -> None:
    set_up_tensorflow(seed=1, threads=1)
    teaching = Teaching(teacher="x", licence="x", share=0.6, temperature=2.0, gain=3.0)
    logits = np.array([[0.5, 9.0, -0.7], [0.5, 9.0, -0.7]], dtype=np.float32)
    heard = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], dtype=np.float32)
    taught = np.array([[0.8, 0.0, 0.2], [0.0, 0.0, 0.0]], dtype=np.float32)
    labels = np.array([2.0, 5.0], dtype=np.float32)
    losses = np.asarray(with_teacher(labels, logits, heard, taught, teaching))
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


def test_a_run_that_was_broken_off_ends_as_if_it_had_not_been(
    clips: list[Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(train, "WATCH_EVERY", 4)
    recipe = tiny_recipe(steps=10)
    features = measure_features(clips, recipe.features)
    weights = []
    for name in ("through", "broken off"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "broken off":

            def stop(step: int, _: dict[str, float]) -> None:
                # The checkpoint of this step is not yet written: two more are repeated.
                if step == 8:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                Trainer(recipe, features, clips, clips[:8], folder).run(stop)
        trainer = Trainer(recipe, features, clips, clips[:8], folder)
        weights.append(trainer.run().get_weights())
        assert trainer.step == 10
        assert [figures["step"] for figures in trainer.curves] == [4, 8, 10]
    for through, resumed in zip(*weights, strict=True):
        np.testing.assert_array_equal(resumed, through)


def test_training_learns(clips: list[Prepared], tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(tiny_recipe(steps=40))
    features = measure_features(clips, recipe.features)
    trainer = Trainer(recipe, features, clips, clips, tmp_path)
    trainer.run()
    assert trainer.curves[-1]["validation_accuracy"] > 0.5
