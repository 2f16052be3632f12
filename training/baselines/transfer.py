"""Hoopes's transfer learning, which never ran: a frozen audio embedding with a soft-max on top.

The author took OpenL3's 512 numbers and ran out of memory. Here the embedding comes from the
encoder of Whisper-base (Radford and others, 2022; MIT licence), which this project has at hand
because it teaches the shipped model: mean and standard deviation over time of hidden layers 2 to
6, 5120 numbers (:mod:`training.teacher`). It heard 680,000 hours of speech, OpenL3 heard videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from training.baselines import hoopes
from training.baselines.network import fit_network
from training.baselines.system import About, Baseline, Fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip


@dataclass(frozen=True)
class Transfer(Baseline):
    """20.6 million frozen weights, and 41 thousand that learn."""

    epochs: int = 25
    teacher: str = "openai/whisper-base"
    layers: tuple[int, ...] = (2, 3, 4, 5, 6)
    longest_s: float = 4.0

    name: ClassVar[str] = "transfer"
    about: ClassVar[About] = hoopes.about(
        features="embedding of the frozen encoder of Whisper-base (MIT licence)",
        network="soft-max",
        published=None,
        published_note="never ran: out of memory",
        mistakes="The 20 % that test choose the epoch too.",
        ours=(
            "Whisper-base's encoder in place of OpenL3, each number scaled to mean 0 and"
            " standard deviation 1 of the training clips. Training as in `ann`."
        ),
    )
    chooses: ClassVar[bool] = True

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """What the encoder hears, ``[clips, 5120]``."""
        from training.teacher import Teacher, find_teacher

        done = 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            source.progress("listen", done, len(clips))

        teacher = Teacher(find_teacher(self.teacher, source.teacher), self.layers)
        return teacher.listen(
            clips, longest_s=self.longest_s, cache=source.cache, jobs=source.jobs, progress=step
        )

    def fit(self, x: Numbers, y: Labels, *, watched: tuple[Numbers, Labels], seed: int) -> Fitted:
        """RMSprop; the epoch with the lowest watched loss is kept."""
        mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-6

        def build() -> Any:
            import keras

            layers = keras.layers
            return keras.Sequential(
                [layers.Input((x.shape[1],)), layers.Dense(8, activation="softmax")]
            )

        fitted = fit_network(
            build,
            (x - mean) / sd,
            y,
            watched=((watched[0] - mean) / sd, watched[1]),
            seed=seed,
            epochs=self.epochs,
            batch=32,
            optimiser="rmsprop",
            keep_best=True,
        )
        return Fitted(predict=lambda some: fitted.predict((some - mean) / sd), curves=fitted.curves)
