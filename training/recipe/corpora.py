"""How corpora are used and prepared."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from training.recipe.keys import CountOrNone, Positive, Share, about


class CorpusUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a corpus is used in training."""

    share: Annotated[
        Share,
        about("Share of the clips in a batch, relative to the shares of the other corpora."),
    ]
    validation_speakers: Annotated[
        CountOrNone,
        about("Training speakers set aside to choose temperature and threshold."),
    ] = 0
    votes_weight: Annotated[
        Share,
        about("Weight of the listeners' votes in the target, beside the emotion that was acted."),
    ] = 0.0
    target: Annotated[
        dict[str, Share],
        about(
            "The target of every clip, instead of the clip's own label; what is missing to 1 is "
            "spread over the other classes. For speech without emotion labels."
        ),
    ] = {}
    taught: Annotated[
        Share,
        about(
            "With `target`: weight of a teacher's answer beside it; 0: such clips get neither "
            "answers nor hints."
        ),
    ] = 0.0
    balance: Annotated[
        Share,
        about("How far the classes are balanced: 0 draws all clips equally often, 1 all classes."),
    ] = 0.5
    speakers: Annotated[
        dict[str, Positive],
        about(
            "Use only these speakers, each with this share relative to the others; empty: all, "
            "each by its number of clips."
        ),
    ] = {}
    masked: Annotated[
        dict[str, list[str]],
        about(
            "By class, the classes to leave out of the loss for its clips: those that the "
            "corpus's labels cannot distinguish from it."
        ),
    ] = {}
    folder: Annotated[
        str | None,
        about(
            "Folder of the recordings, with a folder for each emotion, relative to the recipe's "
            "folder; otherwise the corpus is one of those below `--corpora`."
        ),
    ] = None
    folds: Annotated[
        str | None,
        about(
            "JSON file of the speakers or clips that each fold holds out, relative to the "
            "recipe's folder; otherwise the file of the corpus's name in `training/folds`."
        ),
    ] = None

    @property
    def asks_teacher(self) -> bool:
        """Whether a teacher answers for the clips."""
        return not self.target or self.taught > 0.0


class Preparation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is computed once for each clip and cached."""

    speeds: Annotated[
        tuple[Positive, ...],
        about("Copies played faster or slower (pitch and pace together); the first must be 1."),
    ] = (1.0,)
    longest_s: Annotated[
        Positive,
        about("Seconds of speech kept, from which a window can be cropped anywhere."),
    ] = 4.0

    def __post_init__(self) -> None:
        # The first copy serves wherever a clip is wanted as it is.
        if not self.speeds or self.speeds[0] != 1.0:
            raise ValueError("speeds does not begin with 1")
