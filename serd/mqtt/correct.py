"""The command by which people say what an utterance really was, and the answer to it.

``BASE/NODE/correct`` takes ``{"id": EVENT_ID, "emotion": "happy"}``; ``"emotion": null`` (or
``"not"``) says only that it was not what serd had told, and ``"forget": true`` takes back what was
said of that utterance. ``"id": "last"`` is the latest utterance of the node. Each is answered on
``BASE/NODE/correct/result``, also one that is refused.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from serd.errors import UnavailableError
from serd.model.emotions import EMOTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serd.mqtt.access import Access
    from serd.mqtt.topics import Topics

LAST: Final = "last"
"""As an id: the latest utterance."""

WAITING: Final = 64
"""Corrections that may wait to be taken; beyond it the oldest are dropped and warned of."""

PATIENCE_S: Final = 10.0
"""How long a node may take to answer."""

_REQUEST_BYTES: Final = 1024
_NOTHING: Final = frozenset({"not", "none", "null", ""})
_SHOWN: Final = 64


class CorrectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says of an utterance, as it came."""

    id: str
    """Of the event, in lower case; or `LAST`."""
    emotion: str | None = None
    """What it really was, in lower case, perhaps no emotion; None: not what was told."""
    forget: bool = False
    """Take back what was said of it."""


class CorrectResult(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of ``correct/result``. Fields in the order of the JSON text."""

    id: str
    """As it was asked; for `LAST` the event's."""
    ok: bool
    """Whether the node has taken it."""
    message: str
    """One sentence: what was understood, or why it is refused."""
    corrections: int
    """How many corrections the node learns from now."""
    emotion: str | None = None
    """What is now noted of that utterance: an emotion, or ``not``; None (null): nothing."""


def encode_request(request: CorrectRequest) -> bytes:
    """Write a command as JSON, UTF-8."""
    content: dict[str, Any] = {"id": request.id, "emotion": request.emotion}
    if request.forget:
        content = {"id": request.id, "forget": True}
    return msgspec.json.encode(content)


def read_request(payload: bytes) -> CorrectRequest:
    """Read a command as far as that it can be answered; emotions are not looked up here.

    Raises:
        ValueError: It names no utterance; the end of a sentence that begins with the payload.
    """
    wrong = 'is not of the form {"id": EVENT_ID, "emotion": "happy"}'
    if len(payload) > _REQUEST_BYTES:
        raise ValueError(wrong)
    try:
        content = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(wrong) from error
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise ValueError(wrong)  # noqa: TRY004 - what came is wrong, not who called
    if "emotion" not in content and content.get("forget") is not True:
        raise ValueError(wrong)
    return CorrectRequest(
        id=content["id"].strip().lower()[:_SHOWN],
        emotion=_emotion(content),
        forget=content.get("forget") is True,
    )


def _emotion(content: Mapping[str, Any]) -> str | None:
    said = content.get("emotion")
    if said is None:
        return None
    if not isinstance(said, str):
        return ascii(said)[:_SHOWN]
    word = said.strip().lower()[:_SHOWN]
    return None if word in _NOTHING else word


def check_emotion(emotion: str | None) -> None:
    """See that an emotion is one.

    Raises:
        ValueError: With a sentence that lists them.
    """
    if emotion is not None and emotion not in EMOTIONS:
        known = ", ".join(EMOTIONS)
        raise ValueError(f"{emotion!a} is no emotion; there are {known}, and not")


def encode_result(result: CorrectResult) -> bytes:
    """Write an answer as JSON, UTF-8, on one line."""
    return msgspec.json.encode(result)


def decode_result(payload: bytes) -> CorrectResult:
    """Read an answer; unknown fields are ignored.

    Raises:
        ValueError: If it is none; the text says why.
    """
    try:
        return msgspec.json.decode(payload, type=CorrectResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not an answer to a correction: {error}") from error


def send(access: Access, topics: Topics, request: CorrectRequest) -> CorrectResult:
    """Send a correction over a connection of its own, and wait for the node's answer.

    Args:
        access: The way to the broker.
        topics: Of the node.
        request: What is to be said.

    Raises:
        UnavailableError: The broker cannot be reached, or the node does not answer.
    """
    from serd.mqtt.link import Link  # noqa: PLC0415 - the client library, for who sends

    link = Link(access, f"serd-correct-{os.urandom(4).hex()}")
    link.open()
    try:
        link.subscribe([topics.correct_result, topics.status])
        deadline = time.monotonic() + PATIENCE_S
        while link.subscription is None and time.monotonic() < deadline:
            link.step(PATIENCE_S)
        if link.subscription is False:
            raise UnavailableError(
                f"the broker does not let us read {topics.correct_result}",
                remedy="check its access list (docs/personal.md)",
            )
        # Not retained: a node ignores retained commands, which a broker would repeat.
        link.publish(topics.correct, encode_request(request), qos=1, retain=False)
        online = True
        while (left := deadline - time.monotonic()) > 0:
            while link.received:
                message = link.received.popleft()
                if message.topic == topics.status:
                    online = bytes(message.payload) != b"offline"
                elif (result := _answer_to(request, bytes(message.payload))) is not None:
                    return result
            link.step(left)
    finally:
        link.close()
    if not online:
        raise UnavailableError(f"{topics.node} is offline and heard nothing of the correction")
    raise UnavailableError(
        f"{topics.node} has not answered within {PATIENCE_S:g} s",
        remedy=f"is a node of that name running, and may this login write to {topics.correct}?",
    )


def _answer_to(request: CorrectRequest, payload: bytes) -> CorrectResult | None:
    try:
        result = decode_result(payload)
    except ValueError:
        return None
    return result if request.id in (LAST, result.id) else None
