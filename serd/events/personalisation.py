"""What the model learns from a household's corrections, and how much that helps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from serd.events.event import DIGEST_LENGTH
from serd.model.adaptation import PASSED_MOST, Adaptation, Example, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serd.events.corrections import Correction
    from serd.events.event import Event
    from serd.model.model_file import ModelFile


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """The result of learning from corrections."""

    adaptation: Adaptation | None
    """None if there was nothing to learn from."""
    used: tuple[Correction, ...]
    """The corrections that were used."""
    other_model: int = 0
    """Number set aside because another model classified these utterances."""
    other_class: int = 0
    """Number set aside because the model has no such class."""


def learn(
    corrections: Sequence[Correction], model: ModelFile, *, node: str | None = None
) -> Learned:
    """Fit an adaptation to corrections.

    Args:
        corrections: In the order in which the utterances were spoken.
        model: The model to adapt; corrections of another model are set aside.
        node: Use only the corrections of this node; None: of all nodes.
    """
    own = [one for one in corrections if node in (None, one.node) and is_of(one, model)]
    used = [one for one in own if (one.emotion or one.told) in model.labels]
    return Learned(
        adaptation=fit(examples(used, model.labels), model.labels, model.info.personal),
        used=tuple(used),
        other_model=sum(node in (None, one.node) for one in corrections) - len(own),
        other_class=len(own) - len(used),
    )


def is_of(one: Correction | Event, model: ModelFile) -> bool:
    """Whether this model classified the utterance."""
    return one.model.sha256 == model.sha256[:DIGEST_LENGTH]


def examples(corrections: Sequence[Correction], labels: Sequence[str]) -> list[Example]:
    """Corrections as training examples; each must be of a class that the model has."""
    places = {label: place for place, label in enumerate(labels)}
    latest: dict[str, int] = {}
    found = []
    for one in corrections:
        passed = one.seq - latest.get(one.node, one.seq - 1) - 1
        latest[one.node] = one.seq
        found.append(
            Example(
                scores=tuple(one.scores[label] for label in labels),
                emotion=None if one.emotion is None else places[one.emotion],
                denied=places.get(one.told),
                passed=min(PASSED_MOST, max(0, passed)),
            )
        )
    return found


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What ``serd personal show`` prints."""

    corrections: int
    """Number stored."""
    used: int
    """Number that the current model learns from."""
    other_model: int
    """Number set aside because another model classified these utterances."""
    other_class: int
    """Number set aside because the model has no such class."""
    emotions: dict[str, int]
    """Number of each: an emotion, or ``not angry`` and the like."""
    nodes: dict[str, int]
    """Number of each node."""
    first_at: str | None
    """Time of the first."""
    last_at: str | None
    """Time of the latest."""
    changed: int
    """Uncorrected utterances in the journal that the adapted model would classify differently."""
    uncorrected: int
    """Uncorrected utterances in the journal."""
    right_alone: int
    """Corrected utterances, of those used, that the model without adaptation gets right."""
    right_adapted: int
    """Those that it gets right after learning from the other corrections, but not from that one."""
    low: float
    """Lower end of the 90 % confidence interval of the share that corrections mend, 0..1."""
    high: float
    """Upper end."""


def summarise(
    corrections: Sequence[Correction], model: ModelFile, events: Sequence[Event]
) -> Summary:
    """Summarise what was learned, and its benefit as far as the corrections themselves show it.

    The corrected utterances are classified again by tenfold cross-validation. They are those that
    the model got wrong, so they show how many of its errors are mended. New errors elsewhere show
    only in the number of other answers that change.

    Args:
        corrections: In the order in which the utterances were spoken.
        model: The model in use.
        events: Past events.
    """
    import numpy as np  # noqa: PLC0415 - only this function needs it

    found = learn(corrections, model)
    known = {one.id for one in corrections}
    labels = model.labels

    def scores_of(scores: dict[str, float]) -> list[float]:
        return [max(scores[label], 1e-6) for label in labels]

    rest = [event for event in events if event.id not in known and is_of(event, model)]
    changed = 0
    if rest and found.adaptation is not None:
        alone = np.log([scores_of(event.own_scores) for event in rest])
        changed = int((found.adaptation.shift(alone).argmax(1) != alone.argmax(1)).sum())
    used = found.used
    taught = examples(used, labels)
    right_alone = right_adapted = 0
    for part in range(min(10, len(used))):
        others = [one for place, one in enumerate(taught) if place % 10 != part]
        adaptation = fit(others, labels, model.info.personal)
        for place in range(part, len(used), 10):
            alone = np.log(scores_of(used[place].scores))
            after = alone if adaptation is None else adaptation.shift(alone)
            right_alone += _fits(used[place], labels[int(alone.argmax())])
            right_adapted += _fits(used[place], labels[int(after.argmax())])
    wrong = len(used) - right_alone
    low, high = interval(max(0, right_adapted - right_alone), wrong)
    moments = sorted(one.corrected_at for one in corrections)
    return Summary(
        corrections=len(corrections),
        used=len(used),
        other_model=found.other_model,
        other_class=found.other_class,
        emotions=dict(Counter(one.words for one in corrections).most_common()),
        nodes=dict(Counter(one.node for one in corrections).most_common()),
        first_at=moments[0] if moments else None,
        last_at=moments[-1] if moments else None,
        changed=changed,
        uncorrected=len(rest),
        right_alone=right_alone,
        right_adapted=right_adapted,
        low=low,
        high=high,
    )


def _fits(one: Correction, said: str) -> bool:
    return said != one.told if one.emotion is None else said == one.emotion


def interval(successes: int, trials: int, z: float = 1.645) -> tuple[float, float]:
    """Wilson's confidence interval of a share, by default 90 %; 0 to 1 if there were no trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
        / (1 + z * z / trials)
    )  # fmt: skip
    return round(max(0.0, middle - half), 3), round(min(1.0, middle + half), 3)
