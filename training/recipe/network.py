"""The network: its sizes, and how its weights are optimised."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from training.recipe.keys import Count, NotNegative, Positive, Share, about


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the convolutional network (`training.network`)."""

    stem: Annotated[Count, about("Channels of the first convolution, 5 x 5 with stride 2.")] = 24
    widths: Annotated[
        tuple[Count, ...],
        about("Channels of the 3 x 3 convolutions; before each width comes a 2 x 2 max-pool."),
    ] = (56, 112, 192)
    depth: Annotated[Count, about("Convolutions of each width, one after the other.")] = 1
    dropout: Annotated[Share, about("Before the last layer.")] = 0.3

    @property
    def layers(self) -> int:
        """Layers with weights: the transform, the convolutions, the last one."""
        return self.depth * len(self.widths) + 3


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
