"""Hints: the pupil learns to tell what its teacher hears, and not only what the teacher concludes.

A teacher's answer is a handful of probabilities, what it hears in a clip some thousands of figures.
A pupil that has to tell these too, from what it pools before its last layer, did better on speakers
whom it never heard (docs/training.md). Nobody has to be held back for that: the encoder was never
told the labels. The idea is that of FitNets (Romero and others, 2014, arXiv:1412.6550); what tells
is thrown away after training, so that the network that ships is the same as without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.network import POOLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.network import Model
    from training.recipe import Hints

_FARTHEST = 4.0
"""Standard deviations beyond which a component is cut: a rare clip may not outshout the others."""
_ROUNDS = 4
"""Of the power iteration by which the components are found."""


def components(heard: Sequence[NDArray[np.float32]], settings: Hints) -> NDArray[np.float16]:
    """Principal components of what a teacher hears, each with a standard deviation of 1.

    Args:
        heard: Of each speed ``[clips, n]``; the components are those of the first.
        settings: How many components; fewer if there are fewer clips or figures.

    Returns:
        ``[clips, speeds, components]``.
    """
    import torch

    mean, sd = heard[0].mean(axis=0), heard[0].std(axis=0) + np.float32(1e-3)
    original = (heard[0] - mean) / sd
    count = min(settings.components, *original.shape)
    torch.manual_seed(0)
    spare = min(count + 16, *original.shape)
    _, _, directions = torch.pca_lowrank(
        torch.from_numpy(original), q=spare, center=False, niter=_ROUNDS
    )
    turned = directions[:, :count].numpy()
    scale = (original @ turned).std(axis=0) + np.float32(1e-6)
    found = [((copy - mean) / sd) @ turned / scale for copy in heard]
    return np.stack(found, axis=1).clip(-_FARTHEST, _FARTHEST).astype(np.float16)


class Guess:
    """A linear layer that tells the hints from what the pupil pools; only there in training.

    Args:
        model: The pupil.
        count: Components.
    """

    def __init__(self, model: Model, count: int) -> None:
        import keras

        pooled = model.get_layer(POOLED).output
        layer = keras.layers.Dense(count, dtype="float32", name="guess")
        self.model: Model = keras.Model(model.input, [model.output, layer(pooled)])
        """From features to logits and the guessed hints."""
        self.variables: list[Any] = layer.trainable_variables
        """Of the layer alone."""


def errors(guessed: Any, hints: Any, hinted: Any) -> Any:
    """Mean squared errors of the guessed hints.

    Args:
        guessed: ``[batch, components]``.
        hints: The same.
        hinted: ``[batch]``: 0 where there is no hint, else 1.

    Returns:
        ``[batch]``.
    """
    import tensorflow as tf

    return tf.reduce_mean(tf.square(guessed - hints), axis=1) * hinted
