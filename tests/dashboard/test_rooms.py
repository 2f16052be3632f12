"""What the dashboard keeps of MQTT messages, and what it streams to browsers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from serd.dashboard import nodes
from serd.dashboard import stream as stream_module
from serd.dashboard.nodes import KnownNodes
from serd.dashboard.stream import EVENTS_MAX, Hub
from serd.events.event import encode
from serd.mqtt.messages import (
    ClearedMessage,
    EventMessage,
    MuteMessage,
    SensitivityMessage,
    SpeechMessage,
    StatusMessage,
    TelemetryMessage,
    decode_message,
)
from tests.dashboard.making import made_event, state
from tests.dashboard.running import events_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


def test_a_room_reflects_its_messages() -> None:
    rooms = KnownNodes(now_ms=lambda: 5)
    event = made_event("attic", 3, 1_700_000_000_000)
    for message in (
        StatusMessage(node="attic", online=True),
        SpeechMessage(node="attic", on=True),
        MuteMessage(node="attic", on=False),
        EventMessage(node="attic", event=event),
        SensitivityMessage(node="attic", sensitivity="low"),
    ):
        assert rooms.update(message)
    decoded = decode_message("serd", "serd/attic/state", state(event, mood="sad"))
    assert decoded
    assert rooms.update(decoded)
    room = rooms.get("attic")
    assert room is not None
    fields = room.as_dict()
    assert (fields["online"], fields["speech"], fields["muted"], fields["mood"]) == (
        True, True, False, "sad",
    )  # fmt: skip
    assert fields["event"] == event
    assert (fields["emotion"], fields["confidence"]) == (event.emotion, event.confidence)
    assert fields["seen_ms"] == 5
    assert fields["sensitivity"] == "low"
    rooms.update(StatusMessage(node="attic", online=False))
    assert room.as_dict()["speech"] is False  # unknown once the node is offline


def test_the_state_gives_the_emotion_before_the_first_event() -> None:
    rooms = KnownNodes()
    event = made_event("attic", 3, 1_700_000_000_000, "sad")
    decoded = decode_message("serd", "serd/attic/state", state(event))
    assert decoded
    rooms.update(decoded)
    room = rooms.get("attic")
    assert room is not None
    fields = room.as_dict()
    assert (fields["emotion"], fields["confidence"], fields["event"]) == ("sad", 0.7, None)


def test_gaps_are_counted_and_late_events_do_not_replace_newer_ones() -> None:
    rooms = KnownNodes()
    for seq in (4, 5, 9, 6):
        event = made_event("attic", seq, 1_700_000_000_000 + seq * 4000)
        rooms.update(EventMessage(node="attic", event=event))
    room = rooms.get("attic")
    assert room is not None
    assert room.missed == 3
    assert room.event is not None
    assert room.event.seq == 9


def test_an_event_belongs_to_the_node_in_its_topic() -> None:
    rooms = KnownNodes()
    rooms.update(EventMessage(node="attic", event=made_event("bedroom", 1, 1_700_000_000_000)))
    assert [room.name for room in rooms] == ["attic"]
    room = rooms.get("attic")
    assert room is not None
    assert room.event is not None
    assert room.event.node == "attic"


def test_memory_for_unexpected_messages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "NODES_MAX", 3)
    rooms = KnownNodes()
    for number in range(5):
        rooms.update(StatusMessage(node=f"n{number}", online=True))
    assert (len(rooms), rooms.ignored) == (3, 2)
    figures = {"condition": "x" * 10_000, "events": 3, "strange": "y" * 10_000, "trouble": [1]}
    rooms.update(TelemetryMessage(node="n0", figures=figures))
    room = rooms.get("n0")
    assert room is not None
    assert room.telemetry == {"condition": "x" * nodes.TEXT_MAX, "events": 3}
    wrong = {"condition": 7, "trouble": None, "version": True, "events": "many", "rss_mb": False}
    rooms.update(TelemetryMessage(node="n0", figures=wrong | {"latency_ms": None, "waiting": 2}))
    assert room.telemetry == {"trouble": None, "latency_ms": None, "waiting": 2}
    event = made_event("n0", 1, 1_700_000_000_000)
    assert rooms.update(EventMessage(node="n0", event=replace(event, id="i" * 1000))) is None
    model = replace(event.model, name="m" * 10_000)
    rooms.update(EventMessage(node="n0", event=replace(event, model=model)))
    assert room.event is not None
    assert len(room.event.model.name) == nodes.TEXT_MAX


async def first(stream: AsyncIterator[bytes], count: int) -> list[tuple[str, object]]:
    found = []
    for _ in range(count):
        found += events_of((await anext(stream)).decode())
    return found


def test_a_stream_starts_with_the_full_state_then_sends_changes() -> None:
    async def run() -> None:
        rooms = KnownNodes()
        hub = Hub(rooms, lambda: {"version": "1"})
        rooms.update(StatusMessage(node="attic", online=True))
        stream = hub.stream()
        ((kind, hello),) = await first(stream, 1)
        assert kind == "hello"
        assert isinstance(hello, dict)
        assert [room["name"] for room in hello["rooms"]] == ["attic"]
        event = made_event("attic", 1, 1_700_000_000_000)
        # A hundred changes to one room are sent as one message.
        for _ in range(100):
            rooms.update(EventMessage(node="attic", event=event))
            hub.node_changed("attic")
        hub.add_event(event)
        hub.info_changed()
        changes = await first(stream, 1)
        assert [kind for kind, _ in changes] == ["info", "events", "rooms"]
        assert changes[1][1] == [json.loads(encode(event))]
        hub.close()
        assert [chunk async for chunk in stream] == []
        assert (len(hub), hub.full) == (0, True)

    asyncio.run(run())


def test_a_slow_browser_loses_the_oldest_events_and_gets_their_number() -> None:
    async def run() -> None:
        hub = Hub(KnownNodes(), dict)
        slow, quick = hub.stream(), hub.stream()
        for stream in (slow, quick):
            await first(stream, 1)
        for seq in range(EVENTS_MAX + 7):
            hub.add_event(made_event("attic", seq, 1_700_000_000_000))
            if seq == EVENTS_MAX - 1:
                assert len(await first(quick, 1)) == 1
        (kind, events), (last, missed) = await first(slow, 1)
        assert (kind, last, missed) == ("events", "missed", {"events": 7})
        assert isinstance(events, list)
        assert [event["seq"] for event in events] == list(range(7, EVENTS_MAX + 7))
        ((kind, rest),) = await first(quick, 1)
        assert isinstance(rest, list)
        assert len(rest) == 7
        assert hub.dropped == 7
        hub.close()
        await slow.aclose()  # type: ignore[attr-defined]
        await quick.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_an_idle_stream_sends_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "PING_S", 0.01)

    async def run() -> None:
        hub = Hub(KnownNodes(), dict)
        stream = hub.stream()
        assert [kind for kind, _ in await first(stream, 3)] == ["hello", "ping", "ping"]
        hub.close()
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_a_node_whose_status_is_cleared_is_forgotten() -> None:
    rooms = KnownNodes()
    rooms.update(StatusMessage(node="attic", online=False))
    decoded = decode_message("serd", "serd/attic/state", b"")
    assert isinstance(decoded, ClearedMessage)
    assert not rooms.clear(decoded)  # only a cleared status forgets the node
    assert rooms.update(decoded) is None
    cleared = decode_message("serd", "serd/attic/status", b"")
    assert isinstance(cleared, ClearedMessage)
    assert rooms.clear(cleared)
    assert rooms.get("attic") is None
    assert not rooms.clear(cleared)
