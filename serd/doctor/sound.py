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
from serd.doctor.result import CheckResult, fail, failed, ok, skip, warn
from serd.errors import SerdError
from serd.speech import End, Segmenter, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serd.audio.source import Source
    from serd.config import AudioConfig, Config
    from serd.speech import SegmentEvent, Vad

DEVICES: Final = Path("/dev/snd")

_SLACK_S: Final = 10.0
"""Seconds by which a source may take longer than the sound it delivers."""

CLIPPED_SHARE: Final = 0.001
"""Share of clipped samples that is too much: a few milliseconds per second."""

HOT_DBFS: Final = -1.0
"""Peaks above this are about to clip."""

NOISY_DBFS: Final = -35.0
"""Background noise above this drowns voices."""

DEAF_DBFS: Final = -75.0
"""Peaks below this over seconds mean a dead input: even a microphone's own noise is louder."""

OFFSET: Final = 0.02
"""A DC offset beyond this (of full scale) is a fault of the sound card."""

NOTABLE_OFFSET: Final = 0.002
"""A DC offset beyond this is mentioned; speech alone stays far below."""

CLEAR_DB: Final = 10.0
"""A voice should be this much louder than the room."""

Kind = Literal["dead", "clipping", "hot", "deaf", "noisy", "offset", "drowned"]


_CAPTURE = "`alsamixer` (F4) or `pactl set-source-volume`"


def check_permission(
    config: Config,
    *,
    folder: Path = DEVICES,
    access: Callable[[Path, int], bool] = os.access,
) -> Iterator[CheckResult]:
    """Check that this user may open the kernel's sound devices, if there are any."""
    if config.audio.kind != "mic":
        return
    nodes = [*folder.glob("pcm*c"), *folder.glob("control*")]
    if not nodes:
        return
    if any(access(node, os.R_OK | os.W_OK) for node in nodes):
        yield ok("permission", f"the sound devices in {folder} are accessible")
    else:
        yield fail(
            "permission",
            f"this user has no access to the sound devices in {folder}",
            "sudo usermod -aG audio $USER, then log in again "
            "(in a unit file: SupplementaryGroups=audio)",
        )


def check_device(config: Config) -> Iterator[CheckResult]:
    """Check that the configured microphone exists and has a stable name.

    For other live sources, check that the program or password they need exists.
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
        yield failed("device", error, "`serd devices` lists the microphones")
        return
    yield ok("device", f"{device.id} ({device.name}), {device.native_rate} Hz")
    selector = config.audio.device
    if isinstance(selector, int) or (selector is not None and selector.strip().isdecimal()):
        yield warn(
            "device",
            f"audio.device: {selector} is a number, which changes when devices are plugged in",
            f"set audio.device to {device.id!r}",
        )


def _check_network(audio: AudioConfig) -> Iterator[CheckResult]:
    """Check that ffmpeg and the password exist."""
    name = masked(audio.source)
    try:
        program = ffmpeg.find()
        read_password(audio)
    except SerdError as error:
        yield failed("device", error, ffmpeg.REMEDY)
        return
    yield ok("device", f"{name}, through {program}")


def _check_program(audio: AudioConfig) -> Iterator[CheckResult]:
    """Check that the program of ``audio.command`` exists."""
    program = audio.command[0]
    found = shutil.which(program, path=environment()["PATH"])
    if found is not None:
        yield ok("device", f"the output of {found}")
        return
    yield fail(
        "device",
        f"audio.command: there is no executable program {program}",
        "write its full path into audio.command, or install it",
        configured=True,
    )


def check_same_device(config: Config) -> Iterator[CheckResult]:
    """Check that no two sources use the same microphone, under whatever names."""
    taken: dict[str, str] = {}
    for single in config.each() if config.sources else ():
        if single.audio.kind != "mic":
            continue
        try:
            device = pick(single.audio.device, list_devices())
        except SerdError:
            continue  # reported by check_device
        if (other := taken.setdefault(device.id, single.node)) != single.node:
            yield fail(
                "device",
                f"{other} and {single.node} both use {device.id} ({device.name})",
                "give each source an audio.device of its own: `serd devices` lists them",
                configured=True,
            )


_ELSEWHERE: Final = (
    "adjust the microphone and its level where the sound comes from; audio.gain_db makes it louder "
    "or quieter here"
)
"""Remedy where the sound comes from a stream or a program."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a source delivered in a few seconds."""

    reading: Reading
    utterances: tuple[Utterance, ...] = ()
    lost: int = 0
    """Samples at 16 kHz."""
    stats: SourceStats = SourceStats()
    """The source's statistics afterwards."""


def check_sound(config: Config, vad: Vad | None, seconds: float) -> Iterator[CheckResult]:
    """Listen for a while, and check level and voice.

    Args:
        config: The configuration.
        vad: The detector, if it works.
        seconds: Seconds to listen; 0 does not open the source.
    """
    if config.audio.kind == "stdin":
        yield skip("level", "not checked: standard input can be read only once")
        return
    if seconds <= 0:
        yield skip("level", "not checked: --listen 0")
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


def judge_sound(config: Config, heard: Heard, *, with_voice: bool) -> Iterator[CheckResult]:
    """Check the level, the channels and the voice in what was heard."""
    reading = heard.reading
    advice = advise(reading, gain_db=heard.stats.gain_db)
    if advice is not None and advice.kind == "hot" and config.audio.kind != "mic":
        advice = None  # a recording may use the full range: nothing louder will come
    if reading.seconds == 0:
        yield fail("level", "the source delivered no sound", "is it the right device or file?")
        return
    if advice is None:
        yield ok(
            "level",
            f"peaks of {reading.loudest_dbfs:.0f} dBFS, the room at {reading.room_dbfs:.0f} dBFS"
            + (
                f", an offset of {reading.offset:+.3f} of full scale, which serd removes"
                if abs(reading.offset) > NOTABLE_OFFSET
                else ""
            ),
        )
    else:
        # `alsamixer` can only adjust microphones of this machine.
        remedy = _ELSEWHERE if config.audio.kind in {"network", "program"} else advice.remedy
        make_result = fail if advice.kind == "dead" else warn
        yield make_result("level", advice.message, remedy)
    yield from judge_channels(heard.stats)
    if heard.lost:
        yield warn(
            "level",
            f"{heard.lost} samples were lost while listening",
            "the cause is a busy machine, or a bad USB cable or hub; raise audio.buffer_s",
        )
    if not with_voice:
        return
    if not heard.utterances:
        yield warn(
            "voice",
            f"no voice was heard in {reading.seconds:.0f} s",
            "say something while it listens (`--listen 10` gives more time); "
            "if that does not help, look at `serd meter`",
        )
        return
    level = max(utterance.level_dbfs for utterance in heard.utterances)
    voice_advice = advise_voice(level, reading.room_dbfs)
    if voice_advice is None:
        yield ok(
            "voice", f"utterances heard: {len(heard.utterances)}, the loudest at {level:.0f} dBFS"
        )
    else:
        yield warn("voice", voice_advice.message, voice_advice.remedy)


def judge_channels(stats: SourceStats) -> Iterator[CheckResult]:
    """Check each of several channels, and report which one is used."""
    if not stats.channel_dbfs:
        return
    levels = ", ".join(
        f"{number} {'dead' if number in stats.channels_dead else f'{level:.0f} dBFS'}"
        for number, level in enumerate(stats.channel_dbfs, 1)
    )
    heard = f"channel {stats.channel} is used" if stats.channel else "they are mixed"
    if stats.channels_cancel:
        yield warn(
            "channels",
            f"they cancel each other, so only channel {stats.channel} is used ({levels})",
            f"one of them has reversed polarity: swap its wires, or set audio.channel to "
            f"{stats.channel} or to auto",
        )
    elif stats.channel in stats.channels_dead:
        yield warn(
            "channels",
            f"channel {stats.channel} is used, but it is dead ({levels})",
            "set audio.channel to another, or to auto",
        )
    else:
        yield ok("channels", f"{levels}; {heard}")


def measure(settings: AudioConfig, seconds: float) -> tuple[float, ...]:
    """Listen for a moment, and measure the level of each channel.

    Args:
        settings: The audio source.
        seconds: Seconds to listen.

    Returns:
        RMS levels in dBFS, without DC offset; empty if nothing arrived.

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
    meter = LevelMeter(window_s=seconds)
    utterances: list[Utterance] = []
    deadline = time.monotonic() + seconds + _SLACK_S
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
    """The worst problem with the level; None if there is none.

    Args:
        reading: Levels over the last seconds.
        gain_db: The configured gain, which the reading includes.
    """
    return next((advice for wrong, advice in _problems(reading, gain_db) if wrong), None)


def _problems(reading: Reading, gain_db: float) -> Iterator[tuple[bool, Advice]]:
    """Each possible problem, whether it is present and what helps; the worst first."""
    peak, room, clipped = reading.loudest_dbfs, reading.room_dbfs, reading.clipped_share
    yield (
        reading.flat,
        Advice(
            kind="dead",
            message="every sample has the same value: the microphone is muted or dead",
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
            "away; clipping cannot be repaired later",
        ),
    )
    yield (
        peak < DEAF_DBFS,
        Advice(
            kind="deaf",
            message=f"nearly silent: the loudest peak is {peak:.0f} dBFS",
            remedy=f"turn the capture level up with {_CAPTURE}; check that audio.device is the "
            "microphone and not a line input; audio.gain_db can add the rest",
        ),
    )
    yield (
        room > NOISY_DBFS,
        Advice(
            kind="noisy",
            message=f"noisy: the background is at {room:.0f} dBFS",
            remedy="turn the capture level down, move the microphone away from fans and loud "
            "speakers, or feed it from another supply (hum)",
        ),
    )
    yield (
        peak > HOT_DBFS,
        Advice(
            kind="hot",
            message=f"peaks of {peak:.0f} dBFS: louder voices will be clipped",
            remedy=f"turn the capture level down a few decibels with {_CAPTURE}",
        ),
    )
    yield (
        abs(reading.offset) > OFFSET,
        Advice(
            kind="offset",
            message=f"a DC offset of {reading.offset:+.3f} of full scale",
            remedy="the sound card is faulty or miswired; serd removes the offset, but another "
            "card would leave more headroom for loud voices",
        ),
    )


def advise_voice(level_dbfs: float, room_dbfs: float) -> Advice | None:
    """The problem with a voice's level; None if there is none.

    Args:
        level_dbfs: Level of an utterance.
        room_dbfs: Level of the background.
    """
    above = level_dbfs - room_dbfs
    if above >= CLEAR_DB:
        return None
    return Advice(
        kind="drowned",
        message=f"the voice is only {above:.0f} dB above the background noise",
        remedy="move the microphone closer to the people and away from the source of the noise",
    )
