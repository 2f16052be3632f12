"""Wires the rooms into a running process, and watches over it. Nothing else does.

::

    source ──► pipeline thread ──► journal ──► publisher thread ──► broker
                    ▲                                 │
                    └───────────── mute ◄─────────────┘

The main thread handles signals, supervises the other threads, tells the service manager how things
are, and sends telemetry.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from serd import memory
from serd.audio.open import make_source
from serd.errors import SerdError, UnavailableError
from serd.events.event import model_ref
from serd.events.journal import Journal
from serd.events.mood import Mood
from serd.events.telemetry import Telemetry, processor_seconds, resident_bytes
from serd.hooks import Hooks
from serd.model.classifier import Classifier
from serd.model.recogniser import Recogniser
from serd.mqtt.access import EMBEDDED, Access
from serd.mqtt.backoff import Backoff
from serd.mqtt.publisher import MqttPublisher
from serd.notify import Notifier
from serd.pipeline import Condition, Pipeline
from serd.quiet_hours import QuietTimes
from serd.signals import Signals
from serd.speech import Segmenter, make_vad
from serd.supervisor import Part, PartFailedError, Supervisor
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serd.config import Config
    from serd.config.loading import Loaded

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
"""How often the main thread looks after the others."""

PIPELINE_PATIENCE_S: Final = 30.0
"""A pipeline that has neither heard nor knowingly waited for so long hangs. The slowest thing that
it may meet is a bad SD card, which can take some seconds for one write."""

PUBLISHER_PATIENCE_S: Final = 180.0
"""The same for the publisher: looking up the broker's name may take minutes where nobody answers,
and the absence of a broker is no fault of serd's."""

CLOCK_JUMP_S: Final = 300.0
"""The wall clock was set if it moved by more than this against the monotonic one."""

STOP_TIMEOUT_S: Final = 2.0
"""How long the utterance in flight and the last messages may take when asked to stop."""

MAINTAIN_S: Final = 60.0
"""How often old events are removed from the journal."""

MUTE_KEY: Final = "mute"
"""Under this the journal keeps the mute switch."""


class Daemon:
    """One node, wired and ready to run.

    Args:
        config: A valid configuration.
        notifier: The line to the service manager.

    Raises:
        ConfigError: The configuration asks for something that is not installed.
        ModelError: The model file is not one that serd can use.
        UnavailableError: The journal cannot be written.
    """

    def __init__(self, config: Config, *, notifier: Notifier | None = None) -> None:
        self.config = config
        self._notifier = notifier or Notifier()
        self._wake = threading.Event()
        self._stopping = False
        self._reloading = False
        self._again = False
        self._failure: BaseException | None = None
        self._began = time.monotonic()
        self._processor_s = processor_seconds()
        self._clock_offset = time.time() - time.monotonic()
        self._quiet_times = QuietTimes(config.quiet_hours)

        classifier = Classifier.load(
            config.model.path,
            threads=config.model.threads,
            min_confidence=config.model.min_confidence,
        )
        info = classifier.info
        log.info("model %s %s", info.name, info.version)
        segmenter = Segmenter(config.speech, make_vad(config.speech))
        self._recogniser = Recogniser(segmenter, classifier)
        self._source = make_source(config.audio)
        self._journal = Journal(Path(config.journal.path))
        self._publisher = MqttPublisher(
            config.mqtt, config.node, self._journal, on_mute=self.mute, version=VERSION
        )
        self._hooks = Hooks(config.hooks)
        self.pipeline = Pipeline(
            node=config.node,
            source=self._source,
            recogniser=self._recogniser,
            journal=self._journal,
            publisher=self._publisher,
            mood=Mood(config.mood.half_life_s, config.mood.margin),
            model=model_ref(info.name, info.version, classifier.model.sha256),
            muted=self._remembered_mute(),
            quiet=self._quiet_times.now(),
            retry=Backoff(first_s=1.0, longest_s=10.0),
            on_event=self._hooks.event,
        )

    # ------------------------------------------------------------------ from anywhere

    def stop(self) -> None:
        """End soon and in good order. Safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def reload(self) -> None:
        """End soon, to begin again with a new configuration. Safe in a signal handler."""
        self._reloading = True
        self._wake.set()

    def mute(self, muted: bool) -> None:
        """Close the microphone or open it again, and remember that over restarts."""
        self.pipeline.mute(muted)
        try:
            self._journal.set_meta(MUTE_KEY, "ON" if muted else "OFF")
        except UnavailableError as error:
            log.warning("the mute switch will be forgotten at the next start: %s", error)

    # ------------------------------------------------------------------ the main thread

    def run(self, reload: Callable[[], Loaded] | None = None) -> bool:
        """Work until stopped, or until the recording has ended and all of it is delivered.

        Args:
            reload: Called when a reload is asked for. If it raises, that is logged and the daemon
                goes on as it is.

        Returns:
            Whether to begin again, with the configuration that ``reload`` gave.

        Raises:
            SerdError: A part of the daemon failed.
        """
        with ExitStack() as stack:
            stack.callback(self._journal.close)
            if self.config.mqtt.host == EMBEDDED:
                stack.enter_context(_embedded(self.config.mqtt.port))
            stack.callback(self._publisher.stop, STOP_TIMEOUT_S)
            self._publisher.start()
            stack.callback(self._hooks.stop, STOP_TIMEOUT_S)
            self._hooks.start()
            self._start_pipeline()
            try:
                self._watch(reload)
            except PartFailedError as error:
                self._leave_behind(error)
                if not isinstance(self._failure, SerdError):
                    raise  # else what it died of says more, and is raised below
            finally:
                if not self._again:
                    self._notifier.stopping()
                self.pipeline.stop()
                self._worker.join(STOP_TIMEOUT_S)
            if self._worker.is_alive():
                self._leave_behind(PartFailedError("the pipeline does not stop"))
            if self._failure is None and self.pipeline.condition is Condition.ENDED:
                self._deliver()
        if self._failure is not None:
            raise self._failure
        return self._again

    def _start_pipeline(self) -> bool:
        # A daemon thread: one that hangs must not keep the process from its end.
        self._worker = threading.Thread(target=self._work, name="serd-pipeline", daemon=True)
        self._worker.start()
        return True

    def _restart_pipeline(self) -> bool:
        """Start it again after it died, unless it died for a reason that will not go away."""
        error, self._failure = self._failure, None
        # A recording would begin anew, and all its events would come twice.
        if isinstance(error, SerdError) or not self._source.live:
            self._failure = error
            return False
        log.error("the pipeline died of %s: %s", type(error).__name__, error, exc_info=error)
        return self._start_pipeline()

    def _work(self) -> None:
        try:
            self.pipeline.run()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread must know
            self._failure = error
        finally:
            self._wake.set()

    def _leave_behind(self, error: PartFailedError) -> None:
        """End the process in spite of a thread that hangs: it may hold any lock."""
        if self._worker.is_alive():
            self._notifier.status(error.message)
            self._publisher.stop(STOP_TIMEOUT_S)
            log.critical("%s; leaving with exit code %d", error.message, error.exit_code)
            os._exit(error.exit_code)

    def _watch(self, reload: Callable[[], Loaded] | None) -> None:
        """Look after the other threads until there is a reason to leave."""
        ready = False
        next_telemetry = self._began  # one at once: it carries the version
        next_maintenance = self._began + MAINTAIN_S
        told = self._sentence()
        supervisor = self._supervisor()
        while not self._stopping:
            if self._reloading:
                self._reloading = False
                self._again = self._may_reload(reload)
                if self._again:
                    return
            if not self._worker.is_alive() and self._failure is None:
                return
            now = time.monotonic()
            if not ready and self.pipeline.condition is not Condition.STARTING:
                ready = True
                log.info("ready after %.2f s", now - self._began)
                self._notifier.ready()
            self.pipeline.quiet(self._quiet_times.now())
            sentence = self._sentence()
            self._notifier.status(sentence)
            if supervisor.look() and ready:
                self._notifier.alive()
            if now >= next_telemetry or sentence != told:
                told = sentence
                next_telemetry = now + self.config.mqtt.telemetry_s
                self._publisher.telemetry(msgspec.structs.asdict(self.telemetry()))
            if now >= next_maintenance:
                next_maintenance = now + MAINTAIN_S
                self._maintain()
            self._wake.wait(TICK_S if ready else 0.02)
            if not (self._stopping or self._reloading):
                self._wake.clear()

    def _supervisor(self) -> Supervisor:
        return Supervisor(
            [
                Part(
                    name="pipeline",
                    alive=lambda: self._worker.is_alive() or self._failure is None,
                    heartbeat=lambda: self.pipeline.heartbeat,
                    patience_s=PIPELINE_PATIENCE_S,
                    restart=self._restart_pipeline,
                ),
                Part(
                    name="publisher",
                    alive=lambda: self._publisher.alive,
                    heartbeat=lambda: self._publisher.heartbeat,
                    patience_s=PUBLISHER_PATIENCE_S,
                    restart=self._publisher.revive,
                ),
            ]
        )

    def _may_reload(self, reload: Callable[[], Loaded] | None) -> bool:
        """Load the configuration again, and see whether a daemon could be made of it."""
        if reload is None:
            return True
        try:
            check(reload().config)
        except SerdError as error:
            log.error("%s; going on with the old configuration", error)  # noqa: TRY400 (no bug)
            return False
        self._notifier.reloading()
        return True

    def _deliver(self) -> None:
        """Wait until the broker has every event of the recording."""
        said = False
        while not self._stopping and not self._publisher.drain(TICK_S):
            waiting = self._journal.waiting(self.config.node)
            self._notifier.status(f"delivering {waiting} events")
            if not said and not self._publisher.connected:
                said = True
                log.info("waiting for the broker to take %d events; Ctrl-C to leave", waiting)
        while not self._stopping and not self._hooks.drain(TICK_S):
            self._notifier.status("waiting for hooks to end")

    def _maintain(self) -> None:
        memory.give_back()
        settings = self.config.journal
        offset = time.time() - time.monotonic()
        jumped, self._clock_offset = offset - self._clock_offset, offset
        if abs(jumped) > CLOCK_JUMP_S:
            # An event that waits for the broker must not be too old all of a sudden: a clock that
            # was wrong at the start is set at the moment that the network comes.
            log.warning("the clock was set by %+.0f s; nothing is forgotten for now", jumped)
            return
        try:
            pruned = self._journal.maintain(
                keep_days=settings.keep_days, max_events=settings.max_events
            )
        except UnavailableError as error:
            log.warning("%s", error)
            return
        if pruned.dropped:
            log.error("%d events were dropped before a broker took them", pruned.dropped)

    def _sentence(self) -> str:
        """How things are, in words; for `systemctl status`."""
        broker = "" if self._publisher.connected else "the broker does not answer"
        trouble = self.pipeline.trouble
        conflict = self._publisher.conflict
        return "; ".join(filter(None, (self.pipeline.condition.value, trouble, broker, conflict)))

    def _remembered_mute(self) -> bool:
        remembered = self._journal.get_meta(MUTE_KEY)
        return self.config.mute if remembered is None else remembered == "ON"

    def telemetry(self) -> Telemetry:
        """What the telemetry topic says now."""
        speech = self._recogniser.counters
        source = self._source.stats
        pipeline = self.pipeline.stats()
        hooks = self._hooks.stats()
        uptime = time.monotonic() - self._began
        return Telemetry(
            uptime_s=round(uptime),
            version=VERSION,
            condition=self.pipeline.condition.name.lower(),
            trouble=self.pipeline.trouble,
            utterances=speech.utterances,
            events=pipeline.events,
            dropped=speech.dropped,
            dropped_short=speech.short,
            dropped_quiet=speech.quiet,
            dropped_unvoiced=speech.unvoiced,
            dropped_steady=speech.steady,
            dropped_unpitched=speech.unpitched,
            events_lost=pipeline.events_lost + self._journal.dropped,
            overflows=source.overflow_samples,
            device_overflows=source.device_overflows,
            lost_samples=pipeline.lost_samples,
            mic_reopens=max(0, source.opens - 1),
            reconnects=self._publisher.counters()["reconnects"],
            waiting=self._journal.waiting(self.config.node),
            hooks_run=hooks.run,
            hooks_failed=hooks.failed,
            hooks_dropped=hooks.dropped,
            buffered_samples=source.buffered_samples,
            level_dbfs=pipeline.level_dbfs,
            latency_ms=self._publisher.latency_ms,
            rss_mb=round(resident_bytes() / 1e6, 1),
            cpu_percent=round(
                100 * (processor_seconds() - self._processor_s) / max(uptime, TICK_S), 2
            ),
        )


@contextmanager
def _embedded(port: int) -> Iterator[None]:
    """A broker of our own, for as long as the daemon runs."""
    from serd.mqtt.embedded import EmbeddedBroker  # noqa: PLC0415 (asyncio and amqtt: heavy, optional)

    with EmbeddedBroker(port=port) as broker:
        log.info("embedded broker on 127.0.0.1:%d", broker.port)
        yield


def run_daemon(loaded: Loaded, *, reload: Callable[[], Loaded] | None = None) -> int:
    """Run the daemon as a process: with its signals, until its end.

    SIGTERM and SIGINT end it in good order; SIGHUP loads the configuration again, and goes on with
    the old one if the new one is wrong.

    Args:
        loaded: The configuration to begin with.
        reload: Loads it again.

    Returns:
        The exit code: 0.

    Raises:
        SerdError: It could not start, or a part of it failed.
    """
    notifier = Notifier()
    with ExitStack() as stack:
        stack.callback(memory.unsettle)
        signals = stack.enter_context(Signals())
        while True:
            fresh: list[Loaded] = []
            daemon = Daemon(loaded.config, notifier=notifier)
            memory.settle()
            signals.send_to(daemon)
            if not daemon.run(_keeping(reload, fresh)):
                notifier.close()
                return 0
            if fresh:
                loaded = fresh[-1]
                log.info("configuration loaded again")


def _keeping(
    reload: Callable[[], Loaded] | None, kept: list[Loaded]
) -> Callable[[], Loaded] | None:
    """A ``reload`` that also keeps what it gave."""
    if reload is None:
        return None

    def keep() -> Loaded:
        kept.append(reload())
        return kept[-1]

    return keep


def check(config: Config) -> None:
    """See whether a daemon could be made of a configuration, as far as that harms nobody.

    Raises:
        SerdError: As :class:`Daemon` would.
    """
    Classifier.load(
        config.model.path,
        threads=config.model.threads,
        min_confidence=config.model.min_confidence,
    )
    make_vad(config.speech)
    make_source(config.audio)
    Access(config.mqtt)
