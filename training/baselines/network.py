"""Training a Keras network as these authors do: ``fit`` with an optimiser's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.baselines.system import Fitted
from training.train import set_up_tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.baselines.system import Labels, Numbers

_POINTS = 100
"""Epochs of a long training that its curves keep."""


def fit_network(
    build: Callable[[], Any],
    x: Numbers,
    y: Labels,
    *,
    watched: tuple[Numbers, Labels],
    seed: int,
    epochs: int,
    batch: int,
    optimiser: str,
    keep_best: bool = False,
    precision: str = "float32",
) -> Fitted:
    """Train a network with a soft-max at its end.

    Args:
        build: Makes it; called once everything is seeded.
        x: Features.
        y: Labels.
        watched: Features and labels of which loss and accuracy are taken after each epoch.
        seed: Of everything random.
        epochs: Passes over the clips.
        batch: Clips in a batch.
        optimiser: Its Keras name; the learning rate is its default.
        keep_best: Keep the weights of the epoch with the lowest watched loss, not the last ones.
        precision: Of the arithmetic: ``float32``, or ``mixed_bfloat16`` (weights stay float32).
    """
    set_up_tensorflow(seed, threads=1)
    import keras

    keras.mixed_precision.set_global_policy(precision)
    try:
        model = build()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.compile(
        optimiser,
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # XLA is half as fast here; many steps in one call save most of Python's share.
        jit_compile=False,
        steps_per_execution=min(16, -(-len(x) // batch)),
    )
    best = _Best() if keep_best else None
    history = model.fit(
        x,
        y,
        validation_data=watched if len(watched[1]) else None,
        epochs=epochs,
        batch_size=batch,
        verbose=0,
        callbacks=[best.callback()] if best else [],
    ).history
    if best is not None and best.weights is not None:
        model.set_weights(best.weights)
    step = max(1, -(-epochs // _POINTS))

    def predict(some: Numbers) -> Labels:
        parts = [
            np.asarray(model(some[first : first + 64], training=False)).argmax(axis=1)
            for first in range(0, len(some), 64)
        ]
        return np.concatenate(parts)

    return Fitted(
        predict=predict,
        curves={
            name: [round(float(value), 4) for value in values[step - 1 :: step]]
            for name, values in history.items()
        },
    )


class _Best:
    """Remembers the weights of the epoch with the lowest watched loss."""

    def __init__(self) -> None:
        self.weights: list[Any] | None = None
        self._loss = np.inf

    def callback(self) -> Any:
        import keras

        def ended(_epoch: int, logs: dict[str, float]) -> None:
            if logs["val_loss"] < self._loss:
                self._loss, self.weights = logs["val_loss"], hook.model.get_weights()

        hook = keras.callbacks.LambdaCallback(on_epoch_end=ended)
        return hook
