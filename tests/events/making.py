"""Test events: any number, all different, the same in every run."""

from __future__ import annotations

import random

import msgspec

from serd.events.clock import Clock
from serd.events.event import Event, ModelRef, make, model_ref
from serd.model.decision import Prediction
from serd.model.emotions import COORDINATES, EMOTIONS

MODEL = model_ref("test", "1.2.3", "0123456789ABCDEF" * 4)
START_MS = 1_790_000_000_000


class ManualClock:
    """A wall clock and a monotonic clock that move only when the test moves them."""

    def __init__(self, wall: float = START_MS / 1000, monotonic: float = 1000.0) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self.synchronised = False
        self.clock = Clock(
            lambda: self.wall, lambda: self.monotonic, lambda _wall: self.synchronised
        )

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def prediction(seed: int) -> Prediction:
    rng = random.Random(seed)
    weights = [rng.expovariate(1.0) ** 3 for _ in EMOTIONS]
    scores = {name: w / sum(weights) for name, w in zip(EMOTIONS, weights, strict=True)}
    top = max(scores, key=scores.__getitem__)
    return Prediction(
        emotion=top if scores[top] > 0.4 else "uncertain",
        confidence=scores[top],
        scores=scores,
        valence=sum(p * COORDINATES[name][0] for name, p in scores.items()),
        arousal=sum(p * COORDINATES[name][1] for name, p in scores.items()),
    )


def event(
    seed: int = 0,
    *,
    node: str = "kitchen",
    started_ms: int | None = None,
    model: ModelRef = MODEL,
    home: bool = False,
    corrections: int | None = None,
) -> Event:
    """Event number `seed`, three seconds after the one before it.

    With `home` as from a model calibrated for homes; with `corrections` as adapted by that many
    of the household's corrections.
    """
    rng = random.Random(seed)
    start_ms = START_MS + seed * 3000 if started_ms is None else started_ms
    length_ms = rng.randrange(500, 3001)
    alone = prediction(seed + 1_000_000) if home else None
    combined = prediction(seed)
    if corrections is not None:
        own = prediction(seed + 2_000_000)
        combined = msgspec.structs.replace(combined, own=own, adapted=corrections)
        alone = alone and msgspec.structs.replace(alone, own=own, adapted=corrections)
    return make(
        node=node,
        started_ms=start_ms,
        ended_ms=start_ms + length_ms,
        duration_s=length_ms / 1000,
        prediction=combined,
        level_dbfs=rng.uniform(-60, -5),
        model=model,
        utterance=alone,
        gathered=1 + seed % 5 if home else None,
        prior=0.9 if home else None,
    )
