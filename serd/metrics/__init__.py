"""The metrics that Prometheus gets: name, type, labels, meaning, and where each is read.

Names follow Prometheus's conventions: base units (seconds, bytes), and counters end in ``_total``.
Metrics that show a field of the telemetry derive from it; see `serd.events.payload.Metric`.

Nothing is counted specially: at each scrape the figures that the daemon keeps anyway are read, on a
thread of its own. This module needs no library; :mod:`serd.metrics.server`, which serves them over
HTTP, needs the extra ``metrics``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from msgspec import Struct

from serd.audio.format import SAMPLE_RATE
from serd.config.schema import Emotion
from serd.events import payload
from serd.events.telemetry import CONDITIONS, Telemetry
from serd.histogram import Counts
from serd.speech.utterance import REASONS
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from serd.daemon.daemon import Daemon
    from serd.daemon.node import Node

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Value: TypeAlias = float | Counts | None
"""Counts for a histogram; None: not known now, and so left out."""
Reading: TypeAlias = "Iterable[tuple[tuple[str, ...], Value]]"
"""Values with those of the labels that follow ``node``."""

STATES: Final = (*CONDITIONS, "dead")
"""What ``serd_source_state`` may say."""


class _Metric(Struct, frozen=True, kw_only=True):
    """What all metrics have."""

    name: str
    kind: Kind
    help: str
    """One sentence."""
    labels: tuple[str, ...] = ()
    """Besides ``node``."""


class NodeMetric(_Metric, frozen=True, kw_only=True):
    """One that each node has; its first label is ``node``."""

    read: Callable[[Node], Reading]

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return ("node", *self.labels)


class DaemonMetric(_Metric, frozen=True, kw_only=True):
    """One of the whole process."""

    read: Callable[[Daemon], Reading]

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return self.labels


class TelemetryMetric(_Metric, frozen=True, kw_only=True):
    """One that shows a field of the telemetry."""

    field: str
    process: bool
    """Whether it is one of the whole process."""

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return () if self.process else ("node",)


Metric: TypeAlias = NodeMetric | DaemonMetric | TelemetryMetric


def _one(value: Value) -> Reading:
    return (((), value),)


def _published(name: str) -> Callable[[Node], Reading]:
    return lambda node: _one(node.publisher.counters()[name])


def _source(name: str) -> Callable[[Node], Reading]:
    return lambda node: _one(getattr(node.source.stats, name))


def _states(node: Node) -> Reading:
    return [((state,), float(state == node.state)) for state in STATES]


def _dropped(node: Node) -> Reading:
    counters = node.recogniser.counters
    return [((reason,), getattr(counters, reason)) for reason in REASONS]


def _emotions(node: Node) -> Reading:
    counts = node.pipeline.stats().emotions
    return [((emotion,), counts.get(emotion, 0)) for emotion in get_args(Emotion)]


def _lost(node: Node) -> Reading:
    yield ("disk",), node.pipeline.stats().events_lost
    yield ("retention",), node.events_dropped
    yield ("broker",), node.events_left_out


def _build(daemon: Daemon) -> Reading:
    python = ".".join(map(str, sys.version_info[:3]))
    model = daemon.model
    return [((VERSION, python, model.name, model.version), 1)]


def _standstills(daemon: Daemon) -> Reading:
    return [((part.name,), part.seconds) for part in daemon.supervisor.standstills()]


_OTHERS: Final[tuple[Metric, ...]] = (
    NodeMetric(
        name="serd_events_total",
        kind="counter",
        labels=("emotion",),
        help="Events written to the journal, by emotion.",
        read=_emotions,
    ),
    NodeMetric(
        name="serd_sounds_dropped_total",
        kind="counter",
        labels=("reason",),
        help="Sounds that were not utterances: too short, too quiet, unvoiced, steady, "
        "unpitched, unconfirmed.",
        read=_dropped,
    ),
    NodeMetric(
        name="serd_samples_total",
        kind="counter",
        help="Samples received, at 16 kHz.",
        read=_source("samples"),
    ),
    NodeMetric(
        name="serd_audio_seconds_total",
        kind="counter",
        help="Seconds of audio received.",
        read=lambda node: _one(node.source.stats.samples / SAMPLE_RATE),
    ),
    NodeMetric(
        name="serd_source_opens_total",
        kind="counter",
        help="Times the microphone was opened.",
        read=_source("opens"),
    ),
    NodeMetric(
        name="serd_source_state",
        kind="gauge",
        labels=("state",),
        help="1 for the state that the source is in, 0 for the others.",
        read=_states,
    ),
    NodeMetric(
        name="serd_speaking",
        kind="gauge",
        help="1 while someone is speaking.",
        read=lambda node: _one(float(node.pipeline.speaking)),
    ),
    NodeMetric(
        name="serd_level_dbfs",
        kind="gauge",
        help="RMS level of the last second in dBFS; absent while no sound arrives.",
        read=lambda node: _one(node.level_dbfs),
    ),
    NodeMetric(
        name="serd_utterance_to_event_seconds",
        kind="histogram",
        help="From the arrival of an utterance's last sample to the hand-over of its event.",
        read=lambda node: _one(node.publisher.latencies.counts()),
    ),
    NodeMetric(
        name="serd_inference_seconds",
        kind="histogram",
        help="Time that the network and the decision took for one utterance.",
        read=lambda node: _one(node.recogniser.inference.counts()),
    ),
    NodeMetric(
        name="serd_events_waiting_for_disk",
        kind="gauge",
        help="Events in memory because the journal cannot be written (256 at most).",
        read=lambda node: _one(node.pipeline.stats().waiting),
    ),
    NodeMetric(
        name="serd_events_lost_total",
        kind="counter",
        labels=("reason",),
        help="Events no subscriber will get: disk (journal unwritable for long), retention "
        "(broker away for longer than the journal keeps) or broker (too large for it).",
        read=_lost,
    ),
    NodeMetric(
        name="serd_mqtt_connected",
        kind="gauge",
        help="1 while connected to the broker.",
        read=lambda node: _one(float(node.publisher.connected)),
    ),
    NodeMetric(
        name="serd_mqtt_connection_failures_total",
        kind="counter",
        help="Connections to the broker that could not be made, or were lost.",
        read=_published("connection_failures"),
    ),
    NodeMetric(
        name="serd_mqtt_published_total",
        kind="counter",
        help="Hand-overs of events to MQTT, redeliveries included.",
        read=_published("published"),
    ),
    NodeMetric(
        name="serd_mqtt_redelivered_total",
        kind="counter",
        help="Of these, redeliveries.",
        read=_published("redelivered"),
    ),
    NodeMetric(
        name="serd_mqtt_acknowledged_total",
        kind="counter",
        help="Events that the broker has acknowledged.",
        read=_published("acknowledged"),
    ),
    NodeMetric(
        name="serd_mqtt_publish_failures_total",
        kind="counter",
        help="Hand-overs of events that failed; the events stay in the journal.",
        read=_published("publish_failures"),
    ),
    NodeMetric(
        name="serd_mqtt_in_flight_events",
        kind="gauge",
        help="Events handed over that the broker has not acknowledged yet (32 at most).",
        read=_published("in_flight"),
    ),
    NodeMetric(
        name="serd_mqtt_commands_ignored_total",
        kind="counter",
        help="Messages that were not valid commands.",
        read=_published("commands_ignored"),
    ),
    DaemonMetric(
        name="serd_healthy",
        kind="gauge",
        help="1 while /healthz answers 200: every part works or is waiting for a known reason.",
        read=lambda daemon: _one(float(daemon.health().well)),
    ),
    DaemonMetric(
        name="serd_part_standstill_seconds",
        kind="gauge",
        labels=("part",),
        help="Time since a thread's last heartbeat, as seen by the supervisor.",
        read=_standstills,
    ),
    DaemonMetric(
        name="serd_part_restarts_total",
        kind="counter",
        help="Threads that died and were restarted.",
        read=lambda daemon: _one(daemon.supervisor.restarts),
    ),
    DaemonMetric(
        name="serd_build_info",
        kind="gauge",
        labels=("version", "python", "model", "model_version"),
        help="Always 1; the versions are in the labels.",
        read=_build,
    ),
)
"""Those that the telemetry does not have."""


def _of_telemetry() -> Iterator[TelemetryMetric]:
    for field in payload.fields(Telemetry):
        if (shown := field.get(payload.Metric)) is not None:
            yield TelemetryMetric(
                name=shown.name,
                kind="counter" if shown.name.endswith("_total") else "gauge",
                help=field.description,
                field=field.name,
                process=shown.process,
            )


METRICS: Final[tuple[Metric, ...]] = (*_of_telemetry(), *_OTHERS)
"""All of serd's own; the library adds ``process_*`` (memory, processor time, open files)."""


def samples(daemon: Daemon) -> Iterator[tuple[Metric, list[tuple[list[str], Any]]]]:
    """Read every metric: for each combination of labels their values, and the metric's value."""
    process = daemon.figures()
    telemetry = {node.name: node.telemetry(process) for node in daemon.nodes}
    for metric in METRICS:
        found: Iterable[tuple[list[str], Value]]
        match metric:
            case TelemetryMetric(process=True):
                found = [([], getattr(process, metric.field))]
            case TelemetryMetric():
                found = [([name], getattr(now, metric.field)) for name, now in telemetry.items()]
            case NodeMetric():
                found = [
                    ([node.name, *labels], value)
                    for node in daemon.nodes
                    for labels, value in metric.read(node)
                ]
            case DaemonMetric():
                found = [([*labels], value) for labels, value in metric.read(daemon)]
        yield metric, [(labels, value) for labels, value in found if value is not None]
