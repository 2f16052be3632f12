"""What a model knows of homes: most of what is said in them is said in no emotion at all.

A network learns from recordings of which a quarter or so is neutral or calm; in a home it is far
more. A model file may therefore say what share it assumes at home, from which probability an
emotion is told at each sensitivity, what that was measured to cost and to bring, and how evidence
adds up over several utterances. `serd.model.decision` and `serd.model.gathering` act on it.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias, get_args

import msgspec

Sensitivity: TypeAlias = Literal["low", "normal", "high"]
"""How readily an emotion is told."""

SENSITIVITIES: Final[tuple[Sensitivity, ...]] = get_args(Sensitivity)
"""All of them, the most reserved first."""

ORDINARY: Final = ("neutral", "calm")
"""The classes that ordinary speech belongs to; all others are emotional."""

MOST_AGREEING: Final = 5
"""More utterances than this are never asked to agree."""


class Gathering(msgspec.Struct, frozen=True, kw_only=True):
    """How evidence adds up over utterances, and fades."""

    half_life_s: float
    """Seconds between two utterances that halve what was gathered before."""
    weight: float = 1.0
    """What was gathered counts this much (0..1) at each further utterance: those of one speaker are
    not independent. 0: every utterance stands alone."""
    pause_s: float
    """A silence longer than this forgets everything, seconds."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within(self.half_life_s, 0.1, 86_400.0, "gathering.half_life_s")
        _within(self.weight, 0.0, 1.0, "gathering.weight")
        _within(self.pause_s, 0.0, 86_400.0, "gathering.pause_s")


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A sensitivity, and what was measured at it."""

    threshold: float
    """Probability from which an emotional class is told, 0..1."""
    events_per_hour: float | None
    """Emotional events in an hour of ordinary speech: all of them false. None: not measured."""
    recall: float | None
    """Share of emotional utterances that is told, and rightly, 0..1. None: not measured."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within(self.threshold, 0.0, 1.0, "threshold")
        if self.events_per_hour is not None:
            _within(self.events_per_hour, 0.0, 100_000.0, "events_per_hour")
        if self.recall is not None:
            _within(self.recall, 0.0, 1.0, "recall")

    @property
    def measured(self) -> str:
        """What was measured, in words."""
        rate = "an unmeasured number of"
        if self.events_per_hour is not None:
            rate = f"about {self.events_per_hour:.3g}"
        told = "an unmeasured share" if self.recall is None else f"{self.recall:.0%}"
        return (
            f"{rate} false emotional events in an hour of ordinary speech, "
            f"{told} of emotional utterances told rightly"
        )

    @property
    def measured_in_short(self) -> str:
        """The same in two figures."""
        rate = "?" if self.events_per_hour is None else f"{self.events_per_hour:.3g}"
        return f"{rate} and {'?' if self.recall is None else f'{self.recall:.0%}'}"


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """What a model assumes of speech in a home."""

    ordinary_share: float
    """Share of utterances in a home that is neutral or calm, 0 to 1, both exclusive."""
    trained_share: float = 0.25
    """The same share as the network's training implies."""
    bias: dict[str, float] = {}
    """Log-odds added to classes after calibration, -10 .. 10; a class that is missing gets none."""
    gathering: Gathering
    """How evidence adds up."""
    agree: int = 1
    """Utterances that must agree before an emotion is told, 1 .. `MOST_AGREEING`."""
    sensitivity: dict[Sensitivity, OperatingPoint]
    """All of `SENSITIVITIES`; the threshold of one is never above that of a more reserved one."""

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        for field in ("ordinary_share", "trained_share"):
            share = getattr(self, field)
            if not 0.0 < share < 1.0:
                raise ValueError(f"home.{field} is {share}, not between 0 and 1")
        for name, odds in self.bias.items():
            _within(odds, -10.0, 10.0, f"home.bias of {name[:32]!a}")
        if not 1 <= self.agree <= MOST_AGREEING:
            raise ValueError(f"home.agree is {self.agree}, not within 1 .. {MOST_AGREEING}")
        missing = [name for name in SENSITIVITIES if name not in self.sensitivity]
        if missing:
            raise ValueError(f"home.sensitivity lacks {', '.join(missing)}")
        thresholds = [self.sensitivity[name].threshold for name in SENSITIVITIES]
        if sorted(thresholds, reverse=True) != thresholds:
            raise ValueError("home.sensitivity: a threshold is above that of a lower sensitivity")


def _within(value: float, least: float, most: float, what: str) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{what} is {value}, not within {least:g} .. {most:g}")
