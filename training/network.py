"""The network: a linear map back to mel bands, then a plain stack of convolutions.

MFCCs are what the daemon computes, but a convolution over frequency wants neighbouring bands side
by side. So the first layer is a 1 x 1 convolution over the coefficients that begins as the inverse
cosine transform (with the normalisation of the features undone) and is trained with the rest.
Everything in it has a built-in int8 kernel in TFLite; batch normalisation is folded away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from serd.model.mel import cosine_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serd.model.features import FeatureParameters
    from training.recipe import Network

Model: TypeAlias = Any
"""A ``keras.Model``; Keras has no types."""

TRANSFORM = "transform"
"""Name of the first layer."""
POOLED = "pooled"
"""Name of the layer that holds what was pooled over time and frequency, ``[batch, channels]``."""


def build_network(
    settings: Network, features: FeatureParameters, classes: int, *, batch: int | None = None
) -> Model:
    """The untrained network, ``[batch, frames, coefficients]`` to logits ``[batch, classes]``.

    Args:
        settings: Its sizes.
        features: Of its input; mean and sd go into the first layer.
        classes: How many.
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
        x = _convolution(x, width, 3)
    _, frames, bands, _ = x.shape
    # Averaging over frequency first and pooling over time in two ways: what is said all along,
    # and what is said once. Pools of fixed size, because every TFLite runtime has them in int8.
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
    """Kernel and bias that make normalised log-mel of normalised MFCCs.

    MFCC = log-mel @ D, and D is orthonormal, so log-mel = MFCC @ D^T. What comes out has mean 0 in
    each band and a standard deviation of 1 over all bands (one figure for all: the differences
    between bands say something).

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
