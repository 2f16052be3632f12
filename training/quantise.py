"""From a trained network to a full-integer TFLite flatbuffer."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np

from training.network import build_network
from training.train import quiet_native_code, set_up_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from serd.model.metadata import FeatureParameters
    from training.network import Model
    from training.prepare import Prepared
    from training.recipe.network import Network


def representative_clips(training: Sequence[Prepared], count: int) -> list[Prepared]:
    """Training clips for the ranges of the quantiser: as many from each corpus.

    Evenly spaced over each corpus, so that every speaker and class is included.

    Args:
        training: Clips of the training speakers only.
        count: Total number.
    """
    corpora = sorted({one.clip.corpus for one in training})
    chosen: list[Prepared] = []
    for name in corpora:
        inside = [one for one in training if one.clip.corpus == name]
        places = np.linspace(0, len(inside) - 1, min(len(inside), count // len(corpora)))
        chosen += [inside[round(place)] for place in places]
    return chosen


def convert(
    weights: Sequence[NDArray[np.float32]],
    settings: Network,
    features: FeatureParameters,
    classes: int,
    representative: NDArray[np.float32] | None,
) -> bytes:
    """Fold batch normalisation, fix the batch to 1, and convert.

    Args:
        weights: Of the trained network, from ``model.get_weights()``.
        settings: Its sizes.
        features: Of its input.
        classes: Of its output.
        representative: ``[clips, frames, coefficients]`` of training speakers, for full int8, also
            in and out; None: float32.

    Returns:
        The flatbuffer, without metadata.
    """
    set_up_tensorflow(seed=0, threads=1)
    import tensorflow as tf

    model: Model = build_network(settings, features, classes, batch=1)
    model.set_weights(list(weights))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if representative is not None:

        def examples() -> Iterator[list[NDArray[np.float32]]]:
            for one in representative:
                yield [one[np.newaxis]]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = examples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    with _quietly():
        return bytes(converter.convert())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the output of the converter."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            quiet_native_code(),
        ):
            # It warns about unused input statistics and about its own deprecation.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
