from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from serd.events.state import RoomState, decode_state, encode_state, microphone

STATE = RoomState(
    emotion="happy",
    confidence=0.8123,
    mood="calm",
    mood_valence=0.412,
    mood_arousal=-0.2,
    speech=True,
    muted=False,
    updated_at="2026-03-01T08:15:03.250Z",
    microphone="open",
    name="Küche",
)


def test_the_exact_json() -> None:
    assert encode_state(STATE) == (
        b'{"emotion":"happy","confidence":0.8123,"mood":"calm","mood_valence":0.412,'
        b'"mood_arousal":-0.2,"speech":true,"muted":false,"updated_at":"2026-03-01T08:15:03.250Z",'
        b'"microphone":"open","name":"K\xc3\xbcche","event_id":null,"corrected":null}'
    )


def test_encoding_round_trips_and_unknown_fields_are_ignored() -> None:
    assert decode_state(encode_state(STATE)) == STATE
    assert decode_state(json.dumps(json.loads(encode_state(STATE)) | {"people": 2})) == STATE


@pytest.mark.parametrize("payload", [b"", b"ON", b"{}", b"[1]", b"\xff"])
def test_invalid_states_are_rejected(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a room state"):
        decode_state(payload)


def test_states_of_earlier_versions_are_accepted() -> None:
    older = json.loads(encode_state(STATE))
    del older["microphone"], older["name"]
    state = decode_state(json.dumps(older))
    assert (state.microphone, state.name) == (None, None)
    assert microphone(True, state, "waiting") == "missing"
    assert microphone(True, state, "listening", muted=True) == "muted"
    assert microphone(True, state) == "unknown"


@pytest.mark.parametrize(
    ("online", "reported", "condition", "expected"),
    [
        (True, "open", "listening", "open"),
        (True, "muted", "muted", "muted"),
        (True, "quiet", "quiet", "quiet"),
        (True, "missing", "waiting", "missing"),
        (True, "missing", "listening", "missing"),  # the telemetry may be a minute old
        (True, None, "starting", "unknown"),
        (True, "on fire", None, "unknown"),
        (False, "open", "listening", "offline"),
        (None, "open", "listening", "unknown"),
    ],
)
def test_the_microphone_state_combines_status_state_and_telemetry(
    online: bool | None, reported: str | None, condition: str | None, expected: str
) -> None:
    state = replace(STATE, microphone=reported)
    assert microphone(online, state, condition) == expected
