"""A published system as the runner sees it: facts, features, and a way to train it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path  # noqa: TC003 - the type of a struct's field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from serd.model.emotions import EMOTIONS
from training.prepare import CACHE
from training.train import set_up_tensorflow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.corpora import Clip

Numbers: TypeAlias = NDArray[Any]
"""Features of clips, a row for each; the shape of a row depends on the system."""
Labels: TypeAlias = NDArray[np.int64]
"""Indices into the system's ``emotions``."""
Predict: TypeAlias = Callable[[Numbers], Labels]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the author of a system published, and how it is rebuilt."""

    author: str
    year: int
    features: str
    """In a few words."""
    network: str
    """In a few words."""
    published: float | None = None
    """Accuracy on the author's test clips, 0..1; None where none was stated."""
    published_note: str = ""
    """What else was stated, or why nothing was."""
    seed: int = 1
    """Of the author's split; where none is known, 1."""
    test_share: float = 0.2
    emotions: tuple[str, ...] = EMOTIONS
    """The classes that it distinguishes; clips of others are left out."""
    mistakes: str = ""
    """Mistakes of the original that are kept."""
    ours: str = ""
    """What the author did not state, or what we do differently."""
    guess: str = ""
    """A possible reason for missing the published figure."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for the computation of features."""

    cache: Path = CACHE
    jobs: int = 1
    teacher: str | None = None
    """Folder or hub name of the speech encoder, if it is not where it is looked for."""
    progress: Callable[[str, int, int], None] = lambda *_: None


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A trained system."""

    predict: Predict
    curves: Mapping[str, Sequence[float]] = {}
    """For each epoch ``loss``, ``accuracy``, and of the validation clips ``val_loss``,
    ``val_accuracy``."""
    variants: Mapping[str, Predict] = {}
    """Other ways to use it, whose accuracy is kept beside the main one."""


_CURVE_POINTS = 100
"""Most epochs for which curves are kept."""


class Baseline(ABC):
    """A published system, as a dataclass whose fields are its settings."""

    name: ClassVar[str]
    """Short and unique: ``cnn2d``."""
    about: ClassVar[About]
    chooses: ClassVar[bool] = False
    """Whether it keeps the epoch that was best on validation clips. In the author's protocol they
    are the test clips, in ours clips of other speakers than those of the test."""
    slow: ClassVar[bool] = False
    """Whether one training takes minutes: such systems run last."""

    def settings(self) -> dict[str, object]:
        """What determines its results besides its code."""
        return dict(sorted(vars(self).items()))

    @abstractmethod
    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Features of clips, in their order, cached.

        Raises:
            InputError: A clip, or a teacher, cannot be read.
            UsageError: A library is missing.
        """

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Which clips make up the data set before it is split; a clip may occur twice."""
        del seed
        return np.arange(len(labels))

    @abstractmethod
    def fit(
        self, x: Numbers, y: Labels, *, validation: tuple[Numbers, Labels], seed: int
    ) -> Fitted:
        """Train.

        Args:
            x: Features of the training clips.
            y: Their labels.
            validation: Clips that are measured after each epoch; used only if it ``chooses``.
            seed: Random seed.
        """


class KerasBaseline(Baseline):
    """A network with a soft-max, trained by Keras's ``fit`` with an optimiser's defaults."""

    epochs: int
    """Passes over the clips."""
    precision: str = "float32"
    """Of the arithmetic: ``float32`` or ``mixed_bfloat16`` (weights stay float32)."""
    batch: ClassVar[int] = 32
    """Clips in a batch."""
    optimiser: ClassVar[str] = "adam"
    """Its Keras name; the learning rate is its default."""

    @abstractmethod
    def hidden(self) -> list[Any]:
        """The layers between input and soft-max."""

    def build(self, *shape: int) -> Any:
        """The untrained network for features of a shape."""
        from keras import Sequential, layers

        outputs = len(self.about.emotions)
        return Sequential(
            [
                layers.Input(shape),
                *self.hidden(),
                layers.Dense(outputs, activation="softmax", dtype="float32"),
            ]
        )

    def fit(
        self, x: Numbers, y: Labels, *, validation: tuple[Numbers, Labels], seed: int
    ) -> Fitted:
        """Train; the last epoch counts, or the one with the lowest validation loss."""
        set_up_tensorflow(seed, threads=1)
        import keras

        keras.mixed_precision.set_global_policy(self.precision)
        try:
            model = self.build(*x.shape[1:])
        finally:
            keras.mixed_precision.set_global_policy("float32")
        model.compile(
            self.optimiser,
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            # XLA is half as fast here; many steps in one call save most of Python's share.
            jit_compile=False,
            steps_per_execution=min(16, -(-len(x) // self.batch)),
        )
        best = _BestWeights() if self.chooses else None
        history = model.fit(
            x,
            y,
            validation_data=validation if len(validation[1]) else None,
            epochs=self.epochs,
            batch_size=self.batch,
            verbose=0,
            callbacks=[best.callback()] if best else [],
        ).history
        if best is not None and best.weights is not None:
            model.set_weights(best.weights)
        step = max(1, -(-self.epochs // _CURVE_POINTS))

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


class _BestWeights:
    """The weights of the epoch with the lowest validation loss."""

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


def fit_mlp(x: Numbers, y: Labels, *, hidden: int, every: int = 1, **options: Any) -> Fitted:
    """Train scikit-learn's multi-layer perceptron.

    Args:
        x: Features.
        y: Labels.
        hidden: Width of its one hidden layer.
        every: Iterations between two points of the loss curve.
        **options: Of ``MLPClassifier``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier((hidden,), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(x, y)
    loss = [round(float(value), 4) for value in net.loss_curve_[::every]]
    return Fitted(predict=net.predict, curves={"loss": loss})


def settings_of(system: Baseline) -> str:
    """Tells results of this system from those with other settings."""
    about = system.about
    fixed = [about.seed, about.test_share, len(about.emotions)]
    return msgspec.json.encode([system.settings(), fixed], order="sorted").decode()
