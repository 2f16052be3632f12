"""Events and states that the tests of this room publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serd.events.event import Event, make, model_ref
from serd.events.state import RoomState
from serd.model.decision import Prediction
from serd.model.emotions import EMOTIONS

if TYPE_CHECKING:
    from serd.events.journal import Journal

NODE = "attic"
MODEL = model_ref("default", "1.0", "0123456789abcdef")
SCORES = {name: 0.3 if name == "happy" else 0.1 for name in EMOTIONS}
BEGAN_MS = 1_767_225_600_000


def new_event(number: int = 0, *, node: str = NODE) -> Event:
    """An event as the pipeline makes it: without ``seq`` and latency."""
    prediction = Prediction(
        emotion="happy", confidence=0.3, scores=SCORES, valence=0.25, arousal=0.125
    )
    return make(
        node=node,
        started_ms=BEGAN_MS + 4000 * number,
        ended_ms=BEGAN_MS + 4000 * number + 1500,
        duration_s=1.5,
        prediction=prediction,
        level_dbfs=-31.5,
        model=MODEL,
    )


def journalled(journal: Journal, count: int, *, node: str = NODE) -> list[Event]:
    """Write that many events to the journal, as one."""
    return journal.append_many([new_event(number, node=node) for number in range(count)])


def room(emotion: str | None = "happy", *, muted: bool = False) -> RoomState:
    """A state."""
    return RoomState(
        emotion=emotion,
        confidence=None if emotion is None else 0.3,
        mood="neutral",
        mood_valence=0.125,
        mood_arousal=-0.25,
        speech=False,
        muted=muted,
        updated_at="2026-01-01T00:00:00.000Z",
    )
