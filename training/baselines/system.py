"""A published system as the runner sees it: facts, features, and a way to train it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path  # noqa: TC003 - the type of a struct's field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

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
"""Features of clips, a row for each; what a row is, the system knows."""
Labels: TypeAlias = NDArray[np.int64]
"""Places in the system's ``emotions``."""
Predict: TypeAlias = Callable[[Numbers], Labels]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What its author published."""

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
    """The classes that it tells apart; clips of others are left out."""
    mistakes: str = ""
    """What is wrong with it, and is kept."""
    ours: str = ""
    """Where the author said nothing, or what we did otherwise."""
    guess: str = ""
    """Why we may miss the published figure; nobody knows."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where features come from and go to."""

    cache: Path = CACHE
    jobs: int = 1
    teacher: str | None = None
    """Folder or hub name of the speech encoder, if it is not where it is looked for."""
    progress: Callable[[str, int, int], None] = lambda *_: None


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A trained system."""

    predict: Predict
    curves: Mapping[str, Sequence[float]] = {}
    """For each epoch ``loss``, ``accuracy``, and of the watched clips ``val_loss``,
    ``val_accuracy``."""
    variants: Mapping[str, Predict] = {}
    """Other ways to ask it, whose accuracy is kept beside the main one."""


class Baseline(Protocol):
    """A published system, as a dataclass whose fields are its settings."""

    name: ClassVar[str]
    """Short and unique: ``cnn2d``."""
    about: ClassVar[About]
    chooses: ClassVar[bool] = False
    """Whether it keeps the epoch that was best on watched clips. They are the test clips in the
    author's protocol, and other speakers than those of the test in ours."""
    slow: ClassVar[bool] = False
    """Whether one training takes minutes: such systems come last."""

    def settings(self) -> dict[str, object]:
        """What decides its results besides its code."""
        return dict(sorted(vars(self).items()))

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Features of clips, in their order, from the cache if they are there.

        Raises:
            InputError: A clip, or a teacher, cannot be read.
            UsageError: A library is missing.
        """
        ...

    def items(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Which clips make up the data set before it is split; a clip may be there twice."""
        del seed
        return np.arange(len(labels))

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """Train.

        Args:
            x: Features of the training clips.
            y: Their labels.
            watched: Clips whose loss is watched along the way; used only by one that chooses.
            seed: Of everything random.
        """
        ...


def settings_of(system: Baseline) -> str:
    """What tells a result of this system from one with other settings."""
    about = system.about
    fixed = [about.seed, about.test_share, len(about.emotions)]
    return msgspec.json.encode([system.settings(), fixed], order="sorted").decode()


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
