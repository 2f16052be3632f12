"""Small real networks, converted by TensorFlow: ``python -m tests.networks FOLDER``.

Runs as a separate process because TensorFlow uses hundreds of megabytes, writes to stderr and warns
about its own deprecations. The weights are random but scaled so that different voices get different
predictions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from serd.model.metadata import FeatureParameters
from serd.model.mfcc import MfccFrontEnd
from tests.model.signals import voice


def _examples() -> tuple[FeatureParameters, Any]:
    """Default feature parameters, normalised over a few voices, and those voices' features."""
    rng = np.random.default_rng(0)
    plain = MfccFrontEnd(FeatureParameters())
    voices = [
        voice(0.6 + 0.3 * seed, seed) + np.float32(0.01 * seed) * rng.standard_normal(1, np.float32)
        for seed in range(8)
    ]
    raw = np.stack([plain.features(samples) for samples in voices])
    params = FeatureParameters(
        mean=tuple(raw.mean((0, 1)).round(3).tolist()),
        sd=tuple((raw.std((0, 1)) + 1.0).round(3).tolist()),
    )
    front_end = MfccFrontEnd(params)
    return params, np.stack([front_end.features(samples) for samples in voices])


def _network(examples: Any, classes: int, *, softmax: bool = False) -> Any:
    import keras

    keras.utils.set_random_seed(classes)
    layers = keras.layers
    scores = layers.Dense(classes)
    given = keras.Input(examples.shape[1:], batch_size=1)
    hidden = layers.Reshape((*examples.shape[1:], 1))(given)
    hidden = layers.Conv2D(8, 5, strides=4, activation="relu")(hidden)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    logits = scores(hidden)
    plain = keras.Model(given, logits)
    spread = np.concatenate([np.asarray(plain(example[np.newaxis])) for example in examples])
    kernel, _ = scores.get_weights()
    kernel *= 3.0 / spread.std(0)
    scores.set_weights([kernel, -spread.mean(0) * 3.0 / spread.std(0)])
    return keras.Model(given, layers.Softmax()(logits)) if softmax else plain


def _two_inputs(examples: Any) -> Any:
    import keras

    shape = examples.shape[1:]
    first, second = keras.Input(shape, batch_size=1), keras.Input(shape, batch_size=1)
    both = keras.layers.Add()([first, second])
    return keras.Model(
        [first, second], keras.layers.Dense(8)(keras.layers.GlobalAveragePooling1D()(both))
    )


def _convert(network: Any, examples: Any, kind: str = "int8") -> bytes:
    import tensorflow as tf

    def representative() -> Any:
        for example in examples:
            yield [example[np.newaxis]] * len(network.inputs)

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    content: bytes = converter.convert()
    return content


def main(folder: Path) -> None:
    """Write the networks, and the feature parameters of those meant for serd."""
    params, examples = _examples()
    (folder / "features.json").write_bytes(msgspec.json.encode(params))
    pictures = np.random.default_rng(1).standard_normal((4, 32, 24)).astype(np.float32)
    eight = _network(examples, 8)
    networks = {
        "eight": _convert(eight, examples),
        "six": _convert(_network(examples, 6), examples),
        "softmax": _convert(_network(examples, 8, softmax=True), examples),
        "float32": _convert(eight, examples, "float32"),
        "uint8": _convert(eight, examples, "uint8"),
        "pictures": _convert(_network(pictures, 10), pictures),
        "two-inputs": _convert(_two_inputs(examples), examples),
    }
    for name, content in networks.items():
        (folder / f"{name}.tflite").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
