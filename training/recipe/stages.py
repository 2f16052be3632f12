"""The stages before and after the main one: what training starts from, and who joins at the end."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from serd.errors import UsageError
from training.recipe.augmentation import Augmentation, Sounds  # noqa: TC001 - msgspec needs them
from training.recipe.keys import Count, CountOrNone, Positive, Share, about
from training.recipe.teaching import Teaching  # noqa: TC001 - likewise


class Pretraining(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An earlier stage from random weights, with some of the recipe's corpora.

    It has the recipe's fold, seed and network, and its other settings unless it has its own.
    """

    shares: Annotated[
        dict[str, Share],
        about("Share of each corpus in a batch; the others do not take part."),
    ]
    steps: Annotated[Count, about("Batches.")]
    peak_rate: Annotated[
        Positive,
        about("Highest learning rate of its own cycle; the other settings are the optimiser's."),
    ]
    augmentation: Annotated[Augmentation | None, about("Instead of the recipe's.")] = None
    teaching: Annotated[Teaching | None, about("Its teacher; None: labels alone.")] = None


class Start(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start from a trained network without forgetting what it knew.

    It is that of a packed model or of an earlier stage of the same run.
    Its own answers to clips of the corpora that it was trained on, where they are right, serve as
    soft targets beside the labels (learning without forgetting: Li and Hoiem, 2016,
    arXiv:1606.09282).
    """

    model: Annotated[
        str | None,
        about("A packed model, or the name of one in `training/starts`; None: `pretraining`."),
    ] = None
    pretraining: Annotated[
        Pretraining | None,
        about("An earlier stage of the same run, instead of `model`."),
    ] = None
    remembers: Annotated[
        tuple[str, ...],
        about("Corpora for which its answers are soft targets."),
    ] = ()
    share: Annotated[
        Share,
        about("Weight of its answers in the loss of such a clip; the rest is that of the label."),
    ] = 0.5
    temperature: Annotated[
        Positive,
        about("Divides the logits of both in that part of the loss."),
    ] = 2.0
    gain: Annotated[
        Positive,
        about("Factor of that part: softened targets have smaller gradients."),
    ] = 2.0
    frozen: Annotated[
        CountOrNone,
        about("Number of layers, from the cosine transform on, that training does not change."),
    ] = 0
    keep: Annotated[
        Share | tuple[Share, ...],
        about(
            "Share of the weights before training in the weights after it: one number, or one for "
            "each layer, from the cosine transform over the convolutions to the last layer."
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        if (self.model is None) == (self.pretraining is None):
            raise ValueError("it needs either model or pretraining")

    @property
    def keeps_all(self) -> bool:
        """Whether training changes nothing."""
        return self.keep == 1.0 or (isinstance(self.keep, tuple) and set(self.keep) == {1.0})

    def shares(self, layers: int) -> tuple[float, ...]:
        """Share of the weights before training in each layer.

        Args:
            layers: Number of layers with weights.

        Raises:
            UsageError: ``keep`` has another number of layers.
        """
        if not isinstance(self.keep, tuple):
            return (self.keep,) * layers
        if len(self.keep) != layers:
            raise UsageError(
                f"start.keep has {len(self.keep)} numbers for a network of {layers} layers",
                remedy=f"give one number, or {layers}",
            )
        return self.keep


class Refit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second stage of training that includes the validation speakers.

    Temperature and abstain threshold are found with a network that was not trained on the
    validation speakers. After that these speakers have no other use, and of a few dozen speakers
    nearly a fifth is too many to leave out. So training continues from the weights it had, with
    everybody but the test speakers; the teacher's heads are trained again on all of them, too.
    Temperature and threshold stay.
    """

    steps: Annotated[Count, about("Batches.")]
    peak_rate: Annotated[
        Positive,
        about("Highest learning rate of its own cycle; the other settings are the optimiser's."),
    ]
    augmentation: Annotated[Augmentation | None, about("Instead of the recipe's.")] = None
    sounds: Annotated[Sounds | None, about("Instead of the recipe's.")] = None
    teaching: Annotated[Teaching | None, about("Instead of the recipe's.")] = None
