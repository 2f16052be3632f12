"""What a level means for somebody who places a microphone or sets its gain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.audio.level import Reading

CLIPPED_SHARE: Final = 0.001
"""Share of clipped samples from which it is too loud: a few milliseconds in every second."""

HOT_DBFS: Final = -1.0
"""Peaks above it are about to clip."""

NOISY_DBFS: Final = -35.0
"""A room, or a sound card, that is louder than this while nobody speaks drowns voices."""

DEAF_DBFS: Final = -75.0
"""Peaks below it, over seconds: a live microphone's own noise is mostly louder, speech always."""

OFFSET: Final = 0.02
"""A mean beyond this (of full scale) is a fault of the sound card."""

NOTABLE_OFFSET: Final = 0.002
"""A mean beyond this is worth a word; speech alone, over some seconds, stays far below."""

CLEAR_DB: Final = 10.0
"""A voice should be so much louder than the room."""

Kind = Literal["dead", "clipping", "hot", "deaf", "noisy", "offset", "drowned"]


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a level, and what helps."""

    kind: Kind
    message: str
    remedy: str


_CAPTURE = "`alsamixer` (F4) or `pactl set-source-volume`"


def advise(reading: Reading, *, gain_db: float = 0.0) -> Advice | None:
    """What is most wrong with what was heard; None if nothing is.

    Args:
        reading: What was heard lately.
        gain_db: The configured gain, which is in the reading.
    """
    return next((advice for wrong, advice in _troubles(reading, gain_db) if wrong), None)


def _troubles(reading: Reading, gain_db: float) -> Iterator[tuple[bool, Advice]]:
    """Whether each trouble is there, and what to do about it, the worst first."""
    peak, room, clipped = reading.loudest_dbfs, reading.room_dbfs, reading.clipped_share
    yield (
        reading.flat,
        Advice(
            kind="dead",
            message="the sound is one unchanging value: the microphone is muted or dead",
            remedy=f"unmute it with {_CAPTURE}; if that does not help, choose another with "
            "audio.device (see `serd devices`)",
        ),
    )
    gain = "lower audio.gain_db, or " if gain_db > 0 else ""
    yield (
        clipped > CLIPPED_SHARE,
        Advice(
            kind="clipping",
            message=f"too loud: {clipped:.1%} of the samples are clipped",
            remedy=f"{gain}turn the capture level down with {_CAPTURE}, or move the microphone "
            "away; what is clipped cannot be mended later",
        ),
    )
    yield (
        peak < DEAF_DBFS,
        Advice(
            kind="deaf",
            message=f"nearly silent: the loudest moment had {peak:.0f} dBFS",
            remedy=f"turn the capture level up with {_CAPTURE}; check that audio.device is the "
            "microphone and not a line input; audio.gain_db can add the rest",
        ),
    )
    yield (
        room > NOISY_DBFS,
        Advice(
            kind="noisy",
            message=f"noisy: the room is hardly ever quieter than {room:.0f} dBFS",
            remedy="turn the capture level down, move the microphone away from fans and loud "
            "speakers, or feed it from another supply (hum)",
        ),
    )
    yield (
        peak > HOT_DBFS,
        Advice(
            kind="hot",
            message=f"peaks of {peak:.0f} dBFS: louder voices will be clipped",
            remedy=f"turn the capture level down by some decibels with {_CAPTURE}",
        ),
    )
    yield (
        abs(reading.offset) > OFFSET,
        Advice(
            kind="offset",
            message=f"every sample is shifted by {reading.offset:+.3f} of full scale",
            remedy="the sound card is faulty or wrongly wired; serd takes the shift away, but "
            "another card would leave more room for loud voices",
        ),
    )


def advise_voice(level_dbfs: float, room_dbfs: float) -> Advice | None:
    """What is wrong with a voice that was heard; None if nothing is.

    Args:
        level_dbfs: Of an utterance.
        room_dbfs: Of the room.
    """
    above = level_dbfs - room_dbfs
    if above >= CLEAR_DB:
        return None
    return Advice(
        kind="drowned",
        message=f"the voice is only {above:.0f} dB above the noise of the room",
        remedy="move the microphone nearer to the people and away from what makes the noise",
    )
