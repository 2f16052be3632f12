"""The network: a linear map back to mel bands, then a plain stack of convolutions.

MFCCs are what the daemon computes, but a convolution over frequency needs neighbouring bands side
by side. So the first layer is a 1 x 1 convolution over the coefficients, initialised as the inverse
cosine transform (with the normalisation of the features undone) and trained with the rest.
Every layer has a built-in int8 kernel in TFLite; batch normalisation is folded away.

Training may start from a packed model instead of random weights. A model file holds int8 weights
with batch normalisation folded into them. :func:`start_weights` makes them float again and restores
the normalisation: each channel's mean and variance are measured on training clips, and scale and
offset are set so that the network computes what the packed one does. The speakers that the packed
model was trained on stay out of the test set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from serd.errors import UsageError
from serd.model.mfcc import cosine_matrix
from serd.model.model_file import ModelFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from serd.model.metadata import FeatureParameters
    from training.recipe.network import Network

Model: TypeAlias = Any
"""A ``keras.Model``; Keras is untyped."""

TRANSFORM = "transform"
"""Name of the first layer."""
POOLED = "pooled"
"""Name of the layer pooled over time and frequency, ``[batch, channels]``."""


def build_network(
    settings: Network, features: FeatureParameters, classes: int, *, batch: int | None = None
) -> Model:
    """The untrained network, ``[batch, frames, coefficients]`` to logits ``[batch, classes]``.

    Args:
        settings: Its sizes.
        features: Of its input; mean and sd go into the first layer.
        classes: Number of outputs.
        batch: Fixed batch size (for conversion), or None for any.
    """
    import keras

    layers = keras.layers
    inputs = layers.Input((features.frames, features.coefficients), batch_size=batch)
    x = layers.Reshape((features.frames, 1, features.coefficients))(inputs)
    x = layers.Conv2D(features.mel_bands, 1, name=TRANSFORM)(x)
    x = layers.Reshape((features.frames, features.mel_bands, 1))(x)
    x = _convolution(x, settings.stem, 5, strides=2)
    for width in settings.widths:
        x = layers.MaxPooling2D(2)(x)
        for _ in range(settings.depth):
            x = _convolution(x, width, 3)
    _, frames, bands, _ = x.shape
    # Averaging over frequency, then mean and maximum over time. The pools have a fixed size,
    # because every TFLite runtime supports those in int8.
    x = layers.AveragePooling2D((1, bands))(x)
    x = layers.Concatenate()(
        [layers.AveragePooling2D((frames, 1))(x), layers.MaxPooling2D((frames, 1))(x)]
    )
    x = layers.Flatten(name=POOLED)(x)
    x = layers.Dropout(settings.dropout)(x)
    outputs = layers.Dense(classes, dtype="float32", name="logits")(x)
    model = keras.Model(inputs, outputs, name="serd")
    model.get_layer(TRANSFORM).set_weights(inverse_transform(features))
    return model


def inverse_transform(features: FeatureParameters) -> list[NDArray[np.float32]]:
    """Kernel and bias that turn normalised MFCCs into normalised log-mel.

    MFCC = log-mel @ D, and D is orthonormal, so log-mel = MFCC @ D^T. The result has mean 0
    in each band and a standard deviation of 1 over all bands (one value for all, because the
    differences between bands carry information).

    Returns:
        ``[1, 1, coefficients, mel_bands]`` and ``[mel_bands]``.
    """
    cosine = cosine_matrix(features.mel_bands, features.coefficients).astype(np.float64)
    sd = np.array(features.sd or (1.0,) * features.coefficients)
    scale = np.sqrt(np.square(sd).sum() / features.mel_bands)
    kernel = (cosine * sd).T / scale
    return [
        kernel[np.newaxis, np.newaxis].astype(np.float32),
        np.zeros(features.mel_bands, dtype=np.float32),
    ]


def _convolution(x: Any, channels: int, size: int, *, strides: int = 1) -> Any:
    from keras import layers

    x = layers.Conv2D(channels, size, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3)(x)
    return layers.ReLU()(x)


_FOLDER = Path(__file__).parent / "starts"
_EPSILON = 1e-3
"""Of batch normalisation, as in :mod:`training.network`."""


def load_start_model(name_or_path: str) -> ModelFile:
    """The model to start from.

    Args:
        name_or_path: A packed model, or the name of one in ``training/starts`` without its ending.

    Raises:
        ModelError: There is no such model.
    """
    beside = _FOLDER / f"{name_or_path}.tflite"
    return ModelFile.load(beside if beside.is_file() else name_or_path)


def start_weights(
    model: ModelFile, settings: Network, examples: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Weights of :func:`build_network` that reproduce a packed model.

    Args:
        model: The packed model.
        settings: Sizes of the network, the same as those of the model.
        examples: Features ``[clips, frames, coefficients]`` to measure means and variances on.

    Returns:
        For ``set_weights``.

    Raises:
        UsageError: The model's network has other sizes.
    """
    import keras

    network = build_network(settings, model.info.features, len(model.labels))
    packed = _packed_layers(model)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    normalisations = [
        layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    plain = [layer for layer in convolutions if layer.name != TRANSFORM]
    layers = [*convolutions, network.get_layer("logits")]
    if [tuple(layer.kernel.shape) for layer in layers] != [one.kernel.shape for one in packed]:
        raise UsageError(
            f"{model.source} has a network of other sizes than the recipe's",
            remedy="begin with a model of the same stem, widths and depth",
        )
    for layer, one in zip(layers, packed, strict=True):
        layer.set_weights([one.kernel] if layer in plain else [one.kernel, one.bias])
    biases = [one.bias for layer, one in zip(layers, packed, strict=True) if layer in plain]
    for layer, bias in zip(normalisations, biases, strict=True):
        ones = np.ones_like(bias)
        layer.set_weights([ones, bias, 0.0 * ones, (1.0 - _EPSILON) * ones])
    probe = keras.Model(network.inputs[0], [layer.output for layer in plain])
    sums: list[list[Any]] = [[] for _ in plain]
    for first in range(0, len(examples), 32):
        for place, output in enumerate(probe(examples[first : first + 32], training=False)):
            values = np.asarray(output).reshape(-1, output.shape[-1]).astype(np.float64)
            sums[place].append((len(values), values.sum(axis=0), np.square(values).sum(axis=0)))
    for layer, bias, parts in zip(normalisations, biases, sums, strict=True):
        count = sum(part[0] for part in parts)
        mean = sum(part[1] for part in parts) / count
        variance = np.maximum(sum(part[2] for part in parts) / count - mean * mean, 1e-6)
        layer.set_weights([np.sqrt(variance + _EPSILON), bias + mean, mean, variance])
    return [np.asarray(weight) for weight in network.get_weights()]


def sizes_of(model: ModelFile) -> Network:
    """Sizes of a packed model's network, with the default dropout.

    Raises:
        UsageError: It is not a network of this kind.
    """
    from training.recipe.network import Network as Sizes

    packed = _packed_layers(model)
    kernels = [one.kernel.shape for one in packed]
    widths = [one.kernel.shape[-1] for one in packed if one.pooled]
    depth = (len(packed) - 3) // max(1, len(widths))
    stem = kernels[1][-1] if len(kernels) > 1 else 0
    expected = [(5, 5, 1, stem)]
    for width in widths:
        expected.append((3, 3, expected[-1][-1], width))
        expected += [(3, 3, width, width)] * (depth - 1)
    if kernels[1:-1] != expected or len(kernels[-1]) != 2:
        raise UsageError(
            f"{model.source} has a network of another kind than serd's, so it cannot be trained on",
            remedy="begin with default, permissive, or a model that serd-train made",
        )
    return Sizes(stem=stem, widths=tuple(widths), depth=depth)


class _PackedLayer(NamedTuple):
    """A layer of a packed network, as float and as Keras orders its axes."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    pooled: bool
    """Whether a max-pool comes before it."""


def _packed_layers(model: ModelFile) -> list[_PackedLayer]:
    """The layers with weights, from the input to the output."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model.network)
    interpreter.allocate_tensors()
    details = {one["index"]: one for one in interpreter.get_tensor_details()}

    def weights(tensor: int) -> NDArray[np.float32]:
        values = interpreter.get_tensor(tensor).astype(np.float32)
        scales = details[tensor]["quantization_parameters"]["scales"]
        return np.asarray(values * scales.reshape(-1, *(1,) * (values.ndim - 1)))

    layers, pooled = [], False
    # The operators in their order; the interpreter has no public list of them.
    for operator in interpreter._get_ops_details():  # noqa: SLF001
        if operator["op_name"] in ("CONV_2D", "FULLY_CONNECTED"):
            _, kernel, bias = operator["inputs"]
            # Channels of the output come first in TFLite, last in Keras.
            turned = np.moveaxis(weights(kernel), 0, -1)
            # The converter drops a bias of zeros.
            offset = weights(bias) if bias >= 0 else np.zeros(turned.shape[-1], np.float32)
            after_pool = pooled and turned.ndim == 4
            layers.append(_PackedLayer(kernel=turned, bias=offset, pooled=after_pool))
            pooled = False
        elif operator["op_name"] == "MAX_POOL_2D":
            pooled = True
    return layers


def own_soft_targets(
    answers: NDArray[np.float32], truths: NDArray[np.int64], temperature: float
) -> NDArray[np.float32]:
    """Soft targets from the start model: its own probabilities where they are right.

    Args:
        answers: Logits ``[clips, classes]`` before training.
        truths: The class of each clip, -1 for none.
        temperature: Of the model.

    Returns:
        Probabilities ``[clips, classes]``; a row of zeros where the model is wrong.
    """
    from training.evaluate import metrics

    right = answers.argmax(axis=1) == truths
    return np.asarray(
        metrics.softmax(answers, temperature) * right[:, np.newaxis], dtype=np.float32
    )


def interpolated(
    before: Sequence[NDArray[np.float32]],
    after: Sequence[NDArray[np.float32]],
    keep: Sequence[float],
) -> list[NDArray[np.float32]]:
    """Weights interpolated between those before and those after training, layer by layer.

    The interpolated network is more robust on recordings unlike the last training data, and loses
    little of what it learned (Wortsman et al., 2022, arXiv:2109.01903).

    Args:
        before: Weights before training, from ``model.get_weights()``.
        after: Weights after training.
        keep: For each layer the share of the former, 0..1. A layer begins with its kernel; batch
            normalisation belongs to the convolution before it.
    """
    layers = np.cumsum([weight.ndim > 1 for weight in before]) - 1
    return [
        (keep[layer] * old + (1.0 - keep[layer]) * new).astype(np.float32)
        for layer, old, new in zip(layers, before, after, strict=True)
    ]
