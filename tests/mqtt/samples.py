"""Sample events and states."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from serd.events.event import Event, encode, make, model_ref
from serd.events.state import RoomState, encode_state
from serd.model.decision import Prediction
from serd.model.emotions import EMOTIONS
from serd.mqtt.topics import KINDS

if TYPE_CHECKING:
    from serd.events.journal import Journal
    from serd.mqtt.link import Refusal

NODE = "attic"
MODEL = model_ref("default", "1.0", "0123456789abcdef")
SCORES = {name: 0.3 if name == "happy" else 0.1 for name in EMOTIONS}
BEGAN_MS = 1_767_225_600_000


def new_event(number: int = 0, *, node: str = NODE) -> Event:
    """An event as the pipeline creates it: without ``seq`` and latency."""
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


def numbered(number: int, *, node: str = NODE) -> Event:
    """An event as a node publishes it: with a ``seq``."""
    return msgspec.structs.replace(new_event(number, node=node), seq=number)


def journalled(journal: Journal, count: int, *, node: str = NODE) -> list[Event]:
    """Append that many events to the journal in one transaction."""
    return journal.append_many([new_event(number, node=node) for number in range(count)])


def room(emotion: str | None = "happy", *, muted: bool = False) -> RoomState:
    """A room state."""
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


def poison(node: str = NODE) -> list[tuple[str, bytes]]:
    """Topics and payloads that are not valid messages; several of them once ended a follower."""
    good = json.loads(encode(replace(new_event(node=node), seq=1, latency_ms=1.0)))
    deep = b"[" * 4000
    changes: list[dict[str, object]] = [
        {"started_at": "2026-99-99T00:00:00.000Z"}, {"ended_at": "2026-02-30T00:00:00.000Z"},
        {"ended_at": "2026-01-01T00:00:00.000Z\n"}, {"started_at": "9999-12-31T23:59:59.999Z"},
        {"started_at": "0001-01-01T00:00:00.000Z"}, {"started_at": "2026-01-01T23:59:60.000Z"},
        {"seq": -1}, {"seq": 0}, {"seq": 2**63}, {"seq": 10**30}, {"node": "another"},
        {"node": "\x1b[2J"}, {"id": "x" * 50_000}, {"id": "no-uuid"}, {"duration_s": 1e300},
        {"emotion": "x" * 50_000}, {"confidence": 5}, {"latency_ms": -1}, {"scores": {}},
        {"scores": dict.fromkeys(SCORES, 0.0)}, {"scores": dict.fromkeys(SCORES, 1.0)},
        {"model": {**good["model"], "name": "x" * 50_000}}, {"level_dbfs": 1e300},
        {"model": {**good["model"], "version": "\x1b]0;title\x07"}},
    ]  # fmt: skip
    events = [json.dumps({**good, **change}).encode() for change in changes]
    state = json.loads(encode_state(room()))
    states = [
        json.dumps({**state, **change}).encode()
        for change in (
            {"emotion": "x" * 50_000}, {"mood": "merry"}, {"confidence": 7}, {"mood_arousal": -2},
            {"mood_valence": 1e300}, {"updated_at": "yesterday"},
            {"updated_at": "2026-99-99T00:00:00.000Z"},
        )
    ]  # fmt: skip
    rubbish = [deep, b'{"x":' + deep, b"\xff\xfe", b"{", b"null", b"7", b"\x00", b"9" * 5000,
               b'{"a":' + b"9" * 5000 + b"}"]  # fmt: skip
    prefix = f"serd/{node}"
    return [
        *((f"{prefix}/emotion", payload) for payload in events),
        *((f"{prefix}/state", payload) for payload in states),
        *((f"{prefix}/{kind}", payload) for kind in KINDS for payload in rubbish),
        (f"{prefix}/emotion", encode(new_event(node=node))[:-1] + b',"x":' + deep),
    ]


class FakeReceipt:
    def __init__(self, *, done: bool = False, refusal: Refusal | None = None) -> None:
        self.done = done
        self.refusal = refusal

    def is_published(self) -> bool:
        return self.done
