"""What is kept of the messages, however they look; who is told, and how much waits."""

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


def test_a_room_is_what_its_messages_say() -> None:
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
    told = decode_message("serd", "serd/attic/state", state(event, mood="sad"))
    assert told
    assert rooms.update(told)
    room = rooms.get("attic")
    assert room is not None
    said = room.as_dict()
    assert (said["online"], said["speech"], said["muted"], said["mood"]) == (
        True, True, False, "sad",
    )  # fmt: skip
    assert said["event"] == event
    assert (said["emotion"], said["confidence"]) == (event.emotion, event.confidence)
    assert said["seen_ms"] == 5
    assert said["sensitivity"] == "low"
    rooms.update(StatusMessage(node="attic", online=False))
    assert room.as_dict()["speech"] is False  # it cannot know any more


def test_before_the_first_event_the_state_tells_the_emotion() -> None:
    rooms = KnownNodes()
    event = made_event("attic", 3, 1_700_000_000_000, "sad")
    told = decode_message("serd", "serd/attic/state", state(event))
    assert told
    rooms.update(told)
    room = rooms.get("attic")
    assert room is not None
    said = room.as_dict()
    assert (said["emotion"], said["confidence"], said["event"]) == ("sad", 0.7, None)


def test_gaps_are_counted_and_late_events_do_not_go_back() -> None:
    rooms = KnownNodes()
    for seq in (4, 5, 9, 6):
        event = made_event("attic", seq, 1_700_000_000_000 + seq * 4000)
        rooms.update(EventMessage(node="attic", event=event))
    room = rooms.get("attic")
    assert room is not None
    assert room.missed == 3
    assert room.event is not None
    assert room.event.seq == 9


def test_an_event_belongs_to_the_topic_on_which_it_came() -> None:
    rooms = KnownNodes()
    rooms.update(EventMessage(node="attic", event=made_event("bedroom", 1, 1_700_000_000_000)))
    assert [room.name for room in rooms] == ["attic"]
    room = rooms.get("attic")
    assert room is not None
    assert room.event is not None
    assert room.event.node == "attic"


def test_strangers_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_browser_is_told_everything_and_then_what_changes() -> None:
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
        # A hundred changes of one room are one message.
        for _ in range(100):
            rooms.update(EventMessage(node="attic", event=event))
            hub.node_changed("attic")
        hub.add_event(event)
        hub.info_changed()
        told = await first(stream, 1)
        assert [kind for kind, _ in told] == ["info", "events", "rooms"]
        assert told[1][1] == [json.loads(encode(event))]
        hub.close()
        assert [chunk async for chunk in stream] == []
        assert (len(hub), hub.full) == (0, True)

    asyncio.run(run())


def test_a_slow_browser_loses_the_oldest_and_is_told() -> None:
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


def test_a_quiet_stream_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
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
    told = decode_message("serd", "serd/attic/state", b"")
    assert isinstance(told, ClearedMessage)
    assert not rooms.clear(told)  # a value alone says nothing of the node
    assert rooms.update(told) is None
    cleared = decode_message("serd", "serd/attic/status", b"")
    assert isinstance(cleared, ClearedMessage)
    assert rooms.clear(cleared)
    assert rooms.get("attic") is None
    assert not rooms.clear(cleared)
