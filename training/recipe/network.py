"""The network: its sizes, how its weights are optimised, and what it starts from."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from serd.errors import UsageError
from training.recipe.keys import Count, NotNegative, Positive, Share, about


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the convolutional network (`training.network`)."""

    stem: Annotated[Count, about("Channels of the first convolution, 5 x 5 with stride 2.")] = 24
    widths: Annotated[
        tuple[Count, ...],
        about("Channels of the 3 x 3 convolutions, each after a 2 x 2 max-pool."),
    ] = (56, 112, 192)
    dropout: Annotated[Share, about("Before the last layer.")] = 0.3

    @property
    def layers(self) -> int:
        """Layers with weights: the transform, the convolutions, the last one."""
        return len(self.widths) + 3


class Optimiser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AdamW or Muon under a one-cycle learning rate."""

    steps: Annotated[Count, about("Batches.")]
    batch: Annotated[Count, about("Clips in a batch.")] = 32
    peak_rate: Annotated[Positive, about("Highest learning rate.")] = 3e-3
    warm_up: Annotated[
        Share,
        about("Share of the steps in which it rises, from a twentieth of the peak."),
    ] = 0.15
    transform_rate: Annotated[
        Share,
        about(
            "Learning rate of the first, linear layer relative to the others: it is initialised "
            "as the inverse cosine transform, whose small weights the full rate would soon "
            "destroy."
        ),
    ] = 0.1
    weight_decay: Annotated[
        NotNegative,
        about("On kernels only, and not on the first layer."),
    ] = 0.05
    clip_norm: Annotated[Positive, about("Largest norm of the gradient of all weights.")] = 2.0
    label_smoothing: Annotated[
        Share,
        about("Share of the target that is spread over all classes."),
    ] = 0.1
    method: Annotated[
        Annotated[str, Meta(pattern="^(adamw|muon)$")],
        about("For the kernels of convolutions; everything else is trained by AdamW."),
    ] = "adamw"
    averaging: Annotated[
        Share,
        about("Decay of the running mean of the weights, which is what is shipped."),
    ] = 0.998
    precision: Annotated[
        Annotated[str, Meta(pattern="^(float32|mixed_bfloat16)$")],
        about("Of the arithmetic; weights stay float32."),
    ] = "float32"


class Start(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start from a packed model's network without forgetting what it knew.

    Its own answers to clips of the corpora that it was trained on, where they are right, serve as
    soft targets beside the labels (learning without forgetting: Li and Hoiem, 2016,
    arXiv:1606.09282).
    """

    model: Annotated[str, about("A packed model, or the name of one in `training/starts`.")]
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
    keep: Annotated[
        Share | tuple[Share, ...],
        about(
            "Share of the weights before training in the weights after it: one number, or one for "
            "each layer, from the cosine transform over the convolutions to the last layer."
        ),
    ] = 0.0

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
