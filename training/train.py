"""The training loop: AdamW or Muon under a one-cycle rate, averaged weights, and checkpoints.

TensorFlow computes on one thread by default: two runs side by side get more done than one run on
two cores, and the same seed on the same machine then gives the same weights.

Muon (Jordan and others, 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of
a weight matrix by the nearest orthogonal matrix, found by a few Newton-Schulz steps, so that all
directions of the matrix learn at the same pace. It is used for the kernels of convolutions, AdamW
for everything else. Its step is scaled to the root mean square of AdamW's (Liu and others, 2025,
arXiv:2502.16982), so that learning rate and weight decay keep their meaning.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from training.batches import Batches, clean_features
from training.files import read_arrays, write_whole
from training.network import TRANSFORM, build_network, own_soft_targets
from training.teach import HintPredictor, hint_losses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.model.metadata import FeatureParameters
    from training.augment import Power
    from training.batches import Batch
    from training.network import Model
    from training.prepare import Prepared
    from training.recipe import Recipe
    from training.recipe.stages import Start
    from training.recipe.teaching import Teaching

CHECKPOINT_EVERY = 500
"""Steps between two checkpoints."""
VALIDATE_EVERY = 250
"""Steps between two validations, for the curves."""


class Trainer:
    """One training run, resumable.

    Args:
        recipe: The training.
        features: Front end with the measured mean and sd.
        training: Clips of the training speakers.
        validation: Clips of the validation speakers, for the curves only.
        folder: The run's folder; training resumes from a checkpoint there.
        threads: Of TensorFlow.
        soft_targets: A teacher's class probabilities by the id of the clip.
        hints: Likewise ``[copies, components]``; used if the recipe's teaching has hints.
        sounds: Mel power of sounds without speech.
        start: Initial weights instead of random ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        features: FeatureParameters,
        training: Sequence[Prepared],
        validation: Sequence[Prepared],
        folder: Path,
        *,
        threads: int = 1,
        soft_targets: Mapping[str, NDArray[np.float32]] | None = None,
        hints: Mapping[str, NDArray[np.float16]] | None = None,
        sounds: Sequence[Power] = (),
        start: Sequence[NDArray[np.float32]] = (),
    ) -> None:
        set_up_tensorflow(recipe.seed, threads)
        import keras

        keras.mixed_precision.set_global_policy(recipe.optimiser.precision)
        try:
            self._model = build_network(recipe.network, features, len(recipe.classes))
        finally:
            keras.mixed_precision.set_global_policy("float32")
        if start:
            self._model.set_weights(list(start))
            freeze(self._model, recipe.start.frozen if recipe.start is not None else 0)
        self._recipe = recipe
        self._folder = folder
        self._batches = Batches(
            training, recipe, features, soft_targets=soft_targets, hints=hints, sounds=sounds
        )
        self._validation = clean_features(validation, features) if validation else None
        self._truth = np.array(
            [recipe.classes.index(one.clip.emotion) for one in validation], dtype=np.int64
        )
        settings = recipe.optimiser
        first = self._model.get_layer(TRANSFORM).trainable_variables
        names = {id(variable) for variable in first}
        others = [v for v in self._model.trainable_variables if id(v) not in names]
        groups = [
            (
                (keras.optimizers.AdamW if settings.method == "adamw" else muon())(
                    weight_decay=settings.weight_decay
                ),
                others,
                1.0,
            ),
            (keras.optimizers.Adam(), first, settings.transform_rate),
        ]
        # A frozen transform leaves nothing for the second one.
        self._optimisers = [group for group in groups if group[1]]
        self._optimisers[0][0].exclude_from_weight_decay(
            var_list=[variable for variable in others if "kernel" not in variable.path]
        )
        uses_hints = recipe.teaching is not None and recipe.teaching.hints is not None
        self._hint_predictor = (
            HintPredictor(self._model, self._batches.components) if uses_hints and hints else None
        )
        if self._hint_predictor is not None:
            self._optimisers.append((keras.optimizers.Adam(), self._hint_predictor.variables, 1.0))
        for optimiser, variables, _ in self._optimisers:
            optimiser.build(variables)
        self._mean = [np.array(weight) for weight in self._model.get_weights()]
        self._step_function = _compiled_step(
            self._model, self._optimisers, recipe, self._hint_predictor
        )
        self.curves: list[dict[str, float]] = []
        """Loss and validation accuracy along the run."""
        self.step = 0
        """Steps done."""

    def run(self, progress: Callable[[int, dict[str, float]], None] = lambda *_: None) -> Model:
        """Train to the last step of the recipe.

        Args:
            progress: Called after each validation with the steps done and the newest figures.

        Returns:
            The model with the running mean of its weights.
        """
        settings = self._recipe.optimiser
        self._resume()
        losses: list[float] = []
        decay = settings.averaging
        for batch in self._batches.from_step(self.step, settings.steps):
            rate = one_cycle(self.step, settings.steps, settings.peak_rate, settings.warm_up)
            for optimiser, _, share in self._optimisers:
                optimiser.learning_rate.assign(rate * share)
            losses.append(float(self._step_function(batch)))
            self.step += 1
            # Early on the mean would mostly consist of the random initial weights.
            early = min(decay, (1.0 + self.step) / (10.0 + self.step))
            self._mean = [
                mean + (1.0 - early) * (weight.numpy() - mean)
                for mean, weight in zip(self._mean, self._model.weights, strict=True)
            ]
            last = self.step == settings.steps
            if self.step % VALIDATE_EVERY == 0 or last:
                figures = {"step": self.step, "loss": float(np.mean(losses)), "rate": rate}
                figures |= self._validate()
                self.curves.append(figures)
                losses = []
                progress(self.step, figures)
            if self.step % CHECKPOINT_EVERY == 0 or last:
                self._save()
        self._model.set_weights(self._mean)
        return self._model

    def _validate(self) -> dict[str, float]:
        if self._validation is None:
            return {}
        present = self._model.get_weights()
        self._model.set_weights(self._mean)
        logits = logits_of(self._model, self._validation)
        self._model.set_weights(present)
        right = logits.argmax(axis=1) == self._truth
        recalls = [right[self._truth == label].mean() for label in np.unique(self._truth)]
        return {
            "validation_accuracy": float(right.mean()),
            "validation_uar": float(np.mean(recalls)),
        }

    def _save(self) -> None:
        arrays = {f"model{i}": np.asarray(v) for i, v in enumerate(self._model.variables)}
        arrays |= {f"mean{i}": mean for i, mean in enumerate(self._mean)}
        for number, (optimiser, _, _) in enumerate(self._optimisers):
            arrays |= {
                f"optimiser{number}_{i}": np.asarray(v) for i, v in enumerate(optimiser.variables)
            }
        if self._hint_predictor is not None:
            arrays |= {
                f"guess{i}": np.asarray(v) for i, v in enumerate(self._hint_predictor.variables)
            }
        arrays["step"] = np.array(self.step)
        arrays["curves"] = np.frombuffer(json.dumps(self.curves).encode(), dtype=np.uint8)
        write_whole(
            self._folder / "checkpoint.npz",
            lambda file: np.savez(file, allow_pickle=False, **arrays),
        )

    def _resume(self) -> None:
        file = self._folder / "checkpoint.npz"
        if not file.is_file():
            return
        kept = read_arrays(file)
        for i, variable in enumerate(self._model.variables):
            variable.assign(kept[f"model{i}"])
        for number, (optimiser, _, _) in enumerate(self._optimisers):
            for i, variable in enumerate(optimiser.variables):
                variable.assign(kept[f"optimiser{number}_{i}"])
        for i, variable in enumerate(
            self._hint_predictor.variables if self._hint_predictor is not None else ()
        ):
            variable.assign(kept[f"guess{i}"])
        self._mean = [kept[f"mean{i}"].copy() for i in range(len(self._mean))]
        self.curves = json.loads(kept["curves"].tobytes())
        self.step = int(kept["step"])


def set_up_tensorflow(seed: int, threads: int) -> None:
    """Import TensorFlow quietly, seed it, and limit its threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with quiet_native_code():
        import keras
        import tensorflow as tf
    # Once TensorFlow has computed in this process, its threads cannot be changed.
    with contextlib.suppress(RuntimeError), quiet_native_code():
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(seed)


def one_cycle(step: int, steps: int, peak: float, warm_up: float) -> float:
    """Learning rate: linearly up from a twentieth of the peak, then a cosine down to a 4000th."""
    rising = max(1, round(steps * warm_up))
    if step < rising:
        return peak * (0.05 + 0.95 * step / rising)
    place = (step - rising) / max(1, steps - rising)
    floor = 1.0 / 4000.0
    return peak * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * place)))


def freeze(model: Model, count: int) -> None:
    """Exclude the first layers from training, and normalise their outputs as before it.

    Args:
        model: The network.
        count: Number of layers with kernels, from the input on; batch normalisation belongs to the
            convolution before it.
    """
    kernels = 0
    for layer in model.layers:
        kernels += hasattr(layer, "kernel")
        if layer.weights and kernels <= count:
            layer.trainable = False


def logits_of(
    model: Model, features: NDArray[np.float32], *, batch: int = 64
) -> NDArray[np.float32]:
    """Logits ``[clips, classes]`` of features ``[clips, frames, coefficients]``."""
    parts = [
        np.asarray(model(features[first : first + batch], training=False))
        for first in range(0, len(features), batch)
    ]
    return np.concatenate(parts)


def _compiled_step(
    model: Model,
    optimisers: list[tuple[Any, Any, float]],
    recipe: Recipe,
    hint_predictor: HintPredictor | None,
) -> Any:
    import tensorflow as tf

    settings, teaching, distillation = recipe.optimiser, recipe.teaching, recipe.distillation
    variables = [variable for _, group, _ in optimisers for variable in group]
    own = len(model.trainable_variables)
    weight = teaching.hints.weight if teaching is not None and teaching.hints is not None else 0.0

    @tf.function  # type: ignore[untyped-decorator]
    def step(batch: Batch) -> Any:
        features, targets, mask, soft_targets, hints, hint_mask = batch
        with tf.GradientTape() as tape:
            if hint_predictor is None:
                logits, hint_loss = model(features, training=True), 0.0
            else:
                logits, predicted = hint_predictor.model(features, training=True)
                hint_loss = weight * hint_losses(predicted, hints, hint_mask)
            losses = masked_losses(logits, targets, mask, settings.label_smoothing)
            if distillation is not None:
                losses = distillation_losses(losses, logits, mask, soft_targets, distillation)
            loss = tf.reduce_mean(losses + hint_loss)
        gradients = tape.gradient(loss, variables)
        # Only those of the network; the layer that predicts the hints is not clipped.
        clipped, _ = tf.clip_by_global_norm(gradients[:own], settings.clip_norm)
        gradients = [*clipped, *gradients[own:]]
        done = 0
        for optimiser, group, _ in optimisers:
            optimiser.apply(gradients[done : done + len(group)], group)
            done += len(group)
        return loss

    return step


def masked_losses(logits: Any, targets: Any, mask: Any, smoothing: float) -> Any:
    """Cross-entropies over the classes of the mask, with targets smoothed over the same classes.

    Args:
        logits: ``[batch, classes]``.
        targets: ``[batch, classes]``, 0 outside the mask.
        mask: ``[batch, classes]`` of 0 and 1.
        smoothing: Share of the target that is spread evenly.

    Returns:
        ``[batch]``.
    """
    import tensorflow as tf

    even = mask / tf.reduce_sum(mask, axis=1, keepdims=True)
    wanted = (1.0 - smoothing) * targets + smoothing * even
    masked = logits - 1e9 * (1.0 - mask)
    return tf.nn.softmax_cross_entropy_with_logits(labels=wanted, logits=masked)


def distillation_losses(
    losses: Any, logits: Any, mask: Any, soft_targets: Any, settings: Teaching | Start
) -> Any:
    """Losses of the labels and of the soft targets, weighted by the recipe.

    Args:
        losses: Of the labels, ``[batch]``.
        logits: ``[batch, classes]``.
        mask: ``[batch, classes]`` of 0 and 1.
        soft_targets: ``[batch, classes]``, at the temperature of ``settings``, 0 outside the mask;
            a row of zeros leaves a clip with its label alone.
        settings: Share, temperature and gain.

    Returns:
        ``[batch]``.
    """
    import tensorflow as tf

    share = settings.share * tf.reduce_sum(soft_targets, axis=1)
    masked = (logits - 1e9 * (1.0 - mask)) / settings.temperature
    soft = tf.nn.softmax_cross_entropy_with_logits(labels=soft_targets, logits=masked)
    return (1.0 - share) * losses + share * settings.gain * soft


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


# Native code announces, on file descriptor 2 and past every setting that Python could reach, which
# instructions it uses and how many operations it has counted.
_NATIVE_LOG = re.compile(
    rb"[IW]\d{4} \d\d:|\d{4}-\d\d-\d\d \S+ [IW] |WARNING: All log messages before absl|"
    rb"INFO: |To enable the following instructions|fully_quantize: "
)


@contextlib.contextmanager
def quiet_native_code() -> Iterator[None]:
    """Drop TensorFlow's native log lines from stderr; other output appears when the block ends."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            rest = b"".join(line for line in caught if not _NATIVE_LOG.match(line))
            os.write(2, rest)


def remembered_answers(
    recipe: Recipe,
    features: FeatureParameters,
    weights: Sequence[NDArray[np.float32]],
    temperature: float,
    training: Sequence[Prepared],
) -> dict[str, NDArray[np.float32]]:
    """Soft targets from the network that training starts from, for the corpora that it remembers.

    Args:
        recipe: One that has a ``start``.
        features: The network's front end.
        weights: The network's weights.
        temperature: Divides its logits.
        training: The training clips.

    Returns:
        ``float32[classes]`` by the id of a clip.
    """
    assert recipe.start is not None
    known = [one for one in training if one.clip.corpus in recipe.start.remembers]
    if not known:
        return {}
    set_up_tensorflow(recipe.seed, 1)
    network = build_network(recipe.network, features, len(recipe.classes))
    network.set_weights(list(weights))
    targets = own_soft_targets(
        logits_of(network, clean_features(known, features)),
        np.array([recipe.classes.index(one.clip.emotion) for one in known]),
        temperature,
    )
    return {one.clip.id: row for one, row in zip(known, targets, strict=True)}
