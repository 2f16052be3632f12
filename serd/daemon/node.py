"""Everything that belongs to one microphone: source, recogniser, pipeline and publisher of a node.

A daemon has one node or several. They share the model, the journal and the hooks, and nothing else:
each has its own threads and its own connection to the broker, so that each has its own last will.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from serd import language
from serd.audio.file import FileSource
from serd.audio.level import FLOOR_DBFS
from serd.audio.open import make_source
from serd.backoff import Backoff
from serd.daemon.mute import MUTE_KEY, QuietTimes, remembered_mute
from serd.daemon.pipeline import Condition, Pipeline
from serd.daemon.supervisor import Part
from serd.errors import SerdError, UnavailableError, UsageError
from serd.events.event import model_ref
from serd.events.state import Mood
from serd.events.telemetry import Telemetry
from serd.model.gathering import Gatherer
from serd.model.home import SENSITIVITIES
from serd.model.recogniser import Recogniser
from serd.mqtt.commands import WAITING, Command, encode_result, read_request
from serd.mqtt.publisher import MqttPublisher
from serd.mqtt.topics import Topics
from serd.speech import Segmenter
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.config import Config
    from serd.daemon.event_writer import EventWriter
    from serd.daemon.pipeline import PipelineStats
    from serd.events.event import Event
    from serd.events.journal import Journal
    from serd.events.telemetry import ProcessFigures
    from serd.model.classifier import Classifier
    from serd.model.home import Sensitivity
    from serd.mqtt.commands import CorrectRequest
    from serd.personal import Personal

log = logging.getLogger(__name__)

PIPELINE_PATIENCE_S: Final = 30.0
"""A pipeline that has neither heard nor knowingly waited for so long hangs."""

PUBLISHER_PATIENCE_S: Final = 180.0
"""The same for the publisher: looking up the broker's name may take minutes where nobody answers,
and the absence of a broker is no fault of serd's."""

LONGEST_RETRY_S: Final = 5.0
"""Longest wait before a source that is not there is tried again. With the time that it takes to
connect, a camera that comes back is heard within ten seconds."""

SENSITIVITY_KEY: Final = "sensitivity"
"""Under this it keeps the sensitivity, with that of the configuration at the time."""


Began: TypeAlias = int | Literal["file"] | None
"""When a recording began; see :class:`Node`."""


class Node:
    """One place that is listened to.

    Args:
        config: The configuration as it holds for this node (:meth:`serd.config.Config.each`).
        classifier: The model; may be shared between nodes.
        journal: May be shared between nodes.
        writer: Takes events to the journal; may be shared between nodes.
        personal: Takes corrections; may be shared between nodes.
        on_event: Called with each event that was journalled, on the writer's thread; must not
            block.
        on_end: Called when the pipeline has ended, for whatever reason, on its thread.
        alone: Whether it is the only node of the process.
        began: When a recording began: milliseconds since 1970, or ``file`` for the moment at which
            the file's own time says that it ended; None: so that it ends now.
        warn: Whether to log what is unwise in the settings that all nodes share.
        former: Names of nodes that there are no more, whose waiting events it sends as well.

    Raises:
        ConfigError: The configuration asks for something that is not installed.
        InputError: The recording cannot be read.
        UsageError: It would end in the future.
    """

    def __init__(
        self,
        config: Config,
        *,
        classifier: Classifier,
        journal: Journal,
        writer: EventWriter,
        personal: Personal,
        on_event: Callable[[Event], None],
        on_end: Callable[[], object],
        alone: bool = True,
        began: Began = None,
        warn: bool = True,
        former: Sequence[str] = (),
    ) -> None:
        self.name = config.node
        self._config = config
        self._alone = alone
        self._journal = journal
        self._personal = personal
        self._on_end = on_end
        self._quiet_times = QuietTimes(config.quiet_hours)
        decision = self._decision = classifier.decision.like()
        decision.sensitivity = self._remembered_sensitivity()
        self.recogniser = Recogniser(Segmenter.of(config.speech), classifier, decision=decision)
        personal.attach(self.name, decision)
        self.source = make_source(config.audio, alone=alone)
        # Looked at before anybody hears of this node.
        began_ms = _began_ms(self.source, began) if isinstance(self.source, FileSource) else None
        self.publisher = MqttPublisher(
            config.mqtt,
            config.node,
            journal,
            on_mute=self.mute,
            on_sensitivity=self.set_sensitivity if decision.adjustable else None,
            corrections=config.personal.enabled,
            commands=self._commands(),
            version=VERSION,
            thread_name=self._titled("serd-mqtt"),
            warn=warn,
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
            gatherer=Gatherer(decision, config.decision.agree) if decision.home else None,
            muted=remembered_mute(journal.get_meta, config, alone=alone),
            quiet=self._quiet_times.now(),
            began_ms=began_ms,
            retry=Backoff(first_s=1.0, longest_s=LONGEST_RETRY_S),
            on_event=on_event,
        )
        self.failure: BaseException | None = None
        """What the pipeline died of."""
        self.level_dbfs: float | None = None
        """RMS level of the last second or so; None if nothing was heard."""
        self._worker: threading.Thread | None = None
        self._since_tick = _Level()
        self._since_telemetry = _Level()
        self._told = ""
        self._next_telemetry = 0.0

    def _commands(self) -> list[Command]:
        """What it can be told to do over MQTT, beside muting."""
        topics = Topics(self._config.mqtt.base_topic, self.name)
        return [
            Command(
                topic=topics.correct,
                read=read_request,
                obey=self._correct,
                title="take a correction",
                waiting=WAITING,
            )
        ]

    def _correct(self, request: CorrectRequest) -> None:
        """Take what somebody says of an utterance, and answer."""
        answer = self._personal.correct(self.name, request, self.pipeline.latest)
        if answer.ok:
            self.pipeline.corrected(answer.id, answer.emotion)
        self.publisher.answer(self.publisher.topics.correct_result, encode_result(answer))

    # ------------------------------------------------------------------ the switch

    def mute(self, muted: bool) -> None:
        """Close the microphone or open it again, and remember that over restarts."""
        self.pipeline.mute(muted)
        word = "ON" if muted else "OFF"
        try:
            self._journal.set_meta(f"{MUTE_KEY}:{self.name}", word)
            if self._alone:
                self._journal.set_meta(MUTE_KEY, word)
        except UnavailableError as error:
            log.warning("the mute switch will be forgotten at the next start: %s", error)

    # ------------------------------------------------------------------ the sensitivity

    def set_sensitivity(self, sensitivity: Sensitivity) -> None:
        """Tell emotions as readily as this from now on, and remember that over restarts."""
        self._decision.sensitivity = sensitivity
        self.publisher.sensitivity(sensitivity)
        word = f"{sensitivity} {self._config.decision.sensitivity}"
        try:
            self._journal.set_meta(f"{SENSITIVITY_KEY}:{self.name}", word)
        except UnavailableError as error:
            log.warning("the sensitivity will be forgotten at the next start: %s", error)

    @property
    def sensitivity(self) -> Sensitivity:
        """How readily emotions are told."""
        return self._decision.sensitivity

    def _remembered_sensitivity(self) -> Sensitivity:
        """As it was last set for this node, unless the configuration has changed since."""
        configured = self._config.decision.sensitivity
        known = self._journal.get_meta(f"{SENSITIVITY_KEY}:{self.name}") or ""
        own, _, then = known.partition(" ")
        if then != configured:
            return configured
        return next((name for name in SENSITIVITIES if name == own), configured)

    # ------------------------------------------------------------------ the pipeline's thread

    def start(self) -> bool:
        """Start the pipeline on a thread of its own; True."""
        # A daemon thread: one that hangs must not keep the process from its end.
        self._worker = threading.Thread(
            target=self._work, name=self._titled("serd-pipeline"), daemon=True
        )
        self._worker.start()
        return True

    def _work(self) -> None:
        try:
            self.pipeline.run()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread must know
            self.failure = error
        finally:
            self._on_end()

    def _restart(self) -> bool:
        """Start it again after it died, unless it died for a reason that will not go away."""
        error, self.failure = self.failure, None
        # A recording would begin anew, and all its events would come twice.
        if isinstance(error, SerdError) or not self.source.live:
            self.failure = error
            return False
        log.error("the %s died of %s: %s", self._titled("pipeline"), type(error).__name__, error,
                  exc_info=error)  # fmt: skip
        return self.start()

    @property
    def alive(self) -> bool:
        """Whether the pipeline's thread runs."""
        return self._worker is not None and self._worker.is_alive()

    @property
    def ended(self) -> bool:
        """Whether the pipeline has ended, and not of a failure."""
        return self._worker is not None and not self.alive and self.failure is None

    def join(self, timeout: float) -> bool:
        """Wait for the pipeline to end; whether it has."""
        if self._worker is not None:
            self._worker.join(timeout)
        return not self.alive

    # ------------------------------------------------------------------ what the main thread asks

    def parts(self) -> list[Part]:
        """What the supervisor looks after."""
        return [
            Part(
                name=self._titled("pipeline"),
                alive=lambda: self.alive or self.failure is None,
                # A recording that has ended stands still, and that is well.
                heartbeat=lambda: time.monotonic() if self.ended else self.pipeline.pulse,
                patience_s=PIPELINE_PATIENCE_S,
                restart=self._restart,
            ),
            Part(
                name=self._titled("publisher"),
                alive=lambda: self.publisher.alive,
                heartbeat=lambda: self.publisher.heartbeat,
                patience_s=PUBLISHER_PATIENCE_S,
                restart=self.publisher.revive,
            ),
        ]

    def tick(self) -> None:
        """Quiet hours, and the level; about once a second."""
        self.pipeline.quiet(self._quiet_times.now())
        self.level_dbfs = self._since_tick.read(self.pipeline.stats())

    def tell(self, now: float, process: Callable[[], ProcessFigures]) -> str:
        """Send telemetry if it is due: now and then, and when something has changed.

        Args:
            now: Monotonic seconds.
            process: Gives the figures of the whole process.

        Returns:
            How things are, in words.
        """
        sentence = self.sentence()
        if now >= self._next_telemetry or sentence != self._told:
            self._told = sentence
            self._next_telemetry = now + self._config.mqtt.telemetry_s
            self.publisher.telemetry(msgspec.structs.asdict(self.telemetry(process())))
        return sentence

    def sentence(self) -> str:
        """How things are, in words."""
        broker = "" if self.publisher.connected else "the broker does not answer"
        conflict = self.publisher.conflict
        condition = self.pipeline.condition.value
        if self._config.audio.kind != "mic":
            condition = condition.replace("the microphone", "the source")
        return "; ".join(filter(None, (condition, self.trouble, broker, conflict)))

    @property
    def trouble(self) -> str | None:
        """What is wrong with the source, the journal, or what the broker takes; None if nothing."""
        return "; ".join(filter(None, (self.pipeline.trouble, self.publisher.trouble))) or None

    @property
    def state(self) -> str:
        """In one word: as the telemetry's ``condition``, or ``dead`` for an open, dead stream."""
        condition = self.pipeline.condition
        if condition is Condition.LISTENING and self.pipeline.dead:
            return "dead"
        return condition.name.lower()

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return self._journal.waiting(self.name)

    @property
    def events_dropped(self) -> int:
        """Events that the journal dropped before the broker had them."""
        return self._journal.dropped[self.name]

    @property
    def events_left_out(self) -> int:
        """Events that the broker cannot take: they are too large for it."""
        return self.publisher.counters()["left_out"]

    def telemetry(self, process: ProcessFigures) -> Telemetry:
        """What the telemetry topic says now."""
        speech = self.recogniser.counters
        source = self.source.stats
        pipeline = self.pipeline.stats()
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
            level_dbfs=self._since_telemetry.read(pipeline),
            latency_ms=self.publisher.latency_ms,
            rss_mb=process.rss_mb,
            cpu_percent=process.cpu_percent,
        )

    def _titled(self, part: str) -> str:
        """A part's name; with the node's where there are several."""
        return part if self._alone else f"{part} of {self.name}"


def _began_ms(source: FileSource, began: Began) -> int | None:
    """When a recording began, as somebody says; looks whether there is one in any case."""
    length = source.length_s()
    if began is None:
        return None
    length_ms = math.ceil(1000 * (length or 0.0))
    if began == "file":
        return source.path.stat().st_mtime_ns // 1_000_000 - length_ms
    if began + length_ms > time.time_ns() // 1_000_000:
        raise UsageError(
            f"{source.path} would end in the future",
            remedy="correct --started-at: it is when the recording begins",
        )
    return began


class _Level:
    """The level of what was heard since it was last asked for."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._samples = 0

    def read(self, stats: PipelineStats) -> float | None:
        """RMS, dBFS with one decimal; None if nothing was heard."""
        energy, samples = stats.energy - self._energy, stats.energy_samples - self._samples
        self._energy, self._samples = stats.energy, stats.energy_samples
        if samples <= 0:
            return None
        mean = max(0.0, energy) / samples
        return round(max(FLOOR_DBFS, 10 * math.log10(mean)), 1) if mean > 0 else FLOOR_DBFS
