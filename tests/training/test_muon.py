from __future__ import annotations

import numpy as np
import pytest

from training.train import muon, orthogonal, set_up_tensorflow

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow


@pytest.fixture(autouse=True, scope="module")
def _tensorflow() -> None:
    set_up_tensorflow(0, 1)


@pytest.mark.parametrize("shape", [(72, 16), (16, 72), (20, 20)])
def test_orthogonal_evens_out_singular_values_and_keeps_directions(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    # Singular values from 1 down to 0.01.
    steep = (u * np.geomspace(1.0, 0.01, len(values))) @ v
    result = np.asarray(orthogonal(steep.astype(np.float32)))
    assert result.shape == shape
    after = np.linalg.svd(result, compute_uv=False)
    assert after.max() < 1.3
    assert after.min() > 0.3
    # The directions are the same; only the singular values have changed.
    assert np.trace(u.T @ result @ v.T) / len(values) > 0.6


def test_kernel_steps_scale_with_the_learning_rate_and_biases_use_adam() -> None:
    import keras

    random = np.random.default_rng(1)
    kernel = keras.Variable(random.normal(size=(3, 3, 8, 16)).astype(np.float32))
    bias = keras.Variable(np.zeros(16, dtype=np.float32))
    optimiser = muon()(learning_rate=0.01, weight_decay=0.0)
    optimiser.build([kernel, bias])
    before = kernel.value.numpy().copy()
    gradients = [
        random.normal(size=variable.shape).astype(np.float32) * 1e-2 for variable in (kernel, bias)
    ]
    optimiser.apply([keras.ops.convert_to_tensor(one) for one in gradients], [kernel, bias])
    moved = kernel.value.numpy() - before
    # The root mean square of a step is 0.2 times the rate, however small the gradient.
    assert np.sqrt(np.square(moved).mean()) == pytest.approx(0.002, rel=0.25)
    assert (moved * gradients[0]).sum() < 0.0
    np.testing.assert_allclose(bias.value.numpy(), -0.01 * np.sign(gradients[1]), rtol=0.05)


def test_resuming_from_the_saved_state_changes_nothing() -> None:
    import keras

    gradients = [
        np.random.default_rng(n).normal(size=(3, 3, 4, 8)).astype(np.float32) for n in range(4)
    ]

    def run(interrupted: bool) -> np.ndarray:
        kernel = keras.Variable(np.ones((3, 3, 4, 8), dtype=np.float32))
        optimiser = muon()(learning_rate=0.01, weight_decay=0.01)
        optimiser.build([kernel])
        for number, gradient in enumerate(gradients):
            if interrupted and number == 2:
                saved = [variable.value.numpy() for variable in optimiser.variables]
                optimiser = muon()(learning_rate=0.01, weight_decay=0.01)
                optimiser.build([kernel])
                for variable, value in zip(optimiser.variables, saved, strict=True):
                    variable.assign(value)
            optimiser.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
        return np.asarray(kernel.value.numpy(), dtype=np.float32)

    np.testing.assert_array_equal(run(interrupted=False), run(interrupted=True))
