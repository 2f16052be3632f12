"""One node: the source, recogniser, pipeline and publisher of one microphone.

A daemon has one or more nodes. They share the model, the journal and the hooks. Each has its own
threads and its own connection to the broker, because each needs its own last will.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from serd import language
from serd.audio import FLOOR_DBFS
from serd.audio.factory import make_source
from serd.audio.file import FileSource
from serd.backoff import Backoff
from serd.daemon.mute import MUTE_KEY, QuietTimes, remembered_mute
from serd.daemon.pipeline import Condition, Pipeline
from serd.daemon.supervisor import Part
from serd.errors import SerdError, UnavailableError, UsageError
from serd.events.event import model_ref
from serd.events.state import Mood
from serd.events.telemetry import Telemetry
from serd.model.classifier import Recogniser
from serd.model.emotions import EMOTIONS
from serd.model.gathering import Gatherer
from serd.model.metadata import SENSITIVITIES
from serd.mqtt.commands import CORRECTIONS_QUEUED, Command, encode_result, parse_correction
from serd.mqtt.publisher import MqttPublisher
from serd.mqtt.topics import Topics
from serd.speech import Segmenter
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.config import Config, Sensitivity
    from serd.daemon.corrections import CorrectionHandler
    from serd.daemon.event_writer import EventWriter
    from serd.daemon.pipeline import PipelineStats
    from serd.events.event import Event
    from serd.events.journal import Journal
    from serd.events.telemetry import ProcessFigures
    from serd.model.classifier import Classifier
    from serd.mqtt.commands import CorrectRequest

log = logging.getLogger(__name__)

PIPELINE_TIMEOUT_S: Final = 30.0
"""A pipeline that has neither processed sound nor waited for a known reason for this long hangs."""

PUBLISHER_TIMEOUT_S: Final = 180.0
"""The same for the publisher. Resolving the broker's name may take minutes where no name server
answers, and a missing broker is not a fault of serd's."""

LONGEST_RETRY_S: Final = 5.0
"""Longest wait before a missing source is tried again. Including the time that it takes to connect,
a camera that comes back is heard within ten seconds."""

SENSITIVITY_KEY: Final = "sensitivity"
"""The journal's key for the sensitivity, stored with the one configured at the time."""


StartedAt: TypeAlias = int | Literal["file"] | None
"""When a recording started; see :class:`Node`."""


class Node:
    """Listens to one microphone, camera or recording.

    Args:
        config: The configuration of this node (:meth:`serd.config.Config.each`).
        classifier: The model; shared between nodes.
        journal: Shared between nodes.
        writer: Writes events to the journal; shared between nodes.
        corrections: Handles corrections; shared between nodes.
        on_event: Called with each journalled event, on the writer's thread; must not block.
        on_end: Called on the pipeline's thread when it has ended, for whatever reason.
        alone: Whether it is the only node of the process.
        started_at: When a recording started: milliseconds since 1970, or ``file`` if it ended at
            the file's modification time. None: it ends now.
        former: Names of nodes no longer configured, whose undelivered events it sends as well.

    Raises:
        ConfigError: The configuration needs something that is not installed.
        InputError: The recording cannot be read.
        UsageError: The recording would end in the future.
    """

    def __init__(
        self,
        config: Config,
        *,
        classifier: Classifier,
        journal: Journal,
        writer: EventWriter,
        corrections: CorrectionHandler,
        on_event: Callable[[Event], None],
        on_end: Callable[[], object],
        alone: bool = True,
        started_at: StartedAt = None,
        former: Sequence[str] = (),
    ) -> None:
        self.name = config.node
        self._config = config
        self._alone = alone
        self._journal = journal
        self._corrections = corrections
        self._on_end = on_end
        self._quiet_times = QuietTimes(config.quiet_hours)
        decision = self._decision = classifier.decision.copy()
        decision.sensitivity = self._remembered_sensitivity()
        self.recogniser = Recogniser(Segmenter.of(config.speech), classifier, decision=decision)
        corrections.attach(self.name, decision)
        self.source = make_source(config.audio, alone=alone)
        # Fails here, before the node is announced to anyone.
        started_ms = (
            _started_ms(self.source, started_at) if isinstance(self.source, FileSource) else None
        )
        self.publisher = MqttPublisher(
            config.mqtt,
            config.node,
            journal,
            on_mute=self.mute,
            on_sensitivity=self.set_sensitivity if decision.adjustable else None,
            corrections=config.personal.enabled,
            commands=self._commands(),
            version=VERSION,
            thread_name=self._labelled("serd-mqtt"),
            former=former,
            name=config.name,
            words=language.chosen(config.language),
        )
        if decision.adjustable:
            self.publisher.sensitivity(decision.sensitivity)
        info = classifier.info
        self.pipeline = Pipeline(
            node=config.node,
            name=config.name,
            source=self.source,
            recogniser=self.recogniser,
            writer=writer,
            publisher=self.publisher,
            mood=Mood(config.mood.half_life_s, config.mood.margin),
            model=model_ref(info.name, info.version, classifier.model.sha256),
            gatherer=Gatherer.configured(decision, config.decision),
            muted=remembered_mute(journal.get_meta, config, alone=alone),
            quiet=self._quiet_times.now(),
            started_ms=started_ms,
            retry=Backoff(first_s=1.0, longest_s=LONGEST_RETRY_S),
            on_event=on_event,
        )
        self.failure: BaseException | None = None
        """The exception that ended the pipeline."""
        self.level_dbfs: float | None = None
        """RMS level of about the last second; None if no sound arrived."""
        self._worker: threading.Thread | None = None
        self._since_tick = _Level()
        self._since_telemetry = _Level()
        self._reported = ""
        self._next_telemetry = 0.0

    def _commands(self) -> list[Command]:
        """Commands that it takes over MQTT, besides mute and sensitivity."""
        topics = Topics(self._config.mqtt.base_topic, self.name)
        return [
            Command(
                topic=topics.correct,
                read=parse_correction,
                obey=self._correct,
                title="take a correction",
                waiting=CORRECTIONS_QUEUED,
            )
        ]

    def _correct(self, request: CorrectRequest) -> None:
        """Handle a correction, and answer it."""
        answer = self._corrections.correct(self.name, request, self.pipeline.latest)
        if answer.ok:
            self.pipeline.corrected(answer.id, answer.emotion)
        self.publisher.answer(self.publisher.topics.correct_result, encode_result(answer, request))

    # ------------------------------------------------------------------ the switch

    def mute(self, muted: bool) -> None:
        """Close or open the microphone, and remember that across restarts."""
        self.pipeline.mute(muted)
        word = "ON" if muted else "OFF"
        try:
            try:
                self._journal.set_meta(f"{MUTE_KEY}:{self.name}", word)
            finally:  # what cannot be written now is kept
                if self._alone:
                    self._journal.set_meta(MUTE_KEY, word)
        except UnavailableError as error:
            log.warning("the mute switch cannot be saved now, and is tried again: %s", error)

    # ------------------------------------------------------------------ the sensitivity

    def set_sensitivity(self, sensitivity: Sensitivity) -> None:
        """Change the sensitivity, and remember it across restarts."""
        self._decision.sensitivity = sensitivity
        self.publisher.sensitivity(sensitivity)
        word = f"{sensitivity} {self._config.decision.sensitivity}"
        try:
            self._journal.set_meta(f"{SENSITIVITY_KEY}:{self.name}", word)
        except UnavailableError as error:
            log.warning("the sensitivity cannot be saved now, and is tried again: %s", error)

    @property
    def sensitivity(self) -> Sensitivity:
        """How readily emotions are reported."""
        return self._decision.sensitivity

    def _remembered_sensitivity(self) -> Sensitivity:
        """The sensitivity last set for this node, unless the configured one has changed since."""
        configured = self._config.decision.sensitivity
        known = self._journal.get_meta(f"{SENSITIVITY_KEY}:{self.name}") or ""
        own, _, then = known.partition(" ")
        if then != configured:
            return configured
        return next((name for name in SENSITIVITIES if name == own), configured)

    # ------------------------------------------------------------------ the pipeline's thread

    def start(self) -> bool:
        """Start the pipeline on its own thread. Always returns True."""
        # A daemon thread: if it hangs, the process can still exit.
        self._worker = threading.Thread(
            target=self._work, name=self._labelled("serd-pipeline"), daemon=True
        )
        self._worker.start()
        return True

    def _work(self) -> None:
        try:
            self.pipeline.run()
        except BaseException as error:  # noqa: BLE001 - the main thread must learn of it
            self.failure = error
        finally:
            self._on_end()

    def _restart(self) -> bool:
        """Start it again after it died, unless the cause is permanent."""
        error, self.failure = self.failure, None
        # A recording would start over, and all its events would come twice.
        if isinstance(error, SerdError) or not self.source.live:
            self.failure = error
            return False
        log.error("the %s died of %s: %s", self._labelled("pipeline"), type(error).__name__, error,
                  exc_info=error)  # fmt: skip
        return self.start()

    @property
    def alive(self) -> bool:
        """Whether the pipeline's thread is running."""
        return self._worker is not None and self._worker.is_alive()

    @property
    def ended(self) -> bool:
        """Whether the pipeline has ended without a failure."""
        return self._worker is not None and not self.alive and self.failure is None

    def join(self, timeout: float) -> bool:
        """Wait for the pipeline to end; returns whether it has."""
        if self._worker is not None:
            self._worker.join(timeout)
        return not self.alive

    # ------------------------------------------------------------------ for the main thread

    def parts(self) -> list[Part]:
        """The threads to supervise."""
        return [
            Part(
                name=self._labelled("pipeline"),
                alive=lambda: self.alive or self.failure is None,
                # A recording that has ended stalls, and that is fine.
                heartbeat=lambda: time.monotonic() if self.ended else self.pipeline.pulse,
                timeout_s=PIPELINE_TIMEOUT_S,
                restart=self._restart,
            ),
            Part(
                name=self._labelled("publisher"),
                alive=lambda: self.publisher.alive,
                heartbeat=lambda: self.publisher.heartbeat,
                timeout_s=PUBLISHER_TIMEOUT_S,
                unwell_s=PUBLISHER_TIMEOUT_S,
                restart=self.publisher.revive,
            ),
        ]

    def tick(self) -> None:
        """Check quiet hours and measure the level; call it about once a second."""
        self.pipeline.quiet(self._quiet_times.now())
        self.level_dbfs = self._since_tick.read(self.pipeline.stats())

    def report(self, now: float, process: Callable[[], ProcessFigures]) -> str:
        """Send telemetry if it is due: periodically, and whenever the status changes.

        Args:
            now: Monotonic seconds.
            process: Returns the figures of the whole process.

        Returns:
            The status, in words.
        """
        sentence = self.status()
        if now >= self._next_telemetry or sentence != self._reported:
            self._reported = sentence
            self._next_telemetry = now + self._config.mqtt.telemetry_s
            level_dbfs = self._since_telemetry.read(self.pipeline.stats())
            figures = self.telemetry(process(), level_dbfs=level_dbfs)
            self.publisher.telemetry(msgspec.structs.asdict(figures))
        return sentence

    def status(self) -> str:
        """The node's status in words, for `systemctl status`."""
        broker = "" if self.publisher.connected else "the broker does not answer"
        conflict = self.publisher.conflict
        condition = self.pipeline.condition.value
        if self._config.audio.kind != "mic":
            condition = condition.replace("the microphone", "the source")
        return "; ".join(filter(None, (condition, self.trouble, broker, conflict)))

    @property
    def trouble(self) -> str | None:
        """What is wrong with the source, the journal or the broker; None if nothing is."""
        return "; ".join(filter(None, (self.pipeline.trouble, self.publisher.trouble))) or None

    @property
    def state(self) -> str:
        """The pipeline's condition; ``dead`` if the stream is open but delivers one value."""
        condition = self.pipeline.condition
        if condition is Condition.LISTENING and self.pipeline.dead:
            return "dead"
        return condition.name.lower()

    @property
    def waiting(self) -> int:
        """Number of events that the broker has not acknowledged."""
        return self._journal.waiting(self.name)

    @property
    def events_dropped(self) -> int:
        """Number of events that the journal dropped before the broker had them."""
        return self._journal.dropped[self.name]

    @property
    def events_left_out(self) -> int:
        """Number of events that are too large for the broker."""
        return self.publisher.counters()["left_out"]

    def telemetry(self, process: ProcessFigures, *, level_dbfs: float | None = None) -> Telemetry:
        """The present payload of the telemetry topic.

        Args:
            process: The part that all nodes have in common.
            level_dbfs: Of the sound since the previous telemetry.
        """
        speech = self.recogniser.counters
        source = self.source.stats
        pipeline, excess = self.pipeline.stats(), self.pipeline.excess
        return Telemetry(
            uptime_s=process.uptime_s,
            version=VERSION,
            condition=self.pipeline.condition.name.lower(),
            trouble=self.trouble,
            utterances=speech.utterances,
            events=pipeline.events,
            dropped=speech.dropped,
            dropped_short=speech.short,
            dropped_quiet=speech.quiet,
            dropped_unvoiced=speech.unvoiced,
            dropped_steady=speech.steady,
            dropped_unpitched=speech.unpitched,
            dropped_unconfirmed=speech.unconfirmed,
            events_lost=pipeline.events_lost + self.events_dropped + self.events_left_out,
            overflows=source.overflow_samples,
            device_overflows=source.device_overflows,
            lost_samples=pipeline.lost_samples,
            mic_reopens=max(0, source.opens - 1),
            reconnects=self.publisher.counters()["reconnects"],
            waiting=self.waiting,
            hooks_run=process.hooks_run,
            hooks_failed=process.hooks_failed,
            hooks_dropped=process.hooks_dropped,
            buffered_samples=source.buffered_samples,
            level_dbfs=level_dbfs,
            latency_ms=self.publisher.latency_ms,
            excess={name: round(excess.get(name, 0.0), 2) for name in EMOTIONS},
            rss_mb=process.rss_mb,
            cpu_percent=process.cpu_percent,
        )

    def _labelled(self, part: str) -> str:
        """A part's name, with the node's name where there are several nodes."""
        return part if self._alone else f"{part} of {self.name}"


def _started_ms(source: FileSource, started_at: StartedAt) -> int | None:
    """When a recording started, milliseconds since 1970; None if it ends now.

    Raises:
        InputError: It cannot be read.
        UsageError: It would end in the future.
    """
    source.check()
    if started_at is None:
        return None
    length_ms = math.ceil(1000 * (source.length_s() or 0.0))
    if started_at == "file":
        return source.path.stat().st_mtime_ns // 1_000_000 - length_ms
    if started_at + length_ms > time.time_ns() // 1_000_000:
        raise UsageError(
            f"{source.path} would end in the future",
            remedy="correct --started-at: it is when the recording begins",
        )
    return started_at


class _Level:
    """The level of the sound since the previous reading."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._samples = 0

    def read(self, stats: PipelineStats) -> float | None:
        """RMS level in dBFS, one decimal; None if no sound arrived."""
        energy, samples = stats.energy - self._energy, stats.energy_samples - self._samples
        self._energy, self._samples = stats.energy, stats.energy_samples
        if samples <= 0:
            return None
        mean = max(0.0, energy) / samples
        return round(max(FLOOR_DBFS, 10 * math.log10(mean)), 1) if mean > 0 else FLOOR_DBFS
