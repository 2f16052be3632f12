"""What a node says of itself now and then: the payload of the ``telemetry`` topic."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """Figures about the daemon. Counters begin at 0 when it starts."""

    uptime_s: int
    """Seconds since it started."""
    version: str
    """Of serd."""
    condition: str
    """starting, listening, muted, quiet (hours), waiting (for the microphone), ended or stopped."""
    trouble: str | None
    """What is wrong with microphone or journal, or what the broker refuses, for people; or null."""
    utterances: int
    """Utterances heard."""
    events: int
    """Events journalled."""
    dropped: int
    """Sounds that were no utterance: the sum of the next six."""
    dropped_short: int
    """Shorter than ``speech.min_speech_s``."""
    dropped_quiet: int
    """Quieter than ``speech.min_level_dbfs``."""
    dropped_unvoiced: int
    """With too small a voiced share."""
    dropped_steady: int
    """As steady as no voice is: a machine."""
    dropped_unpitched: int
    """Without a lasting pitch in the range of a voice."""
    dropped_unconfirmed: int
    """In which a second detector (``speech.confirm``) heard no speech."""
    events_lost: int
    """Events that no subscriber will ever get; 0 unless disk or broker failed for long."""
    overflows: int
    """Samples, at the device's rate, that the ring buffer lost because serd was too slow."""
    device_overflows: int
    """Times that the sound driver lost input before serd saw it."""
    lost_samples: int
    """Samples, at 16 kHz, that are missing in what was analysed, for whatever reason."""
    mic_reopens: int
    """Times the microphone was opened again."""
    reconnects: int
    """Times the connection to the broker was made again."""
    waiting: int
    """Events that the broker has not acknowledged."""
    hooks_run: int
    """Hooks that have been run."""
    hooks_failed: int
    """Of these, how many could not start, left with another code than 0, or took too long."""
    hooks_dropped: int
    """Events for which a hook should have run, but earlier runs took too long."""
    buffered_samples: int
    """Samples, at the device's rate, that wait in the ring buffer."""
    level_dbfs: float | None
    """RMS level of what was heard since the last telemetry; null if nothing was."""
    latency_ms: float | None
    """Of the latest event; null until there was one."""
    rss_mb: float
    """Resident memory, megabytes."""
    cpu_percent: float
    """Processor time since the start, per cent of one core."""


class ProcessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the telemetry of all nodes of one process has in common; fields as there."""

    uptime_s: int
    hooks_run: int
    hooks_failed: int
    hooks_dropped: int
    rss_mb: float
    cpu_percent: float


def resident_bytes() -> int:
    """Resident memory of this process (field 2 of /proc/self/statm, proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def processor_seconds() -> float:
    """Processor time that this process has used, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
