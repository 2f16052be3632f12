"""Checks of the audio source: permission, device, level and voice; and advice on levels."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from serd.audio import ffmpeg
from serd.audio.devices import list_devices, pick
from serd.audio.factory import make_source
from serd.audio.format import SAMPLE_RATE
from serd.audio.level import LevelMeter, Reading
from serd.audio.process import read_password
from serd.audio.source import EndOfSource, SourceStats
from serd.child_process import environment
from serd.config.secrets import masked
from serd.doctor.result import Finding, fail, failed, ok, skip, warn
from serd.errors import SerdError
from serd.speech import End, Segmenter, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serd.audio.source import Source
    from serd.config import AudioConfig, Config
    from serd.speech import SegmentEvent, Vad

DEVICES: Final = Path("/dev/snd")

_PATIENCE_S: Final = 10.0
"""How much longer than the sound it brings a source may take."""

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


_CAPTURE = "`alsamixer` (F4) or `pactl set-source-volume`"


def check_permission(
    config: Config,
    *,
    folder: Path = DEVICES,
    access: Callable[[Path, int], bool] = os.access,
) -> Iterator[Finding]:
    """Whether this user may open the kernel's sound devices, if there are any."""
    if config.audio.kind != "mic":
        return
    nodes = [*folder.glob("pcm*c"), *folder.glob("control*")]
    if not nodes:
        return
    if any(access(node, os.R_OK | os.W_OK) for node in nodes):
        yield ok("permission", f"the sound devices in {folder} may be used")
    else:
        yield fail(
            "permission",
            f"this user may not use the sound devices in {folder}",
            "sudo usermod -aG audio $USER, then log in again "
            "(in a unit file: SupplementaryGroups=audio)",
        )


def check_device(config: Config) -> Iterator[Finding]:
    """Whether the configured microphone is there, and named so that it will be found again.

    Of another live source: whether there is what serd needs to hear it.
    """
    if config.audio.kind == "network":
        yield from _check_network(config.audio)
    elif config.audio.kind == "program":
        yield from _check_program(config.audio)
    if config.audio.kind != "mic":
        return
    try:
        device = pick(config.audio.device, list_devices())
    except SerdError as error:
        yield failed("device", error, "`serd devices` lists what is there")
        return
    yield ok("device", f"{device.id} ({device.name}), {device.native_rate} Hz")
    selector = config.audio.device
    if isinstance(selector, int) or (selector is not None and selector.strip().isdecimal()):
        yield warn(
            "device",
            f"audio.device: {selector} is a number, which changes when devices are plugged",
            f"set audio.device to {device.id!r}",
        )


def _check_network(audio: AudioConfig) -> Iterator[Finding]:
    """Whether ffmpeg and the password are there."""
    name = masked(audio.source)
    try:
        program = ffmpeg.find()
        read_password(audio)
    except SerdError as error:
        yield failed("device", error, ffmpeg.REMEDY)
        return
    yield ok("device", f"{name}, through {program}")


def _check_program(audio: AudioConfig) -> Iterator[Finding]:
    """Whether the program of ``audio.command`` is there."""
    program = audio.command[0]
    found = shutil.which(program, path=environment()["PATH"])
    if found is not None:
        yield ok("device", f"what {found} writes")
        return
    yield fail(
        "device",
        f"audio.command: there is no program {program} that may be run",
        "write its whole path into audio.command, or install it",
        configured=True,
    )


def check_same_device(config: Config) -> Iterator[Finding]:
    """Whether two of several sources mean one microphone, by whatever names."""
    taken: dict[str, str] = {}
    for single in config.each() if config.sources else ():
        if single.audio.kind != "mic":
            continue
        try:
            device = pick(single.audio.device, list_devices())
        except SerdError:
            continue  # said by check_device
        if (other := taken.setdefault(device.id, single.node)) != single.node:
            yield fail(
                "device",
                f"{other} and {single.node} both mean {device.id} ({device.name})",
                "give each source an audio.device of its own: `serd devices` lists them",
                configured=True,
            )


_ELSEWHERE: Final = (
    "look after the microphone and its level where the sound comes from; audio.gain_db can make it "
    "louder or quieter"
)
"""What helps where the sound comes from a stream or a program."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard in a few seconds."""

    reading: Reading
    utterances: tuple[Utterance, ...] = ()
    lost: int = 0
    """Samples at 16 kHz."""
    stats: SourceStats = SourceStats()
    """Of the source, afterwards."""


def check_sound(config: Config, vad: Vad | None, seconds: float) -> Iterator[Finding]:
    """Listen for a while, and judge level and voice.

    Args:
        config: The configuration.
        vad: The detector, if it works.
        seconds: How long to listen; 0 does not open the source.
    """
    if config.audio.kind == "stdin":
        yield skip("level", "not looked at: standard input can be heard only once")
        return
    if seconds <= 0:
        yield skip("level", "not looked at: --listen 0")
        return
    source = make_source(config.audio)
    try:
        heard = _listen(source, Segmenter.of(config.speech, vad) if vad else None, seconds)
    except SerdError as error:
        yield failed(
            "level", error, "is another program using the microphone (`fuser -v /dev/snd/*`)?"
        )
        return
    finally:
        source.close()
    yield from judge_sound(config, heard, with_voice=vad is not None)


def judge_sound(config: Config, heard: Heard, *, with_voice: bool) -> Iterator[Finding]:
    """Say what the sound was like."""
    reading = heard.reading
    advice = advise(reading, gain_db=heard.stats.gain_db)
    if advice is not None and advice.kind == "hot" and config.audio.kind != "mic":
        advice = None  # a recording may use all of the range: nothing louder will come
    if reading.seconds == 0:
        yield fail("level", "the source brought no sound", "is it the right device or file?")
        return
    if advice is None:
        yield ok(
            "level",
            f"peaks of {reading.loudest_dbfs:.0f} dBFS, the room at {reading.room_dbfs:.0f} dBFS"
            + (
                f", an offset of {reading.offset:+.3f} of full scale, which serd takes away"
                if abs(reading.offset) > NOTABLE_OFFSET
                else ""
            ),
        )
    else:
        # What `alsamixer` does for a microphone has to be done where the sound comes from.
        remedy = _ELSEWHERE if config.audio.kind in {"network", "program"} else advice.remedy
        tell = fail if advice.kind == "dead" else warn
        yield tell("level", advice.message, remedy)
    yield from judge_channels(heard.stats)
    if heard.lost:
        yield warn(
            "level",
            f"{heard.lost} samples were lost while listening",
            "a busy machine or a bad USB cable or hub loses sound; raise audio.buffer_s",
        )
    if not with_voice:
        return
    if not heard.utterances:
        yield warn(
            "voice",
            f"no voice was heard in {reading.seconds:.0f} s",
            "say something while it listens (`--listen 10` gives more time); "
            "if it stays deaf, look at `serd meter`",
        )
        return
    level = max(utterance.level_dbfs for utterance in heard.utterances)
    said = advise_voice(level, reading.room_dbfs)
    if said is None:
        yield ok(
            "voice", f"utterances heard: {len(heard.utterances)}, the loudest at {level:.0f} dBFS"
        )
    else:
        yield warn("voice", said.message, said.remedy)


def judge_channels(stats: SourceStats) -> Iterator[Finding]:
    """Say what each of several channels was like, and which of them is listened to."""
    if not stats.channel_dbfs:
        return
    levels = ", ".join(
        f"{number} {'dead' if number in stats.channels_dead else f'{level:.0f} dBFS'}"
        for number, level in enumerate(stats.channel_dbfs, 1)
    )
    heard = f"channel {stats.channel} is listened to" if stats.channel else "they are mixed"
    if stats.channels_cancel:
        yield warn(
            "channels",
            f"they cancel each other, so only channel {stats.channel} is listened to ({levels})",
            f"one of them is wired the wrong way round: swap its wires, or set audio.channel to "
            f"{stats.channel} or to auto",
        )
    elif stats.channel in stats.channels_dead:
        yield warn(
            "channels",
            f"channel {stats.channel} is listened to, and it is dead ({levels})",
            "set audio.channel to another, or to auto",
        )
    else:
        yield ok("channels", f"{levels}; {heard}")


def measure(settings: AudioConfig, seconds: float) -> tuple[float, ...]:
    """Listen for a moment, and give the level of each channel.

    Args:
        settings: Names the source.
        seconds: How long.

    Returns:
        RMS levels, dBFS, without offset; none if nothing came.

    Raises:
        SerdError: The source cannot be opened.
    """
    source = make_source(settings)
    try:
        heard = _listen(source, None, seconds)
    finally:
        source.close()
    if heard.stats.channel_dbfs or not heard.reading.seconds:
        return heard.stats.channel_dbfs
    return (heard.reading.rms_dbfs,)


def _listen(source: Source, segmenter: Segmenter | None, seconds: float) -> Heard:
    meter = LevelMeter(lately_s=seconds)
    utterances: list[Utterance] = []
    deadline = time.monotonic() + seconds + _PATIENCE_S
    lost = count = 0
    source.open()
    while count < seconds * SAMPLE_RATE and time.monotonic() < deadline:
        try:
            block = source.read(0.2)
        except EndOfSource:
            break
        if block is None:
            continue
        count += len(block)
        lost += block.lost
        meter.feed(block.samples, offset=block.offset, clipped=block.clipped)
        if segmenter is not None:
            utterances += _ended(segmenter.feed(block.samples))
    if segmenter is not None:
        utterances += _ended(segmenter.flush())
    return Heard(reading=meter.read(), utterances=tuple(utterances), lost=lost, stats=source.stats)


def _ended(events: list[SegmentEvent]) -> Iterator[Utterance]:
    return (event.utterance for event in events if isinstance(event, End))


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a level, and what helps."""

    kind: Kind
    message: str
    remedy: str


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
