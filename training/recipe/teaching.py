"""A teacher: a larger network from which the small one learns."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from training.recipe.keys import Count, CountOrNone, NotNegative, Positive, Share, about


class Head(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The small network that learns emotions from a teacher's embeddings."""

    width: Annotated[Count, about("Of its hidden layer.")] = 256
    dropout: Annotated[
        tuple[Share, Share],
        about("Before and after the hidden layer."),
    ] = (0.3, 0.5)
    epochs: Annotated[Count, about("Passes over the clips.")] = 12
    batch: Annotated[Count, about("Clips in a batch.")] = 64
    rate: Annotated[Positive, about("Highest learning rate of its one cycle.")] = 1e-3
    weight_decay: Annotated[NotNegative, about("Of AdamW.")] = 0.1
    repeats: Annotated[
        dict[str, Count],
        about("How often an epoch contains the clips of a corpus; once by default."),
    ] = {}
    votes_weight: Annotated[
        dict[str, Share],
        about("By corpus, the weight of the listeners' votes beside the emotion that was acted."),
    ] = {}
    heads: Annotated[Count, about("Heads of different seeds whose probabilities are averaged.")] = 2


class Hints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Principal components of the teacher's embeddings, for the student to predict as well."""

    components: Annotated[Count, about("Number of components.")] = 64
    weight: Annotated[
        Positive,
        about("Weight of their mean squared error, in standard deviations, in the loss."),
    ] = 1.0
    at_speeds: Annotated[
        bool,
        about(
            "Whether each speed of a clip has hints of its own; false: those of the original serve "
            "for all, which takes a fifth of the time."
        ),
    ] = True


class Teaching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Knowledge distillation from a larger network (`training.teach`)."""

    teacher: Annotated[
        str,
        about("A speech encoder of Whisper's family, by its name on the model hub."),
    ]
    licence: Annotated[str, about("Licence of the teacher.")]
    layers: Annotated[
        tuple[CountOrNone, ...],
        about("Hidden layers that form the embedding."),
    ] = (2, 3, 4, 5, 6)
    groups: Annotated[
        Annotated[int, Meta(ge=2)],
        about(
            "Groups of training speakers; the heads that answer for a group are trained on the "
            "others."
        ),
    ] = 4
    share: Annotated[
        Share,
        about("Weight of the teacher's answers in the loss; the rest is that of the labels."),
    ] = 0.7
    temperature: Annotated[
        Positive,
        about("Divides the logits of teacher and student in the teacher's part of the loss."),
    ] = 2.0
    gain: Annotated[
        Positive,
        about("Factor of the teacher's part: softened targets have smaller gradients."),
    ] = 2.0
    head: Annotated[Head, about("The small network between embedding and emotions.")] = Head()
    hints: Annotated[
        Hints | None,
        about("None: the student learns from the teacher's answers alone."),
    ] = None
