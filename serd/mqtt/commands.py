"""Commands received over MQTT: parsed strictly and executed on a thread of their own.

Each is a :class:`Command`: a topic, a parser for its payload, and a handler. What cannot be parsed
is ignored, with a warning at most once a minute that says how often it happened.

A *retained* command is ignored too. A broker sends it again at every reconnection, so an ``OFF``
left there months ago would open a microphone that was muted since, and an ``ON`` would mute it
again after each restart of the broker. serd remembers the mute switch itself, also over restarts.
(A command sent with the retain flag while serd is connected arrives as an ordinary one.)

Mute and sensitivity take one word. ``BASE/NODE/correct`` says what an utterance really was:
``{"id": EVENT_ID, "emotion": "happy"}``; ``"emotion": null`` (or ``"not"``) says only that the
published emotion was wrong, and ``"forget": true`` withdraws the correction. ``"id": "last"`` is
the node's latest utterance. Every correction is answered on ``BASE/NODE/correct/result``; a
``"request"`` of the sender's choice comes back there, so that senders tell their answers apart.
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
    """Parse a payload of one word, ignoring case and surrounding white space.

    Returns:
        The word in lower case; None if the payload is too long or not ASCII.
    """
    if len(payload) > _WORD_BYTES_MAX:
        return None
    try:
        return bytes(payload).strip().decode("ascii").lower()
    except UnicodeDecodeError:
        return None


def parse_switch(payload: bytes) -> bool | None:
    """Parse ``ON`` or ``OFF``, ignoring case and white space around it; else None."""
    word = parse_word(payload)
    return None if word is None else _SWITCH.get(word)


def encode_switch(on: bool) -> bytes:
    """``ON`` or ``OFF``."""
    return b"ON" if on else b"OFF"


class Command(NamedTuple):
    """A command that a node accepts."""

    topic: str
    read: Callable[[bytes], Any]
    """Parses a payload, on the publisher's thread. Raises ValueError with a text to follow the
    payload, such as "is neither ON nor OFF"."""
    obey: Callable[[Any], object]
    """Handles the parsed payload, on the commands' own thread; it may block."""
    title: str
    """For the log: "the command to ... failed"."""
    waiting: int = 1
    """Queue length. With 1, only the latest is kept, which suits a switch; with more, dropping the
    oldest is logged."""


def mute_command(topic: str, on_mute: Callable[[bool], object]) -> Command:
    """The command that mutes and unmutes the microphone.

    Args:
        topic: Its topic.
        on_mute: Called with True to mute and False to unmute.
    """
    return Command(topic=topic, read=_read_switch, obey=on_mute, title="mute or unmute")


def _read_switch(payload: bytes) -> bool:
    on = parse_switch(payload)
    if on is None:
        raise ValueError("is neither ON nor OFF")
    return on


def parse_sensitivity(payload: bytes) -> Sensitivity | None:
    """Parse a sensitivity, ignoring case and surrounding white space; None for anything else."""
    word = parse_word(payload)
    return next((name for name in SENSITIVITIES if name == word), None)


def sensitivity_command(topic: str, on_sensitivity: Callable[[Sensitivity], object]) -> Command:
    """The command that sets the sensitivity.

    Args:
        topic: Its topic.
        on_sensitivity: Called with the sensitivity.
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
    """Takes commands from the publisher's thread and executes them on its own.

    A command may block (closing a microphone takes a while). An exception in it is logged and not
    fatal.

    Args:
        known: All commands, each with its own topic.
        warnings: Logs what was ignored.
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
        """Number of messages that were invalid or dropped."""

    @property
    def topics(self) -> list[str]:
        """Topics of all commands."""
        return list(self._known)

    def start(self) -> None:
        """Start the thread that executes commands."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="serd-mqtt-commands", daemon=True
            )
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop after the command in progress; those that wait are dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def receive(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Take a received message; returns at once.

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
        """Wait for the next command; None to stop."""
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
            except Exception:  # noqa: BLE001 - the next command must still work
                _log.exception("the command to %s failed", command.title)


def _shown(payload: bytes) -> str:
    """The beginning of a payload, escaped for a terminal."""
    more = ", ..." if len(payload) > _SHOWN else ""
    return ascii(bytes(payload[:_SHOWN]))[1:] + more


LAST: Final = "last"
"""The id that stands for the latest utterance."""

CORRECTIONS_QUEUED: Final = 64
"""Queue length for corrections."""

CORRECTION_TIMEOUT_S: Final = 10.0
"""Time limit for a node's answer."""

_REQUEST_BYTES: Final = 1024
_NOTHING: Final = frozenset({"not", "none", "null", ""})
TEXT_MAX: Final = 64
"""Longest text in a correction, in characters."""

_UNMARKED_S: Final = 2.0
"""An answer that may belong to another sender is taken for ours if no other follows within this
time: nodes of older versions do not return `request`."""


class CorrectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A correction as received."""

    id: str
    """Id of the event in lower case, or `LAST`."""
    emotion: str | None = None
    """The right emotion in lower case, not yet checked; None: only that it was wrong."""
    forget: bool = False
    """Whether to withdraw the correction of this utterance."""
    request: str | None = None
    """Chosen by the sender, to recognise the answer."""


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
    request: Annotated[
        str | None, Meta(description="The `request` of the command; null if it had none.")
    ] = None


def encode_correction(request: CorrectRequest) -> bytes:
    """Encode a correction as JSON."""
    content: dict[str, Any] = {"id": request.id, "emotion": request.emotion}
    if request.forget:
        content = {"id": request.id, "forget": True}
    if request.request is not None:
        content["request"] = request.request
    return msgspec.json.encode(content)


def parse_correction(payload: bytes) -> CorrectRequest:
    """Parse a correction far enough to answer it; the emotion is not checked.

    Raises:
        ValueError: It names no utterance; the text follows the payload.
    """
    wrong = 'is not of the form {"id": EVENT_ID, "emotion": "happy"}'
    if len(payload) > _REQUEST_BYTES:
        raise ValueError(wrong)
    try:
        content = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(wrong) from error
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise ValueError(wrong)  # noqa: TRY004 - the payload is wrong, not the caller
    if "emotion" not in content and content.get("forget") is not True:
        raise ValueError(wrong)
    mark = content.get("request")
    return CorrectRequest(
        id=content["id"].strip().lower()[:TEXT_MAX],
        emotion=_emotion(content),
        forget=content.get("forget") is True,
        request=mark if isinstance(mark, str) and len(mark) <= TEXT_MAX else None,
    )


def _emotion(content: Mapping[str, Any]) -> str | None:
    said = content.get("emotion")
    if said is None:
        return None
    if not isinstance(said, str):
        return ascii(said)[:TEXT_MAX]
    word = said.strip().lower()[:TEXT_MAX]
    return None if word in _NOTHING else word


def check_emotion(emotion: str | None) -> None:
    """Check the emotion of a correction.

    Raises:
        ValueError: It is unknown; the text lists those that exist.
    """
    if emotion is not None and emotion not in EMOTIONS:
        known = ", ".join(EMOTIONS)
        raise ValueError(f"{emotion!a} is no emotion; there are {known}, and not")


def encode_result(result: CorrectResult, request: CorrectRequest) -> bytes:
    """Encode the answer to a command as JSON on one line."""
    return msgspec.json.encode(msgspec.structs.replace(result, request=request.request))


def decode_result(payload: bytes) -> CorrectResult:
    """Decode an answer; unknown fields are ignored.

    Raises:
        ValueError: It is not an answer; the text says why.
    """
    try:
        return msgspec.json.decode(payload, type=CorrectResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not an answer to a correction: {error}") from error


def send_correction(access: Access, topics: Topics, request: CorrectRequest) -> CorrectResult:
    """Send a correction over its own connection, and wait for the node's answer.

    Args:
        access: Address and login of the broker.
        topics: The node's topics.
        request: The correction.

    Raises:
        UnavailableError: The broker cannot be reached, or the node does not answer.
    """
    from serd.mqtt.link import Link  # noqa: PLC0415 - loads the client library

    link = Link(access, f"serd-correct-{os.urandom(4).hex()}")
    link.open()
    try:
        link.subscribe([topics.correct_result, topics.status])
        deadline = time.monotonic() + CORRECTION_TIMEOUT_S
        if link.wait_for_subscription(CORRECTION_TIMEOUT_S) is False:
            raise UnavailableError(
                f"the broker does not let us read {topics.correct_result}",
                remedy="check its access list (docs/personal.md)",
            )
        request = msgspec.structs.replace(request, request=os.urandom(8).hex())
        before = [message for message in link.received if message.topic == topics.status]
        link.received.clear()  # an answer that came before the question
        link.received.extend(before)
        # Not retained, because nodes ignore retained commands.
        link.publish(topics.correct, encode_correction(request), qos=1, retain=False)
        online = True
        unmarked: CorrectResult | None = None
        while (left := deadline - time.monotonic()) > 0:
            while link.received:
                message = link.received.popleft()
                payload = bytes(message.payload)
                if message.topic == topics.status:
                    online = payload != b"offline"
                # Nodes do not retain answers; somebody may have done so, a long time ago.
                elif not message.retain and (result := _answer_to(request, payload)) is not None:
                    if result.request is not None:
                        return result
                    if unmarked is None:
                        unmarked = result
                        deadline = min(deadline, time.monotonic() + _UNMARKED_S)
            link.step(left)
        if unmarked is not None:
            return unmarked
    finally:
        link.close()
    if not online:
        raise UnavailableError(f"{topics.node} is offline and heard nothing of the correction")
    raise UnavailableError(
        f"{topics.node} has not answered within {CORRECTION_TIMEOUT_S:g} s",
        remedy=f"is a node of that name running, and may this login write to {topics.correct}?",
    )


def _answer_to(request: CorrectRequest, payload: bytes) -> CorrectResult | None:
    """The answer to a request, or what may be one because it has no mark; else None."""
    try:
        result = decode_result(payload)
    except ValueError:
        return None
    if result.request is not None:
        return result if result.request == request.request else None
    return result if request.id in (LAST, result.id) else None
