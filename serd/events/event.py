"""The event: what serd says about one utterance, on MQTT and in the journal.

Its JSON form is a contract with all subscribers; ``event.schema.json`` beside this module, which is
generated from :class:`Event`, states it for machines. While ``schema`` is 1, fields may be added,
but none is removed or changed.

Numbers are rounded once, when the event is made, to what the journal stores. So an event that is
read from the journal and sent again has the same bytes as before.
"""

import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from serd.audio import FLOOR_DBFS
from serd.events.clock import check_timestamp, rfc3339
from serd.events.payload import (
    Attribute,
    Axis,
    EmotionName,
    GreatestOf,
    Number,
    Scores,
    Share,
    Timestamp,
    field,
)
from serd.model.emotions import EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    from serd.model.decision import Prediction

SCHEMA_VERSION: Final = 1
"""``schema`` of the events that this version writes and reads."""

SCORE_UNITS: Final = 10_000
"""Scores are multiples of 1 / ``SCORE_UNITS`` and sum to exactly 1."""

UNNUMBERED: Final = 0
"""``seq`` of an event that the journal has not numbered yet; numbers start at 1."""

DURATION_MAX_S: Final = 3.0
"""``duration_s`` of the longest utterance."""

TEXT_MAX: Final = 200
"""Longest name in an event, characters."""

_ID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_SEQ_MAX: Final = 2**63 - 1
_SUM_TOLERANCE: Final = 0.01
_SHOWN: Final = 40

DIGEST_LENGTH: Final = 12
"""Hex digits of a model's SHA-256 that events contain."""


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which model made the prediction."""

    name: str
    version: str
    sha256: Annotated[
        str,
        Meta(
            pattern=f"^[0-9a-f]{{{DIGEST_LENGTH}}}$",
            description=f"First {DIGEST_LENGTH} hex digits of the model file's SHA-256.",
        ),
    ]


class Single(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says about one utterance on its own; fields as in `Event`."""

    emotion: EmotionName
    confidence: Annotated[
        Share, Meta(description="Calibrated probability of the top class."), GreatestOf("scores")
    ]
    scores: Scores


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What serd says about one utterance.

    The fields are in the order of the JSON text; those that are `UNSET` are left out. With a model
    calibrated for homes, ``emotion``, ``confidence``, ``scores``, ``valence`` and ``arousal`` are
    based on this utterance and on those before it.
    """

    schema: Annotated[
        int,
        Meta(
            ge=1,
            description="Version of this layout; increases on a breaking change.",
            extra_json_schema={"const": SCHEMA_VERSION},
        ),
    ] = SCHEMA_VERSION
    id: Annotated[
        str,
        Meta(
            description="UUIDv7, unique; the same in every redelivery.",
            extra_json_schema={"pattern": f"^{_ID.pattern}$"},
        ),
        Attribute(),
    ]
    node: Annotated[str, Meta(min_length=1, description="Name of the node that heard it.")]
    seq: Annotated[
        int,
        Meta(
            ge=0,
            description="Increases by 1 with each event of the node and is never reused, not even "
            "after a restart; a gap means that events were lost.",
            extra_json_schema={"minimum": 1},
        ),
        Attribute(),
    ] = UNNUMBERED
    started_at: Annotated[
        Timestamp, Meta(description="When the speech began, RFC 3339 UTC."), Attribute()
    ]
    ended_at: Annotated[
        Timestamp, Meta(description="When the speech ended, RFC 3339 UTC."), Attribute()
    ]
    duration_s: Annotated[
        float,
        Meta(ge=0, le=DURATION_MAX_S, description="Seconds of audio that were classified."),
        Number(3, "s"),
        Attribute(),
    ]
    emotion: Annotated[
        EmotionName, Meta(description="The emotion, or `uncertain` when the model abstains.")
    ]
    confidence: Annotated[
        Share,
        Meta(description="Calibrated probability of the top class, also when uncertain."),
        GreatestOf("scores"),
        Attribute(),
    ]
    scores: Annotated[
        Scores,
        Meta(description="Calibrated probability of each class; they sum to 1."),
        Attribute(),
    ]
    valence: Annotated[
        Axis,
        Meta(description="-1 (unpleasant) to 1 (pleasant): expected value under the scores."),
        Attribute(),
    ]
    arousal: Annotated[
        Axis,
        Meta(description="-1 (sleepy) to 1 (aroused): expected value under the scores."),
        Attribute(),
    ]
    level_dbfs: Annotated[
        float,
        Meta(
            ge=FLOOR_DBFS,
            le=0,
            description="RMS level of the utterance; -120 stands for digital silence.",
        ),
        Number(1, "dBFS"),
        Attribute(),
    ]
    model: Annotated[ModelRef, Meta(description="The model that made the prediction.")]
    latency_ms: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(
            description="From the arrival of the utterance's last sample to the first hand-over to "
            "MQTT.",
        ),
        Number(1, "ms"),
        Attribute(),
    ] = None
    """``None`` (JSON ``null``) only before that hand-over: never in a message, but in a listing of
    the journal for an event that has not been sent yet."""
    utterance: Annotated[
        Single | UnsetType,
        Meta(
            description="The result for this utterance alone; the event's own fields of the same "
            "names also use the utterances before it. Absent unless the model is calibrated for "
            "homes."
        ),
        Attribute(),
    ] = UNSET
    gathered: Annotated[
        Annotated[int, Meta(ge=1)] | UnsetType,
        Meta(
            description="Number of utterances that the result is based on, including this one. "
            "Absent unless the model is calibrated for homes."
        ),
        Attribute(),
    ] = UNSET
    prior: Annotated[
        Share | UnsetType,
        Meta(
            description="Share of neutral and calm utterances that the scores assume. Absent "
            "unless the model is calibrated for homes."
        ),
    ] = UNSET
    adapted: Annotated[
        Annotated[int, Meta(ge=0)] | UnsetType,
        Meta(description="Number of corrections behind the scores. Absent if there are none."),
        Attribute(),
    ] = UNSET
    model_emotion: Annotated[
        EmotionName | UnsetType,
        Meta(
            description="What the model says about this utterance on its own, before corrections. "
            "Absent if there are none."
        ),
        Attribute(),
    ] = UNSET
    model_confidence: Annotated[
        Share | UnsetType,
        Meta(
            description="Calibrated probability of the model's own top class, before corrections. "
            "Absent if there are none."
        ),
        GreatestOf("model_scores"),
        Attribute(),
    ] = UNSET
    model_scores: Annotated[
        Scores | UnsetType,
        Meta(
            description="The model's own probability of each class, before corrections; they sum "
            "to 1. Absent if there are none."
        ),
    ] = UNSET
    cut: Annotated[
        bool | UnsetType,
        Meta(
            description="Whether the utterance was cut at the limit of three seconds while someone "
            "was still speaking; the next event then continues it. Absent in events of older "
            "versions."
        ),
        Attribute(),
    ] = UNSET

    @property
    def own_scores(self) -> dict[str, float]:
        """The model's own scores for this utterance alone, before corrections."""
        return self.single_scores if self.model_scores is UNSET else self.model_scores

    @property
    def single_scores(self) -> dict[str, float]:
        """The scores for this utterance alone."""
        return self.scores if self.utterance is UNSET else self.utterance.scores


def model_ref(name: str, version: str, sha256: str) -> ModelRef:
    """Refer to a model in events; the digest is shortened to its first hex digits."""
    return ModelRef(name=name, version=version, sha256=sha256[:DIGEST_LENGTH].lower())


def make(
    *,
    node: str,
    started_ms: int,
    ended_ms: int,
    duration_s: float,
    prediction: "Prediction",
    level_dbfs: float,
    model: ModelRef,
    utterance: "Prediction | None" = None,
    gathered: int | None = None,
    prior: float | None = None,
    cut: bool | None = None,
    event_id: UUID | None = None,
) -> Event:
    """Make an event that is not numbered yet (``seq`` is 0) and not sent yet (no latency).

    Args:
        node: Name of the node.
        started_ms: When the speech began, milliseconds since 1970.
        ended_ms: When it ended, milliseconds since 1970.
        duration_s: Seconds of audio that were classified.
        prediction: The result.
        level_dbfs: RMS level; minus infinity for silence.
        model: The model that made the prediction.
        utterance: The prediction for this utterance alone, if ``prediction`` is based on more.
        gathered: Number of utterances that ``prediction`` is based on.
        prior: Share of neutral and calm utterances that the scores assume.
        cut: Whether speech went on beyond its end.
        event_id: Used instead of a new UUIDv7.

    Raises:
        ValueError: If the scores, valence, arousal or level are not finite, or a score is negative.
    """
    result = _single(prediction)
    heard = prediction if utterance is None else utterance
    own = None if heard.own is None else _single(heard.own)
    return Event(
        id=str(event_id or uuid7()),
        node=node,
        started_at=rfc3339(started_ms),
        ended_at=rfc3339(ended_ms),
        duration_s=_rounded("duration_s", duration_s),
        emotion=result.emotion,
        confidence=result.confidence,
        scores=result.scores,
        valence=_rounded("valence", min(1.0, max(-1.0, prediction.valence))),
        arousal=_rounded("arousal", min(1.0, max(-1.0, prediction.arousal))),
        level_dbfs=_rounded("level_dbfs", min(0.0, max(FLOOR_DBFS, level_dbfs))),
        model=model,
        utterance=UNSET if utterance is None else _single(utterance),
        gathered=UNSET if gathered is None else gathered,
        prior=UNSET if prior is None else _rounded("prior", prior),
        cut=UNSET if cut is None else cut,
        **({} if own is None else _before_corrections(own, heard.adapted)),
    )


def single(emotion: str, units: Sequence[int]) -> Single:
    """Make a result from scores in whole units.

    Args:
        emotion: One of ``EMOTIONS``, or ``uncertain``.
        units: For each of ``EMOTIONS``, in that order; they sum to ``SCORE_UNITS``.
    """
    return Single(
        emotion=emotion,
        confidence=max(units) / SCORE_UNITS,
        scores={name: n / SCORE_UNITS for name, n in zip(EMOTIONS, units, strict=True)},
    )


def _before_corrections(own: Single, corrections: int) -> dict[str, Any]:
    return {
        "adapted": corrections,
        "model_emotion": own.emotion,
        "model_confidence": own.confidence,
        "model_scores": own.scores,
    }


def _single(prediction: "Prediction") -> Single:
    return single(prediction.emotion, round_scores(prediction.scores, prefer=prediction.emotion))


def round_scores(scores: Mapping[str, float], *, prefer: str = "") -> list[int]:
    """Round probabilities to whole multiples of 1 / ``SCORE_UNITS`` that sum to 1 exactly.

    By largest remainder (Hamilton's method): all are rounded down, and those that lost the most get
    the missing units. The order of two scores is never reversed.

    Args:
        scores: Probability of each emotion; missing ones count as 0. They need not sum to 1
            exactly.
        prefer: The emotion that wins among equal remainders.

    Returns:
        Units for each of ``EMOTIONS``, in that order, summing to ``SCORE_UNITS``.

    Raises:
        ValueError: If a score is negative or not finite, all are 0, or one is not of an emotion.
    """
    values = [float(scores.get(name, 0.0)) for name in EMOTIONS]
    total = math.fsum(values)
    if not (scores.keys() <= set(EMOTIONS) and min(values) >= 0 and 0 < total < math.inf):
        raise ValueError(f"not a probability for each emotion: {dict(scores)}")
    exact = [value / total * SCORE_UNITS for value in values]
    units = [int(value) for value in exact]
    by_loss = sorted(
        range(len(EMOTIONS)),
        # Remainders can be equal though the values are not, when the last digits are lost.
        key=lambda i: (units[i] - exact[i], -values[i], EMOTIONS[i] != prefer, i),
    )
    for i in by_loss[: SCORE_UNITS - sum(units)]:
        units[i] += 1
    return units


def _rounded(name: str, value: float) -> float:
    """Round to the decimals of an event's field."""
    number = field(Event, name).get(Number)
    assert number is not None  # noqa: S101 - for the type checker
    return fixed(value, number.decimals)


def fixed(value: float, decimals: int) -> float:
    """Round to a number of decimals, but never to minus zero, which JSON would show.

    Raises:
        ValueError: If it is not a finite number.
    """
    if not math.isfinite(value):
        raise ValueError(f"not a finite number: {value}")
    return round(float(value), decimals) + 0.0


def encode(event: Event) -> bytes:
    """Encode an event as JSON in UTF-8 on one line; equal events have the same bytes."""
    return msgspec.json.encode(event)


def decode(payload: bytes | str) -> Event:
    """Decode an event. Unknown fields are ignored, because later versions may add some.

    Raises:
        ValueError: If it is not an event of a schema that this version knows; the message says why.
    """
    try:
        event = msgspec.json.decode(payload, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not an event: {error}") from error
    if event.schema != SCHEMA_VERSION:
        raise ValueError(
            f"an event of schema {event.schema}; this version of serd reads {SCHEMA_VERSION}"
        )
    answers = [(event.emotion, event.scores)]
    if event.utterance is not UNSET:
        answers.append((event.utterance.emotion, event.utterance.scores))
    if event.model_emotion is not UNSET and event.model_scores is not UNSET:
        answers.append((event.model_emotion, event.model_scores))
    for emotion, scores in answers:
        if emotion != UNCERTAIN and emotion not in EMOTIONS:
            raise ValueError(f"not an event: unknown emotion {emotion[:_SHOWN]!a}")
        if scores.keys() != set(EMOTIONS):
            raise ValueError("not an event: `scores` does not have exactly the eight emotions")
        if abs(math.fsum(scores.values()) - 1) > _SUM_TOLERANCE:
            raise ValueError("not an event: the sum of `scores` is not 1")
    _check_figures(event)
    return event


def _check_figures(event: Event) -> None:
    """Check what the types cannot express but would break storage or display."""
    try:
        for timestamp in (event.started_at, event.ended_at):
            check_timestamp(timestamp)
    except ValueError as error:
        raise ValueError(f"not an event: {error}") from None
    if not _ID.fullmatch(event.id):
        raise ValueError(f"not an event: `id` is no UUIDv7: {event.id[:_SHOWN]!a}")
    if event.seq > _SEQ_MAX:
        raise ValueError("not an event: `seq` has more than 63 bits")
    for text in (event.node, event.model.name, event.model.version):
        if len(text) > TEXT_MAX or not text.isprintable():
            raise ValueError(
                f"not an event: a name is not printable, or longer than {TEXT_MAX} characters"
            )


_COUNTER_LIMIT: Final = 1 << 12
_COUNTER_SEED_BITS: Final = 11
_TIMESTAMP_MASK: Final = (1 << 48) - 1
_SYSTEM: Final = SystemRandom()  # as the module secrets, which would also load OpenSSL


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Uuid7Factory:
    """Makes strictly increasing UUIDs of version 7, which sort by creation time. Thread-safe.

    Layout (RFC 9562, section 5.7), most significant bit first::

        48 bits  unix_ts_ms   milliseconds since 1970
         4 bits  ver          0111
        12 bits  rand_a       here a counter, see below
         2 bits  var          10
        62 bits  rand_b       random

    ``rand_a`` is the "fixed bit-length dedicated counter" of section 6.2: each millisecond starts
    it at a random number below 2048, and each further identifier within that millisecond raises it
    by one, so the identifiers of one process are strictly increasing. If the counter overflows or
    the wall clock is set back, the timestamp continues from the last one used.

    Args:
        unix_ms: Milliseconds since 1970.
        random_bits: Gives that many random bits as a non-negative integer.
    """

    def __init__(
        self,
        unix_ms: Callable[[], int] = _unix_ms,
        random_bits: Callable[[int], int] = _SYSTEM.getrandbits,
    ) -> None:
        self._unix_ms = unix_ms
        self._random_bits = random_bits
        self._lock = threading.Lock()
        self._last_ms = -1
        self._counter = 0

    def __call__(self) -> UUID:
        """Make the next identifier."""
        with self._lock:
            now = self._unix_ms()
            if now > self._last_ms:
                self._last_ms = now
                self._counter = self._random_bits(_COUNTER_SEED_BITS)
            else:
                self._counter += 1
                if self._counter == _COUNTER_LIMIT:
                    self._last_ms += 1
                    self._counter = self._random_bits(_COUNTER_SEED_BITS)
            stamp, counter = self._last_ms, self._counter
        value = (stamp & _TIMESTAMP_MASK) << 80
        value |= 0x7 << 76 | counter << 64
        value |= 0b10 << 62 | self._random_bits(62)
        return UUID(int=value)


uuid7: Final = Uuid7Factory()
"""This process's factory: ``uuid7()`` makes an identifier."""
