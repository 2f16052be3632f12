"""Muon for the kernels of convolutions, AdamW for everything else.

Muon (Jordan and others, 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of
a weight matrix by the nearest orthogonal matrix, found by a few Newton-Schulz steps, so that all
directions of the matrix learn at the same pace. The step is scaled to the root mean square of
AdamW's (Liu and others, 2025, arXiv:2502.16982), so that rate and weight decay mean the same.
"""

from __future__ import annotations

import math
from typing import Any

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration, as published."""
_ITERATIONS = 5
_MOMENTUM = 0.95
_LIKE_ADAM = 0.2
"""Root mean square of AdamW's steps, of which this is to have the same."""


def orthogonal(matrix: Any) -> Any:
    """The nearest orthogonal matrix, nearly: singular values between about 0.7 and 1.2.

    Args:
        matrix: A tensor ``[m, n]``.
    """
    import tensorflow as tf

    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = tf.transpose(matrix) if tall else matrix
    x /= tf.norm(x) + 1e-7
    for _ in range(_ITERATIONS):
        square = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * square + c * tf.matmul(square, square), x)
    return tf.transpose(x) if tall else x


def muon() -> Any:
    """The optimiser's class, a ``keras.optimizers.AdamW``."""
    import keras
    import tensorflow as tf

    class Muon(keras.optimizers.AdamW):  # type: ignore[misc]
        """AdamW but for kernels of four axes."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """Move one variable."""
            if len(variable.shape) != 4:
                super().update_step(gradient, variable, learning_rate)
                return
            # Of Adam's two means the first serves as momentum, the second stays unused.
            momentum = self._momentums[self._get_variable_index(variable)]
            moved = tf.convert_to_tensor(momentum) * _MOMENTUM + gradient
            self.assign(momentum, moved)
            rows, columns = math.prod(variable.shape[:3]), variable.shape[3]
            step = orthogonal(tf.reshape(gradient + _MOMENTUM * moved, (rows, columns)))
            scale = _LIKE_ADAM * max(rows, columns) ** 0.5
            self.assign_sub(variable, learning_rate * scale * tf.reshape(step, variable.shape))

    return Muon
