"""What is assumed and wanted for a household."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from serd.config import Sensitivity  # noqa: TC001 - msgspec looks types up
from serd.model.metadata import (
    MOST_AGREEING,
    MOST_REMEMBERED,
    SENSITIVITIES,
    Gathering,
    ThresholdOn,
)
from training.recipe.keys import Count, Positive, Share, about


class HabituationUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a room gets used to its own sound (`serd.model.habituation`)."""

    remembered: Annotated[Count, about("The latest utterances of a room that count.")] = 200
    half_after: Annotated[
        Count, about("Utterances after which half of a room's excess is subtracted.")
    ] = 20

    def __post_init__(self) -> None:
        for name in ("remembered", "half_after"):
            if (count := getattr(self, name)) > MOST_REMEMBERED:
                raise ValueError(f"{name} is {count}: at most {MOST_REMEMBERED}")


class HomeUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is assumed and wanted for a household (`training.evaluate.household`)."""

    corpora: Annotated[
        tuple[str, ...],
        about("Acted corpora to which temperature and bias are fitted."),
    ]
    biased: Annotated[
        bool,
        about(
            "Whether each class gets a bias. One fitted to few speakers may help them and harm "
            "others."
        ),
    ] = True
    ordinary_share: Annotated[
        Share,
        about("Share of utterances at home that are neutral or calm."),
    ] = 0.5
    trained_share: Annotated[
        Share,
        about(
            "The same share as the fitted probabilities imply: with equally frequent classes, "
            "two of eight."
        ),
    ] = 0.25
    caution: Annotated[
        Positive,
        about(
            "Factor of the fitted temperature: above 1 for less confidence than on the voices of "
            "the fit, below 1 for more."
        ),
    ] = 1.0
    rates: Annotated[
        dict[Sensitivity, Positive],
        about("False emotional events that an hour of ordinary speech may cause."),
    ]
    gathering: Annotated[Gathering, about("How evidence accumulates over utterances.")]
    agree: Annotated[Count, about("Utterances that must agree before an emotion is reported.")] = 1
    threshold_on: Annotated[
        ThresholdOn,
        about(
            "What has to reach the threshold: the probability of the reported `emotion`, or that "
            "of `all_emotions` together."
        ),
    ] = "emotion"
    habituation: Annotated[
        HabituationUse | None,
        about(
            "Whether a room gets used to what it always sounds like, and how soon; null: it does "
            "not."
        ),
    ] = None

    def __post_init__(self) -> None:
        if not self.corpora:
            raise ValueError("corpora names none, so temperature could not be fitted")
        for name in ("ordinary_share", "trained_share"):
            if not 0.0 < (share := getattr(self, name)) < 1.0:
                raise ValueError(f"{name} is {share:g}: it must lie between 0 and 1")
        if self.agree > MOST_AGREEING:
            raise ValueError(f"agree is {self.agree}: at most {MOST_AGREEING}")
        if missing := [name for name in SENSITIVITIES if name not in self.rates]:
            raise ValueError(f"rates lacks {', '.join(missing)}")
        rates = [self.rates[name] for name in SENSITIVITIES]
        if sorted(rates) != rates:
            raise ValueError(f"rates must not fall from {' to '.join(SENSITIVITIES)}")
