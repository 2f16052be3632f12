"""Publishes in place of the daemon, so that a test decides what is published and when."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from serd.events.clock import rfc3339
from serd.events.event import Event, ModelRef, encode, uuid7
from serd.events.state import RoomState, encode_state
from serd.model.emotions import EMOTIONS
from serd.mqtt.discovery import discovery_payload, discovery_topic
from serd.mqtt.topics import Topics

if TYPE_CHECKING:
    from tests.broker import Recorder

VERSION = "1.2.3"


class StandIn:
    """A node that publishes serd's own messages when a test asks for them.

    Args:
        recorder: Connected to the broker.
        node: Name of the node.
    """

    def __init__(self, recorder: Recorder, node: str = "living-room") -> None:
        self.topics = Topics("serd", node)
        self._recorder = recorder
        self._seq = 0

    def entity(self, platform: str, name: str) -> str:
        """The id that Home Assistant gives to an entity of the node."""
        return f"{platform}.serd_{self.topics.node.replace('-', '_')}_{name}"

    def announce(self, *, telemetry_s: float = 60) -> None:
        """Publish what the daemon publishes on every connection."""
        payload = discovery_payload(
            self.topics,
            version=VERSION,
            telemetry_s=telemetry_s,
            sensitivity=True,
            corrections=True,
        )
        self._publish(discovery_topic(self.topics, "homeassistant"), payload)
        self._publish(self.topics.speech, b"OFF")
        self._publish(self.topics.mute, b"OFF")
        self._publish(self.topics.sensitivity, b"normal")
        self.state()
        self.telemetry()
        self._publish(self.topics.status, b"online")

    def state(
        self,
        *,
        mood: str = "neutral",
        emotion: str | None = None,
        confidence: float | None = None,
        event_id: str | None = None,
        corrected: str | None = None,
    ) -> None:
        """Publish the room's state."""
        state = RoomState(
            emotion=emotion,
            confidence=confidence,
            mood=mood,
            mood_valence=-0.25,
            mood_arousal=0.5,
            speech=False,
            muted=False,
            updated_at=rfc3339(_now_ms()),
            event_id=event_id,
            corrected=corrected,
        )
        self._publish(self.topics.state, encode_state(state))

    def event(self, emotion: str, confidence: float, *, ago_s: float = 1.0) -> Event:
        """Publish an event that ended some seconds ago."""
        self._seq += 1
        ended = _now_ms() - round(ago_s * 1000)
        rest = round((1 - confidence) / (len(EMOTIONS) - 1), 4)
        event = Event(
            id=str(uuid7()),
            node=self.topics.node,
            seq=self._seq,
            started_at=rfc3339(ended - 1500),
            ended_at=rfc3339(ended),
            duration_s=1.5,
            emotion=emotion,
            confidence=confidence,
            scores={name: confidence if name == emotion else rest for name in EMOTIONS},
            valence=-0.5,
            arousal=0.5,
            level_dbfs=-23.4,
            model=ModelRef(name="stand-in", version="1", sha256="0" * 12),
            latency_ms=12.3,
        )
        self._recorder.publish(self.topics.emotion, encode(event))
        return event

    def telemetry(self, *, condition: str = "listening", trouble: str | None = None) -> None:
        """Publish telemetry."""
        figures = {
            "version": VERSION,
            "condition": condition,
            "trouble": trouble,
            "level_dbfs": -47.1,
            "latency_ms": 8.5,
            "waiting": 0,
            "events_lost": 0,
        }
        self._publish(self.topics.telemetry, json.dumps(figures).encode())

    def _publish(self, topic: str, payload: bytes) -> None:
        self._recorder.publish(topic, payload, retain=True)


def _now_ms() -> int:
    return int(time.time() * 1000)
