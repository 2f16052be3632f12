"""The state of a room: the mood, and the retained ``state`` message with it."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from serd.events.clock import check_timestamp
from serd.events.payload import Axis, EmotionName, Sensor, Share, Timestamp
from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN

REPEAT_S: Final = 30.0
"""The state is published at least this often, because the mood fades in silence."""

Microphone: TypeAlias = Literal["open", "muted", "quiet", "missing", "offline", "unknown"]
"""State of a room's microphone: open; closed by the mute switch; closed in quiet hours; needed but
missing; the node is offline; nothing is known of the node. Every front end shows one of these, as
determined by :func:`microphone`."""

MICROPHONE_STATES: Final = ("open", "muted", "quiet", "missing")
"""Those that a node reports itself, in its state."""

_BY_CONDITION: Final[dict[str, Microphone]] = {
    "listening": "open", "muted": "muted", "quiet": "quiet", "waiting": "missing",
}  # fmt: skip
"""State of the microphone by the telemetry's ``condition``."""


class RoomState(msgspec.Struct, frozen=True, kw_only=True):
    """State of a room.

    Payload of the ``state`` topic; the fields are in the order of the JSON text.
    """

    emotion: Annotated[
        EmotionName | None,
        Meta(description="Of the latest event; null until there has been one."),
        Sensor(
            "Emotion",
            icon="mdi:emoticon-outline",
            device_class="enum",
            options=(*EMOTIONS, UNCERTAIN),
        ),
    ]
    confidence: Annotated[
        Share | None,
        Meta(description="Of the latest event; null until there has been one."),
        Sensor(
            "Confidence",
            icon="mdi:percent",
            unit="%",
            state_class="measurement",
            precision=0,
            template="(value_json.confidence * 100) | round(1) "
            "if value_json.confidence is number else none",
        ),
    ]
    mood: Annotated[
        str,
        Meta(
            description="What the room has sounded like lately: one of the emotions. Each "
            "utterance counts half after `mood.half_life_s`, and another emotion must lead by "
            "`mood.margin` before the mood changes.",
            extra_json_schema={"enum": [*EMOTIONS]},
        ),
        Sensor("Mood", icon="mdi:home-heart", device_class="enum", options=EMOTIONS, expires=True),
    ]
    mood_valence: Annotated[
        Axis,
        Meta(description="-1 (unpleasant) to 1 (pleasant); moves smoothly."),
        Sensor(
            "Valence",
            key="valence",
            icon="mdi:thumbs-up-down-outline",
            state_class="measurement",
            precision=2,
            expires=True,
        ),
    ]
    mood_arousal: Annotated[
        Axis,
        Meta(description="-1 (sleepy) to 1 (aroused); moves smoothly."),
        Sensor(
            "Arousal",
            key="arousal",
            icon="mdi:pulse",
            state_class="measurement",
            precision=2,
            expires=True,
        ),
    ]
    speech: Annotated[bool, Meta(description="Whether someone is speaking now.")]
    muted: Annotated[bool, Meta(description="Whether the microphone is closed.")]
    updated_at: Annotated[
        Timestamp,
        Meta(
            description="When this was published, RFC 3339 UTC: every 30 seconds at least, because "
            "the mood fades in silence."
        ),
    ]
    microphone: Annotated[
        str | None,
        Meta(
            description="`open`, `muted`, `quiet` (quiet hours) or `missing`; null before it is "
            "known and after a recording has ended.",
            extra_json_schema={"enum": [*MICROPHONE_STATES]},
        ),
        Sensor(
            "Microphone",
            icon="mdi:microphone",
            device_class="enum",
            options=MICROPHONE_STATES,
            expires=True,
        ),
    ] = None
    name: Annotated[
        str | None,
        Meta(description="What people call the room (the key `name`); null if it has no name."),
    ] = None
    event_id: Annotated[
        str | None,
        Meta(description="The `id` of the latest event; null until there was one."),
    ] = None
    corrected: Annotated[
        str | None,
        Meta(
            description="How people have corrected it since: an emotion, or `not`; null: nothing.",
            extra_json_schema={"enum": [*EMOTIONS, "not"]},
        ),
    ] = None


def microphone_in(condition: str | None) -> Microphone | None:
    """State of the microphone in a condition of the telemetry; None if that does not tell."""
    return _BY_CONDITION.get(condition or "")


def microphone(
    online: bool | None,
    state: RoomState | None,
    condition: str | None = None,
    *,
    muted: bool | None = None,
) -> Microphone:
    """State of a node's microphone, from the node's messages.

    Args:
        online: Its status; None if none was received.
        state: Its latest state, if there is one.
        condition: That of its latest telemetry, because states of older versions have no
            microphone.
        muted: Its mute switch, for the same reason.
    """
    if online is False:
        return "offline"
    if online is None:
        return "unknown"
    for one in MICROPHONE_STATES:
        if state is not None and state.microphone == one:
            return one
    return "muted" if muted else microphone_in(condition) or "unknown"


def encode_state(state: RoomState) -> bytes:
    """Encode a state as JSON in UTF-8 on one line."""
    return msgspec.json.encode(state)


def decode_state(payload: bytes | str) -> RoomState:
    """Decode a state; unknown fields are ignored.

    Raises:
        ValueError: If it is not a state; the message says why.
    """
    try:
        state = msgspec.json.decode(payload, type=RoomState)
        check_timestamp(state.updated_at)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a room state: {error}") from error
    if state.emotion not in {None, UNCERTAIN, *EMOTIONS} or state.mood not in EMOTIONS:
        raise ValueError("not a room state: unknown emotion")
    return state


NEUTRAL_WEIGHT: Final = 2.0
"""N: neutral counts as much as this many utterances that have just ended."""

_NEUTRAL: Final = EMOTIONS.index("neutral")


class MoodReading(msgspec.Struct, frozen=True, kw_only=True):
    """The mood at a point in time."""

    mood: str
    """One of ``EMOTIONS``."""
    valence: float
    """Unpleasant -1 .. 1 pleasant, expectation under ``shares``; unrounded."""
    arousal: float
    """Sleepy -1 .. 1 aroused, expectation under ``shares``; unrounded."""
    shares: dict[str, float]
    """The smoothed scores of all ``EMOTIONS``; they sum to 1."""


class Mood:
    """The mood of one room: what it has sounded like lately, smoothed. Not thread-safe.

    Each utterance counts with a weight of 1 when it ends, and that weight halves with every
    half-life that passes. Against all of them stands a constant weight of *neutral*::

        m(t) = (N * neutral + sum_i 2^(-(t - t_i) / h) * scores_i) / (N + sum_i 2^(-(t - t_i) / h))

    So a single utterance moves the mood a little, several that agree turn it, and in silence it
    fades to neutral, whatever the intervals between utterances. The sum decays as a whole, so no
    utterance has to be remembered.

    The mood's name changes only when another class leads by a margin, so that it does not flip
    between two that are equally likely.

    The result depends only on the scores and times passed in: there is no clock inside, and
    reading the mood does not change it.

    Args:
        half_life_s: Seconds after which an utterance counts half.
        margin: How far another class must lead (difference of shares, 0..1) to become the mood.

    Raises:
        ValueError: If the half-life is not positive, or the margin is not in [0, 1).
    """

    def __init__(self, half_life_s: float = 60.0, margin: float = 0.1) -> None:
        if not half_life_s > 0:
            raise ValueError(f"a half-life of {half_life_s} s")
        if not 0 <= margin < 1:
            raise ValueError(f"a margin of {margin}")
        self._half_life_s = half_life_s
        self._margin = margin
        self._sums = [0.0] * len(EMOTIONS)
        self._weight = 0.0
        self._moment: float | None = None
        self._label = _NEUTRAL

    def update(self, scores: Mapping[str, float], moment: float) -> MoodReading:
        """Take an utterance that has ended.

        Args:
            scores: Its probabilities; missing ones count as 0.
            moment: When it ended, monotonic seconds. A time before the latest one counts as that.
        """
        decay = self._decay(moment)
        # In silence, neutral may have taken over. That is settled before the new utterance counts,
        # so that the mood does not depend on whether it was read in the meantime.
        self._label = self._leader(self._shares(decay))
        values = [scores.get(name, 0.0) for name in EMOTIONS]
        self._sums = [s * decay + v for s, v in zip(self._sums, values, strict=True)]
        self._weight = self._weight * decay + sum(values)
        self._moment = moment if self._moment is None else max(moment, self._moment)
        self._label = self._leader(self._shares(1.0))
        return self.read(self._moment)

    def read(self, moment: float) -> MoodReading:
        """The mood at a time of the same clock."""
        shares = self._shares(self._decay(moment))
        named = dict(zip(EMOTIONS, shares, strict=True))
        return MoodReading(
            mood=EMOTIONS[self._leader(shares)],
            valence=sum(share * COORDINATES[name][0] for name, share in named.items()),
            arousal=sum(share * COORDINATES[name][1] for name, share in named.items()),
            shares=named,
        )

    def _decay(self, moment: float) -> float:
        elapsed = 0.0 if self._moment is None else max(0.0, moment - self._moment)
        return float(2.0 ** (-elapsed / self._half_life_s))

    def _shares(self, decay: float) -> list[float]:
        total = NEUTRAL_WEIGHT + self._weight * decay
        shares = [s * decay / total for s in self._sums]
        shares[_NEUTRAL] += NEUTRAL_WEIGHT / total
        return shares

    def _leader(self, shares: list[float]) -> int:
        best = max(range(len(shares)), key=shares.__getitem__)
        return best if shares[best] - shares[self._label] > self._margin else self._label
