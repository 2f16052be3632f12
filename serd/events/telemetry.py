"""What a node reports about itself now and then: the payload of the ``telemetry`` topic."""

import resource
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from serd.events.payload import Metric, Number, Sensor

CONDITIONS: Final = ("starting", "listening", "muted", "quiet", "waiting", "ended", "stopped")
"""What a node may be doing."""

Count = Annotated[int, Meta(ge=0)]


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """Figures about the daemon. Counters start at 0 when it starts."""

    uptime_s: Annotated[Count, Meta(description="Seconds since the start."), Number(0, "s")]
    version: Annotated[
        str, Meta(description="Version of serd."), Sensor("Version", icon="mdi:tag-outline")
    ]
    condition: Annotated[
        str,
        Meta(
            description="What the node is doing: `starting`, `listening`, `muted`, `quiet` (quiet "
            "hours), `waiting` (for the microphone), `ended` (the recording) or `stopped`.",
            extra_json_schema={"enum": [*CONDITIONS]},
        ),
        Sensor("Condition", icon="mdi:stethoscope"),
    ]
    trouble: Annotated[
        str | None,
        Meta(
            description="What is wrong with the microphone or the journal, or what the broker "
            "refuses, in words; null if nothing is."
        ),
    ]
    utterances: Annotated[
        Count, Meta(description="Utterances heard."), Metric("serd_utterances_total")
    ]
    events: Annotated[Count, Meta(description="Events written to the journal.")]
    dropped: Annotated[
        Count,
        Meta(description="Sounds that were not utterances: the sum of the next six."),
    ]
    dropped_short: Annotated[Count, Meta(description="Shorter than `speech.min_speech_s`.")]
    dropped_quiet: Annotated[Count, Meta(description="Quieter than `speech.min_level_dbfs`.")]
    dropped_unvoiced: Annotated[Count, Meta(description="Too small a voiced share.")]
    dropped_steady: Annotated[
        Count, Meta(description="Too steady for a voice: a machine, for instance.")
    ]
    dropped_unpitched: Annotated[
        Count, Meta(description="No lasting pitch in the range of a voice.")
    ]
    dropped_unconfirmed: Annotated[
        Count,
        Meta(description="The second detector (`speech.confirm`) found no speech."),
    ]
    events_lost: Annotated[
        Count,
        Meta(
            description="Events that no subscriber will ever get; 0 unless the disk or the broker "
            "failed for a long time."
        ),
        Sensor("Events lost", icon="mdi:tray-alert", state_class="total_increasing"),
    ]
    overflows: Annotated[
        Count,
        Meta(
            description="Samples, at the device's rate, that the ring buffer lost because serd was "
            "too slow."
        ),
        Metric("serd_overflow_samples_total"),
    ]
    device_overflows: Annotated[
        Count,
        Meta(description="Times that the sound driver lost input before serd saw it."),
        Metric("serd_device_overflows_total"),
    ]
    lost_samples: Annotated[
        Count,
        Meta(
            description="Samples, at 16 kHz, that are missing from the analysed audio, for any "
            "reason."
        ),
        Metric("serd_lost_samples_total"),
    ]
    mic_reopens: Annotated[Count, Meta(description="Times the microphone was reopened.")]
    reconnects: Annotated[
        Count,
        Meta(description="Times the connection to the broker was re-established."),
        Metric("serd_mqtt_reconnects_total"),
    ]
    waiting: Annotated[
        Count,
        Meta(description="Events in the journal that the broker has not acknowledged."),
        Sensor("Events waiting", icon="mdi:tray-full", state_class="measurement"),
        Metric("serd_journal_pending_events"),
    ]
    hooks_run: Annotated[
        Count,
        Meta(description="Hooks that have been run."),
        Metric("serd_hooks_run_total", process=True),
    ]
    hooks_failed: Annotated[
        Count,
        Meta(
            description="Hooks that could not start, exited with a code other than 0, or took too "
            "long."
        ),
        Metric("serd_hooks_failed_total", process=True),
    ]
    hooks_dropped: Annotated[
        Count,
        Meta(description="Events for which no hook was run because earlier runs took too long."),
        Metric("serd_hooks_dropped_total", process=True),
    ]
    buffered_samples: Annotated[
        Count,
        Meta(description="Samples, at the device's rate, waiting in the ring buffer."),
        Metric("serd_buffered_samples"),
    ]
    level_dbfs: Annotated[
        float | None,
        Meta(description="RMS level since the last telemetry; null if no sound arrived."),
        Number(1, "dBFS"),
        Sensor("Level", icon="mdi:microphone", unit="dBFS", state_class="measurement", precision=0),
    ]
    latency_ms: Annotated[
        float | None,
        Meta(description="Latency of the latest event; null before the first."),
        Number(1, "ms"),
        Sensor(
            "Latency", device_class="duration", unit="ms", state_class="measurement", precision=0
        ),
    ]
    excess: Annotated[
        dict[str, Annotated[float, Meta(ge=0)]],
        Meta(
            description="For each emotion, how much more speech in this room sounds like it than "
            "elsewhere, as log-odds; it is reported that much less readily "
            "(`decision.habituation`)."
        ),
    ]
    rss_mb: Annotated[float, Meta(description="Resident memory."), Number(1, "MB")]
    cpu_percent: Annotated[
        float,
        Meta(description="Processor time since the start, percent of one core."),
        Number(2, "%"),
    ]


class ProcessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the telemetry that all nodes of one process have in common; fields as there."""

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
