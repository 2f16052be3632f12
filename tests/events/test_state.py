from __future__ import annotations

import json

import pytest

from serd.events.state import RoomState, decode_state, encode_state

STATE = RoomState(
    emotion="happy",
    confidence=0.8123,
    mood="calm",
    mood_valence=0.412,
    mood_arousal=-0.2,
    speech=True,
    muted=False,
    updated_at="2026-03-01T08:15:03.250Z",
)


def test_the_json_to_the_letter() -> None:
    assert encode_state(STATE) == (
        b'{"emotion":"happy","confidence":0.8123,"mood":"calm","mood_valence":0.412,'
        b'"mood_arousal":-0.2,"speech":true,"muted":false,"updated_at":"2026-03-01T08:15:03.250Z"}'
    )


def test_what_is_encoded_is_decoded_and_unknown_fields_are_ignored() -> None:
    assert decode_state(encode_state(STATE)) == STATE
    assert decode_state(json.dumps(json.loads(encode_state(STATE)) | {"people": 2})) == STATE


@pytest.mark.parametrize("payload", [b"", b"ON", b"{}", b"[1]", b"\xff"])
def test_what_is_no_state_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a room state"):
        decode_state(payload)
