"""Every figure that Prometheus is given: name, kind, labels, meaning, and where it is read.

Names follow Prometheus's conventions: base units (seconds, bytes), counters end in ``_total``. The
table in docs/metrics.md is made from this module by ``tools.docs.metrics``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, get_args

from msgspec import Struct

from serd.audio.format import SAMPLE_RATE
from serd.config.schema import Emotion
from serd.histogram import Counts
from serd.speech.utterance import REASONS
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from serd.daemon.node import Node
    from serd.daemon.supervisor import Health, Supervisor
    from serd.hooks import Hooks
    from serd.model.metadata import ModelInfo

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Value: TypeAlias = float | Counts | None
"""Counts for a histogram; None: not known now, and so left out."""
Reading: TypeAlias = "Iterable[tuple[tuple[str, ...], Value]]"
"""Values with those of the labels that follow ``node``."""

STATES: Final = (
    "starting", "listening", "dead", "waiting", "muted", "quiet", "ended", "stopped",
)  # fmt: skip
"""What ``serd_source_state`` may say."""


class Observed(Protocol):
    """What is asked of a daemon."""

    nodes: Sequence[Node]
    hooks: Hooks
    supervisor: Supervisor
    model: ModelInfo

    def health(self) -> Health:
        """Whether it is well."""


class Figure(Struct, frozen=True, kw_only=True):
    """One metric."""

    name: str
    kind: Kind
    help: str
    """One sentence."""
    labels: tuple[str, ...] = ()
    """Besides ``node``."""


class NodeFigure(Figure, frozen=True, kw_only=True):
    """One that each node has; its first label is ``node``."""

    read: Callable[[Node], Reading]

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return ("node", *self.labels)


class DaemonFigure(Figure, frozen=True, kw_only=True):
    """One of the whole process."""

    read: Callable[[Observed], Reading]

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return self.labels


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


def _build(daemon: Observed) -> Reading:
    python = ".".join(map(str, sys.version_info[:3]))
    model = daemon.model
    return [((VERSION, python, model.name, model.version), 1)]


def _standstills(daemon: Observed) -> Reading:
    return [((part.name,), part.seconds) for part in daemon.supervisor.standstills()]


FIGURES: Final[Sequence[NodeFigure | DaemonFigure]] = (
    NodeFigure(
        name="serd_events_total",
        kind="counter",
        labels=("emotion",),
        help="Events written to the journal, by emotion.",
        read=_emotions,
    ),
    NodeFigure(
        name="serd_utterances_total",
        kind="counter",
        help="Utterances heard.",
        read=lambda node: _one(node.recogniser.counters.utterances),
    ),
    NodeFigure(
        name="serd_sounds_dropped_total",
        kind="counter",
        labels=("reason",),
        help="Sounds that were no utterance: too short, too quiet, unvoiced, steady, unpitched, "
        "unconfirmed.",
        read=_dropped,
    ),
    NodeFigure(
        name="serd_samples_total",
        kind="counter",
        help="Samples at 16 kHz that arrived and were taken up.",
        read=_source("samples"),
    ),
    NodeFigure(
        name="serd_audio_seconds_total",
        kind="counter",
        help="The same in seconds of sound.",
        read=lambda node: _one(node.source.stats.samples / SAMPLE_RATE),
    ),
    NodeFigure(
        name="serd_overflow_samples_total",
        kind="counter",
        help="Samples, at the device's rate, that the ring buffer dropped because serd was slow.",
        read=_source("overflow_samples"),
    ),
    NodeFigure(
        name="serd_device_overflows_total",
        kind="counter",
        help="Times that the sound driver lost input before serd saw it.",
        read=_source("device_overflows"),
    ),
    NodeFigure(
        name="serd_lost_samples_total",
        kind="counter",
        help="Samples at 16 kHz that are missing in what was analysed, for whatever reason.",
        read=lambda node: _one(node.pipeline.stats().lost_samples),
    ),
    NodeFigure(
        name="serd_buffered_samples",
        kind="gauge",
        help="Samples, at the device's rate, that wait in the ring buffer.",
        read=_source("buffered_samples"),
    ),
    NodeFigure(
        name="serd_source_opens_total",
        kind="counter",
        help="Times the microphone was opened.",
        read=_source("opens"),
    ),
    NodeFigure(
        name="serd_source_state",
        kind="gauge",
        labels=("state",),
        help="1 for the state that the source is in, 0 for the others.",
        read=_states,
    ),
    NodeFigure(
        name="serd_speaking",
        kind="gauge",
        help="1 while somebody speaks.",
        read=lambda node: _one(float(node.pipeline.speaking)),
    ),
    NodeFigure(
        name="serd_level_dbfs",
        kind="gauge",
        help="RMS level of the last second, decibels to full scale; absent while nothing is heard.",
        read=lambda node: _one(node.level_dbfs),
    ),
    NodeFigure(
        name="serd_utterance_to_event_seconds",
        kind="histogram",
        help="From the arrival of an utterance's last sample to the hand-over of its event.",
        read=lambda node: _one(node.publisher.latencies.counts()),
    ),
    NodeFigure(
        name="serd_inference_seconds",
        kind="histogram",
        help="Time of the network and the decision for one utterance.",
        read=lambda node: _one(node.recogniser.inference.counts()),
    ),
    NodeFigure(
        name="serd_events_waiting_for_disk",
        kind="gauge",
        help="Events in memory because the journal cannot be written (256 at most).",
        read=lambda node: _one(node.pipeline.stats().waiting),
    ),
    NodeFigure(
        name="serd_events_lost_total",
        kind="counter",
        labels=("reason",),
        help="Events no subscriber will get: disk (journal unwritable for long), retention "
        "(broker away for longer than the journal keeps) or broker (too large for it).",
        read=_lost,
    ),
    NodeFigure(
        name="serd_journal_pending_events",
        kind="gauge",
        help="Events in the journal that the broker has not acknowledged.",
        read=lambda node: _one(node.waiting),
    ),
    NodeFigure(
        name="serd_mqtt_connected",
        kind="gauge",
        help="1 while the broker listens.",
        read=lambda node: _one(float(node.publisher.connected)),
    ),
    NodeFigure(
        name="serd_mqtt_reconnects_total",
        kind="counter",
        help="Times the connection to the broker was made again.",
        read=_published("reconnects"),
    ),
    NodeFigure(
        name="serd_mqtt_connection_failures_total",
        kind="counter",
        help="Connections to the broker that could not be made, or were lost.",
        read=_published("connection_failures"),
    ),
    NodeFigure(
        name="serd_mqtt_published_total",
        kind="counter",
        help="Hand-overs of events to MQTT, redeliveries included.",
        read=_published("published"),
    ),
    NodeFigure(
        name="serd_mqtt_redelivered_total",
        kind="counter",
        help="Of these, redeliveries.",
        read=_published("redelivered"),
    ),
    NodeFigure(
        name="serd_mqtt_acknowledged_total",
        kind="counter",
        help="Events that the broker has acknowledged.",
        read=_published("acknowledged"),
    ),
    NodeFigure(
        name="serd_mqtt_publish_failures_total",
        kind="counter",
        help="Hand-overs of events that failed; the events stay in the journal.",
        read=_published("publish_failures"),
    ),
    NodeFigure(
        name="serd_mqtt_in_flight_events",
        kind="gauge",
        help="Events handed over that the broker has not acknowledged yet (32 at most).",
        read=_published("in_flight"),
    ),
    NodeFigure(
        name="serd_mqtt_commands_ignored_total",
        kind="counter",
        help="Messages that were no valid command.",
        read=_published("commands_ignored"),
    ),
    DaemonFigure(
        name="serd_hooks_run_total",
        kind="counter",
        help="Hooks that have been run.",
        read=lambda daemon: _one(daemon.hooks.stats().run),
    ),
    DaemonFigure(
        name="serd_hooks_failed_total",
        kind="counter",
        help="Of these, those that could not start, failed, or took too long.",
        read=lambda daemon: _one(daemon.hooks.stats().failed),
    ),
    DaemonFigure(
        name="serd_hooks_dropped_total",
        kind="counter",
        help="Events for which a hook should have run, but earlier runs took too long.",
        read=lambda daemon: _one(daemon.hooks.stats().dropped),
    ),
    DaemonFigure(
        name="serd_healthy",
        kind="gauge",
        help="1 while /healthz says 200: every part works, or waits and knows why.",
        read=lambda daemon: _one(float(daemon.health().well)),
    ),
    DaemonFigure(
        name="serd_part_standstill_seconds",
        kind="gauge",
        labels=("part",),
        help="Time since a part last gave a sign of life, as far as the supervisor has seen.",
        read=_standstills,
    ),
    DaemonFigure(
        name="serd_part_restarts_total",
        kind="counter",
        help="Parts that died and were started again.",
        read=lambda daemon: _one(daemon.supervisor.restarts),
    ),
    DaemonFigure(
        name="serd_build_info",
        kind="gauge",
        labels=("version", "python", "model", "model_version"),
        help="Always 1; what runs is in the labels.",
        read=_build,
    ),
)
"""All of serd's own; the library adds ``process_*`` (memory, processor time, open files)."""


def rows(figure: NodeFigure | DaemonFigure, daemon: Observed) -> Iterator[tuple[list[str], Any]]:
    """Read one figure: the values of all its labels, and its value."""
    if isinstance(figure, NodeFigure):
        for node in daemon.nodes:
            for labels, value in figure.read(node):
                if value is not None:
                    yield [node.name, *labels], value
    else:
        for labels, value in figure.read(daemon):
            if value is not None:
                yield list(labels), value
