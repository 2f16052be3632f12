"""Commands received over MQTT: read strictly, carried out on a thread of their own.

Each is a :class:`Command`: a topic, how its payload is read, and what is done then. What cannot be
read is ignored, with a warning that is repeated at most once a minute and says how often.

A *retained* command is ignored too. A broker replays it at every reconnection, so an ``OFF``
somebody left there months ago would open a microphone that was muted since, and an ``ON`` would
make serd deaf again after each broker restart. The mute state needs no such help: serd keeps it
itself, also across restarts. (A command that is sent with the retain flag while serd is connected
arrives as an ordinary one and is obeyed.)
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from serd.errors import UnavailableError
from serd.logs import RepeatedWarnings
from serd.model.emotions import EMOTIONS
from serd.model.metadata import SENSITIVITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from serd.config import Sensitivity
    from serd.mqtt.access import Access
    from serd.mqtt.topics import Topics

_log = logging.getLogger(__name__)

_SWITCH: Final = {"on": True, "off": False}
_WORD_BYTES_MAX: Final = 64
_SHOWN: Final = 40
_UNKNOWN: Final = "another topic"


def parse_word(payload: bytes) -> str | None:
    """A payload that is one word: in lower case, without surrounding white space.

    Returns:
        The word; None if it is longer than any that means something, or not ASCII.
    """
    if len(payload) > _WORD_BYTES_MAX:
        return None
    try:
        return bytes(payload).strip().decode("ascii").lower()
    except UnicodeDecodeError:
        return None


def parse_switch(payload: bytes) -> bool | None:
    """True for ``ON``, False for ``OFF``, in any case and between white space; else None."""
    word = parse_word(payload)
    return None if word is None else _SWITCH.get(word)


def encode_switch(on: bool) -> bytes:
    """``ON`` or ``OFF``."""
    return b"ON" if on else b"OFF"


class Command(NamedTuple):
    """One thing that a node can be told to do."""

    topic: str
    read: Callable[[bytes], Any]
    """Reads a payload, on the network thread. Raises ValueError with the end of a sentence that
    begins with the payload, for example "is neither ON nor OFF"."""
    obey: Callable[[Any], object]
    """Does what was read, on the commands' own thread; it may block."""
    title: str
    """For the log, if it fails: "the command to ..."."""
    waiting: int = 1
    """How many may wait. With 1 only the latest does, as is right for a switch; beyond it, the
    oldest is dropped and warned of."""


def mute_command(topic: str, on_mute: Callable[[bool], object]) -> Command:
    """The switch of the microphone.

    Args:
        topic: Where it comes.
        on_mute: Called with True to mute and False to unmute.
    """
    return Command(topic=topic, read=_read_switch, obey=on_mute, title="mute or unmute")


def _read_switch(payload: bytes) -> bool:
    on = parse_switch(payload)
    if on is None:
        raise ValueError("is neither ON nor OFF")
    return on


def parse_sensitivity(payload: bytes) -> Sensitivity | None:
    """``low``, ``normal`` or ``high``, in any case and between white space; else None."""
    word = parse_word(payload)
    return next((name for name in SENSITIVITIES if name == word), None)


def sensitivity_command(topic: str, on_sensitivity: Callable[[Sensitivity], object]) -> Command:
    """How readily emotions are told.

    Args:
        topic: Where it comes.
        on_sensitivity: Called with what is wanted.
    """
    return Command(
        topic=topic, read=_read_sensitivity, obey=on_sensitivity, title="set the sensitivity"
    )


def _read_sensitivity(payload: bytes) -> Sensitivity:
    sensitivity = parse_sensitivity(payload)
    if sensitivity is None:
        raise ValueError("is none of low, normal and high")
    return sensitivity


class Commands:
    """Takes commands from the network thread and carries them out on its own.

    A command may block (closing a microphone takes a while). An exception in it is logged, not
    fatal.

    Args:
        known: All commands, each with a topic of its own.
        warnings: What was ignored is said there.
    """

    def __init__(
        self, known: Sequence[Command], *, warnings: RepeatedWarnings | None = None
    ) -> None:
        self._known = {command.topic: command for command in known}
        self._warnings = warnings or RepeatedWarnings(_log)
        self._waiting: dict[str, deque[Any]] = {topic: deque() for topic in self._known}
        self._stopping = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.ignored = 0
        """Messages that were no valid command, or came faster than they could be carried out."""

    @property
    def topics(self) -> list[str]:
        """Where commands come."""
        return list(self._known)

    def start(self) -> None:
        """Start the thread that carries commands out."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="serd-mqtt-commands", daemon=True
            )
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop after the command in progress; one that waits is dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def receive(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Take a message as it came; returns at once.

        Returns:
            Whether it was a valid command.
        """
        command = self._known.get(topic)
        if command is None:
            self._ignore(_UNKNOWN, f"{_shown(topic.encode())} is the topic of no command")
            return False
        if retained:
            self._ignore(
                topic, "a retained command is not obeyed; publish it without the retain flag"
            )
            return False
        try:
            wanted = command.read(payload)
        except ValueError as error:
            self._ignore(topic, f"{_shown(payload)} {error}")
            return False
        with self._changed:
            waiting = self._waiting[topic]
            waiting.append(wanted)
            dropped = len(waiting) > command.waiting
            if dropped:
                waiting.popleft()
            self._changed.notify_all()
        if dropped and command.waiting > 1:
            self._ignore(topic, "commands come faster than they can be carried out")
        return True

    def _ignore(self, topic: str, reason: str) -> None:
        self.ignored += 1
        self._warnings.warn(topic, f"ignored a message on {topic}: {reason}")

    def _next(self) -> tuple[Command, Any] | None:
        """The next command to carry out, waited for; None to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or any(self._waiting.values()))
            if self._stopping:
                return None
            topic = next(topic for topic, waiting in self._waiting.items() if waiting)
            return self._known[topic], self._waiting[topic].popleft()

    def _run(self) -> None:
        while (found := self._next()) is not None:
            command, wanted = found
            try:
                command.obey(wanted)
            except Exception:  # noqa: BLE001 (whatever it is, the next command must still work)
                _log.exception("the command to %s failed", command.title)


def _shown(payload: bytes) -> str:
    """The beginning of a payload, harmless on a terminal."""
    more = ", ..." if len(payload) > _SHOWN else ""
    return ascii(bytes(payload[:_SHOWN]))[1:] + more


LAST: Final = "last"
"""As an id: the latest utterance."""

WAITING: Final = 64
"""Corrections that may wait to be taken; beyond it the oldest are dropped and warned of."""

PATIENCE_S: Final = 10.0
"""How long a node may take to answer."""

_REQUEST_BYTES: Final = 1024
_NOTHING: Final = frozenset({"not", "none", "null", ""})
_TEXT_MAX: Final = 64


class CorrectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says of an utterance, as it came."""

    id: str
    """Of the event, in lower case; or `LAST`."""
    emotion: str | None = None
    """What it really was, in lower case, perhaps no emotion; None: not what was told."""
    forget: bool = False
    """Take back what was said of it."""


class CorrectResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a correction.

    Payload of ``correct/result``; the fields are in the order of the JSON text.
    """

    id: Annotated[
        str, Meta(description="As in the command; for `last`, the id of the event it stood for.")
    ]
    ok: Annotated[bool, Meta(description="Whether the node accepted it.")]
    message: Annotated[
        str, Meta(description="One sentence: what was understood, or why it was refused.")
    ]
    corrections: Annotated[int, Meta(description="How many corrections the node now learns from.")]
    emotion: Annotated[
        str | None,
        Meta(
            description="What is now recorded for that utterance: an emotion, or `not`; null: "
            "nothing."
        ),
    ] = None


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
        id=content["id"].strip().lower()[:_TEXT_MAX],
        emotion=_emotion(content),
        forget=content.get("forget") is True,
    )


def _emotion(content: Mapping[str, Any]) -> str | None:
    said = content.get("emotion")
    if said is None:
        return None
    if not isinstance(said, str):
        return ascii(said)[:_TEXT_MAX]
    word = said.strip().lower()[:_TEXT_MAX]
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
        if link.wait_for_subscription(PATIENCE_S) is False:
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
