"""Messages are decoded tolerantly; invalid ones are rejected with a reason."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from serd.events.event import encode
from serd.events.state import encode_state
from serd.mqtt.messages import (
    ClearedMessage,
    EventMessage,
    Message,
    MuteMessage,
    SensitivityMessage,
    SpeechMessage,
    StateMessage,
    StatusMessage,
    TelemetryMessage,
    decode_message,
)
from serd.mqtt.topics import KINDS, Kind
from tests.mqtt.samples import new_event, poison, room

EVENT = replace(new_event(), seq=7, latency_ms=12.5)


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        ("emotion", encode(EVENT), EventMessage(node="attic", event=EVENT)),
        ("state", encode_state(room()), StateMessage(node="attic", state=room())),
        ("status", b"online", StatusMessage(node="attic", online=True)),
        ("status", b"offline", StatusMessage(node="attic", online=False)),
        ("speech", b"ON", SpeechMessage(node="attic", on=True)),
        ("mute", b"OFF", MuteMessage(node="attic", on=False)),
        ("sensitivity", b"high", SensitivityMessage(node="attic", sensitivity="high")),
        ("telemetry", b'{"a":1}', TelemetryMessage(node="attic", figures={"a": 1})),
    ],
)
def test_each_kind_of_message_is_decoded(kind: str, payload: bytes, message: Message) -> None:
    assert decode_message("serd", f"serd/attic/{kind}", payload) == message


def test_fields_of_newer_versions_are_ignored() -> None:
    later = json.loads(encode(EVENT)) | {"speaker": "x"}
    message = decode_message("serd", "serd/attic/emotion", json.dumps(later).encode())
    assert message == EventMessage(node="attic", event=EVENT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("payload", [b"\xff", b"[]", b"{", b'"online"', b"[" * 100_000, b"{}\0"])
def test_invalid_payloads_are_rejected(kind: str, payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        decode_message("serd", f"serd/attic/{kind}", payload)


# Numbered, since an event's id differs at each collection of tests.
@pytest.mark.parametrize(("topic", "payload"), poison(), ids=itertools.count())
def test_messages_that_once_ended_followers_are_rejected(topic: str, payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        decode_message("serd", topic, payload)


def test_telemetry_is_limited_in_size_and_to_flat_values() -> None:
    sent = {"uptime_s": 1, "version": "x" * 5000, "big": 10**30, "deep": {"a": [1]}, "n" * 100: 1}
    payload = json.dumps(sent | {f"f{number}": number for number in range(5000)}).encode()
    message = decode_message("serd", "serd/attic/telemetry", payload)
    assert isinstance(message, TelemetryMessage)
    assert message.figures["uptime_s"] == 1
    assert len(message.figures["version"]) == 200
    assert message.figures.keys().isdisjoint({"big", "deep", "n" * 100})
    assert len(message.figures) == 100


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_payload_means_a_cleared_topic(kind: Kind) -> None:
    cleared = decode_message("serd", f"serd/attic/{kind}", b"")
    assert cleared == ClearedMessage(node="attic", kind=kind)


def test_other_topics_are_ignored() -> None:
    assert decode_message("serd", "serd/attic/mute/set", b"ON") is None
    assert decode_message("serd", "other/attic/mute", b"ON") is None


@given(kind=st.sampled_from(KINDS), payload=st.binary() | st.text().map(str.encode))
@pytest.mark.slow
def test_any_payload_is_a_message_or_a_value_error(kind: str, payload: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode_message("serd", f"serd/attic/{kind}", payload)
