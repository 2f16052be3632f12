"""Starting from a packed model: the float network gives the outputs of the packed one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from serd.audio.file import read_mono16k
from serd.errors import UsageError
from serd.model.interpreter import Interpreter
from serd.model.metadata import FeatureParameters, ModelInfo
from serd.model.mfcc import MfccFrontEnd
from serd.model.model_file import pack
from training.network import (
    interpolated,
    load_start_model,
    own_soft_targets,
    sizes_of,
    start_weights,
)
from training.recipe import load_recipe
from training.recipe.network import Network
from training.recipe.stages import Start

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

SAMPLE = Path(__file__).parents[2] / "serd" / "audio" / "data" / "sample.ogg"


def test_the_float_network_matches_the_packed_model() -> None:
    from training.network import build_network
    from training.train import logits_of, set_up_tensorflow

    set_up_tensorflow(seed=1, threads=1)
    model = load_start_model("default-1.4")
    samples = read_mono16k(SAMPLE)
    front_end = MfccFrontEnd(model.info.features)
    pieces = [samples[first : first + 48_000] for first in range(0, len(samples) - 48_000, 16_000)]
    features = np.stack([front_end.features(piece) for piece in pieces])
    weights = start_weights(model, Network(), features)
    network = build_network(Network(), model.info.features, len(model.labels))
    network.set_weights(weights)
    float_logits = logits_of(network, features)
    interpreter = Interpreter(model)
    packed_logits = np.stack([interpreter.run(one) for one in features])
    # The difference is int8 rounding: a few steps of the output.
    assert np.abs(float_logits - packed_logits).mean() < 0.15
    assert (float_logits.argmax(axis=1) == packed_logits.argmax(axis=1)).mean() > 0.9
    # The batch statistics are those of these examples, so training starts with the same outputs.
    trained = np.asarray(network(features, training=True))
    dropped = np.abs(trained - float_logits).mean()
    assert dropped < 0.6 * np.abs(float_logits).mean() + 0.5
    with pytest.raises(UsageError, match="other sizes"):
        start_weights(model, Network(stem=8, widths=(16, 24)), features)


def test_a_deeper_network_is_read_layer_by_layer(tmp_path: Path) -> None:
    from training.network import build_network
    from training.quantise import convert
    from training.train import logits_of, set_up_tensorflow

    set_up_tensorflow(seed=1, threads=1)
    # Widths that occur twice, as a stem, or as the number of mel bands tell no layer from another.
    sizes = Network(stem=8, widths=(8, 64, 64), depth=2)
    bare = FeatureParameters(mean=(0.0,) * 64, sd=(1.0,) * 64)
    network = build_network(sizes, bare, 3)
    examples = np.random.default_rng(1).normal(size=(24, 188, 64)).astype(np.float32)
    packed = convert(network.get_weights(), sizes, bare, 3, examples)
    file = tmp_path / "deep.tflite"
    labels = ("neutral", "happy", "sad")
    file.write_bytes(pack(packed, labels, ModelInfo(name="deep", version="1", features=bare)))
    model = load_start_model(str(file))
    assert sizes_of(model) == sizes
    again = build_network(sizes, bare, 3)
    again.set_weights(start_weights(model, sizes, examples))
    before, after = logits_of(network, examples), logits_of(again, examples)
    assert np.abs(after - before).mean() < 0.1 * before.std()
    with pytest.raises(UsageError, match="widths and depth"):
        start_weights(model, msgspec.structs.replace(sizes, depth=1), examples)


def test_only_correct_predictions_become_soft_targets() -> None:
    logits = np.array([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]], dtype=np.float32)
    targets = own_soft_targets(logits, np.array([0, 1, -1]), 1.0)
    assert targets[0].sum() == pytest.approx(1.0)
    assert not targets[1].any()
    assert not targets[2].any()


def test_weights_are_interpolated_by_the_share_that_is_kept() -> None:
    shapes = ((1, 1, 4, 4), (4,), (5, 5, 1, 3), (3,), (3,), (6, 2), (2,))
    before = [np.zeros(shape, np.float32) for shape in shapes]
    after = [np.ones(shape, np.float32) for shape in shapes]
    mixed = interpolated(before, after, (0.3, 0.0, 1.0))
    for weight, expected in zip(mixed, (0.7, 0.7, 1.0, 1.0, 1.0, 0.0, 0.0), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6)


def test_a_recipe_keeps_one_share_or_one_for_each_layer(tmp_path: Path) -> None:
    sizes = Network(stem=4, widths=(4, 6))
    assert Start(model="x", keep=0.3).shares(sizes.layers) == (0.3,) * 5
    by_layer = Start(model="x", keep=(0.1, 0.2, 0.3, 0.4, 0.5))
    assert by_layer.shares(sizes.layers) == (0.1, 0.2, 0.3, 0.4, 0.5)
    with pytest.raises(UsageError, match="5 numbers for a network of 6 layers"):
        by_layer.shares(6)
    assert Start(model="x", keep=1.0).keeps_all
    assert Start(model="x", keep=(1.0, 1.0)).keeps_all
    assert not Start(model="x", keep=(1.0, 0.9)).keeps_all
    for name in ("default", "permissive"):
        recipe = load_recipe(name)
        assert recipe.start is not None
        assert len(recipe.start.shares(recipe.network.layers)) == recipe.network.layers
