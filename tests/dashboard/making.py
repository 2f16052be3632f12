"""Sample data of a made-up home: events, states and telemetry as nodes publish them."""

from __future__ import annotations

import json
import math
import random
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from serd.events.clock import rfc3339
from serd.events.event import Event, make, model_ref
from serd.model.decision import Prediction
from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    from tests.broker import Recorder

MODEL: Final = model_ref("default", "1.1", "4ab79e786ecd")
ABSTAIN: Final = 0.42


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def made_event(
    node: str,
    seq: int,
    started_ms: int,
    emotion: str = "happy",
    *,
    share: float = 0.7,
    rng: random.Random | None = None,
    level_dbfs: float = -31.4,
) -> Event:
    """An event whose scores favour one emotion."""
    rng = rng or random.Random(seq)
    rest = [rng.random() ** 2 + 0.02 for _ in EMOTIONS]
    scores = {name: r if name != emotion else 0.0 for name, r in zip(EMOTIONS, rest, strict=True)}
    total = sum(scores.values())
    scores = {name: s / total * (1 - share) for name, s in scores.items()}
    scores[emotion] = share
    top = max(scores, key=lambda name: scores[name])
    event = make(
        node=node,
        started_ms=started_ms,
        ended_ms=started_ms + 2000,
        duration_s=2.0,
        prediction=Prediction(
            emotion=top if scores[top] >= ABSTAIN else UNCERTAIN,
            confidence=scores[top],
            scores=scores,
            valence=sum(s * COORDINATES[name][0] for name, s in scores.items()),
            arousal=sum(s * COORDINATES[name][1] for name, s in scores.items()),
        ),
        level_dbfs=level_dbfs,
        model=MODEL,
    )
    return replace(event, seq=seq, latency_ms=12.5)


def made_day(node: str, until_ms: int, *, seed: int = 7, hours: float = 24) -> list[Event]:
    """A day at home, until a moment: a quiet morning, a lively lunch, a quarrel, a calm evening."""
    rng = random.Random(seed)
    begin = until_ms - hours * 3_600_000
    talks = [  # hour of the span, length in minutes, utterances a minute, mixture
        (0.3, 75, 2, "calm calm neutral happy"),
        (1.4, 18, 2, "neutral calm sad"),
        (7.4, 100, 2, "neutral calm neutral happy surprised"),
        (9.6, 90, 1, "happy neutral happy calm"),
        (12.4, 120, 3, "happy happy surprised neutral happy"),
        (16.1, 16, 4, "neutral surprised fearful angry"),
        (16.6, 26, 7, "angry angry disgust sad angry fearful"),
        (17.3, 30, 2, "sad sad neutral"),
        (18.0, 120, 2, "neutral calm happy neutral"),
        (20.4, 120, 3, "happy happy calm happy surprised"),
        (22.6, 80, 4, "calm calm happy neutral calm"),
    ]
    moments: list[tuple[int, str]] = []
    for hour, minutes, rate, mixture in talks:
        for _ in range(int(minutes * rate)):
            at = begin + hour / 24 * hours * 3_600_000 + rng.random() * minutes * 60_000
            if at < until_ms - 4000:
                moments.append((int(at), rng.choice(mixture.split())))
    return [
        made_event(
            node,
            seq,
            at,
            emotion,
            share=min(0.97, 0.34 + 0.6 * rng.random()),
            rng=rng,
            level_dbfs=-30 - 8 * math.cos(seq) - 6 * rng.random(),
        )
        for seq, (at, emotion) in enumerate(sorted(moments), 1)
    ]


def state(
    event: Event | None,
    *,
    mood: str = "calm",
    speech: bool = False,
    muted: bool = False,
    microphone: str | None = None,
    name: str | None = None,
) -> bytes:
    """The payload of a ``state`` topic."""
    valence, arousal = COORDINATES.get(mood, (0.0, 0.0))
    return json.dumps(
        {
            "emotion": None if event is None else event.emotion,
            "confidence": None if event is None else event.confidence,
            "mood": mood,
            "mood_valence": round(valence * 0.6, 3),
            "mood_arousal": round(arousal * 0.6, 3),
            "speech": speech,
            "muted": muted,
            "updated_at": rfc3339(now_ms()),
            "microphone": microphone or ("muted" if muted else "open"),
            "name": name,
        }
    ).encode()


def telemetry(events: int = 428, trouble: str | None = None) -> bytes:
    """The payload of a ``telemetry`` topic."""
    return json.dumps(
        {
            "uptime_s": 273_912, "version": "0.1.0", "condition": "listening", "trouble": trouble,
            "events": events, "utterances": events, "latency_ms": 38.2, "cpu_percent": 3.4,
            "rss_mb": 65.1, "level_dbfs": -52.1, "waiting": 0, "events_lost": 0,
        }
    ).encode()  # fmt: skip


ROOMS: Final = (
    "living-room", "kitchen", "study", "hall", "bedroom", "attic", "workshop", "garden-house",
)  # fmt: skip


def publish_node(
    speaker: Recorder,
    name: str,
    event: Event | None,
    *,
    online: bool = True,
    muted: bool = False,
    speech: bool = False,
    mood: str = "calm",
    trouble: str | None = None,
) -> None:
    """Publish all retained messages of a node, and an event."""
    from serd.events.event import encode

    payloads = {
        "status": b"online" if online else b"offline",
        "mute": b"ON" if muted else b"OFF",
        "speech": b"ON" if speech else b"OFF",
        "state": state(event, mood=mood, speech=speech, muted=muted),
        "telemetry": telemetry(trouble=trouble),
    }
    for kind, payload in payloads.items():
        speaker.publish(f"serd/{name}/{kind}", payload, retain=True)
    if event is not None:
        speaker.publish(f"serd/{name}/emotion", encode(event))


def names(count: int) -> list[str]:
    """Names for this many rooms."""
    return [f"{ROOMS[i % len(ROOMS)]}-{i // len(ROOMS) + 1:02}" for i in range(count)]


def publish_many(speaker: Recorder, count: int, *, seed: int = 3) -> None:
    """Publish this many nodes: some offline, some muted, some with speech."""
    rng = random.Random(seed)
    for number, name in enumerate(names(count)):
        emotion = rng.choice([*EMOTIONS, "neutral", "calm", "happy"])
        share = 0.45 + 0.5 * rng.random()
        at = now_ms() - rng.randrange(5_000, 7_200_000)
        event = made_event(name, 1, at, emotion, share=share, rng=rng)
        publish_node(
            speaker,
            name,
            event,
            online=number % 17 != 5,
            muted=number % 23 == 7,
            speech=number % 29 == 3,
            mood=emotion,
        )
