"""Wires the rooms into a running daemon and supervises it.

::

    source ──► pipeline thread ──► journal thread ──► publisher thread ──► broker
                    ▲                                        │
                    └───────────────── mute ◄────────────────┘

This chain is a node (:mod:`serd.daemon.node`). A daemon has one node per microphone. The nodes
share one journal, its writer thread and one model. The main thread supervises the other threads,
reports to the service manager and sends telemetry.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from serd.audio.factory import check_source
from serd.daemon import memory
from serd.daemon.corrections import CorrectionHandler
from serd.daemon.event_writer import GIVE_UP_S, EventWriter
from serd.daemon.node import Node
from serd.daemon.notify import Notifier
from serd.daemon.pipeline import Condition
from serd.daemon.supervisor import Health, NodeHealth, Part, PartFailedError, Supervisor
from serd.errors import ConfigError, SerdError, UnavailableError
from serd.events.journal import Journal
from serd.events.telemetry import ProcessFigures, processor_seconds, resident_bytes
from serd.hooks import Hooks
from serd.interruption import SignalEvent
from serd.language import many
from serd.model.classifier import Classifier
from serd.mqtt.access import Access
from serd.speech import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from serd.config import Config
    from serd.config.loading import Loaded
    from serd.daemon.event_writer import Entry
    from serd.daemon.node import StartedAt
    from serd.events.event import Event
    from serd.model.metadata import ModelInfo

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
"""Interval at which the main thread checks on the others."""

STARTING_TICK_S: Final = 0.02
"""The same until every pipeline has started, so that readiness is reported promptly."""

STOP_TIMEOUT_S: Final = 2.0
"""Time limit, when asked to stop, for each of: classifying the utterance in flight, writing it to
disk, sending the last messages."""

WRITER_TIMEOUT_S: Final = 60.0
"""The journal thread counts as hung after this long without a heartbeat: a bad SD card can take
many seconds for one write. While it waits for a locked journal, its heartbeat goes on."""

MAINTAIN_S: Final = 60.0
"""Interval at which old events are removed from the journal."""

Temporary = Literal["recordings", "all", "none"]
"""Which nodes are temporary: what they retained on the broker is cleared when they end."""


class Daemon:
    """All nodes of a configuration, wired and ready to run.

    Args:
        config: A valid configuration.
        notifier: The connection to the service manager.
        temporary: Which nodes are temporary: those that play a recording, all, or none.
        started_at: When the recording started; see :class:`serd.daemon.node.Node`.
        on_event: Called with each journalled event; must not block.
        unwritten: Events that the previous daemon in this process could not write.
        unsaved: Switches that it could not write, by the journal's keys.

    Raises:
        ConfigError: The configuration needs something that is not installed, a secret's file cannot
            be used, or the metrics' port is taken.
        ModelError: The model file is unusable.
        UnavailableError: The journal cannot be written, or the embedded broker's port is taken.
    """

    def __init__(
        self,
        config: Config,
        *,
        notifier: Notifier | None = None,
        temporary: Temporary = "recordings",
        started_at: StartedAt = None,
        on_event: Callable[[Event], None] | None = None,
        unwritten: Sequence[Entry] = (),
        unsaved: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        self._temporary = temporary
        self._on_event = on_event
        self._notifier = notifier or Notifier()
        self._wake = SignalEvent()
        self._stopping = False
        self._reload_requested = False
        self._restarting = False
        self._ready = False
        self._created = time.monotonic()
        self._processor_s = processor_seconds()

        _check_surroundings(config)
        classifier = Classifier.configured(config)
        self.model: ModelInfo = classifier.info
        """Metadata of the model in use."""
        log.info("model %s %s", self.model.name, self.model.version)
        self._journal = Journal(Path(config.journal.path), unsaved=unsaved)
        self._writer = EventWriter(self._journal, unwritten=unwritten)
        self.unwritten: Sequence[Entry] = ()
        """Events that could not be written before a restart."""
        self.unsaved: Mapping[str, str] = {}
        """Switches that could not be written before it."""
        self._corrections = CorrectionHandler(config.personal, self._journal, classifier.model)
        self.hooks: Hooks = Hooks(config.hooks)
        former = self._former_names([single.node for single in config.each()])
        self.nodes: Sequence[Node] = [
            Node(
                single,
                classifier=classifier,
                journal=self._journal,
                writer=self._writer,
                corrections=self._corrections,
                on_event=self._event,
                on_end=self._wake.set,
                alone=not config.sources,
                started_at=started_at,
                former=former if index == 0 else (),
            )
            for index, single in enumerate(config.each())
        ]
        self._corrections.start()
        self.supervisor: Supervisor = Supervisor(
            [
                Part(
                    name="journal writer",
                    alive=lambda: self._writer.alive,
                    heartbeat=lambda: self._writer.heartbeat,
                    timeout_s=WRITER_TIMEOUT_S,
                    restart=self._writer.start,
                ),
                *(part for node in self.nodes for part in node.parts()),
            ]
        )

    def _former_names(self, names: Sequence[str]) -> list[str]:
        """Names of nodes that are no longer configured but still have undelivered events."""
        former = [
            name
            for name in self._journal.nodes()
            if name not in names and self._journal.waiting(name)
        ]
        for name in former:
            log.info(
                "%d events of %s, a node that is no longer configured, are sent under that name",
                self._journal.waiting(name),
                name,
            )
        return former

    def _event(self, event: Event) -> None:
        """An event has been journalled."""
        self.hooks.event(event)
        if self._on_event is not None:
            self._on_event(event)

    # ------------------------------------------------------------------ from any thread

    def stop(self) -> None:
        """Stop cleanly and soon. Safe to call from a signal handler."""
        self._stopping = True
        self._wake.set()

    @property
    def reload_requested(self) -> bool:
        """Whether a reload was requested that has not begun."""
        return self._reload_requested

    def reload(self) -> None:
        """Stop soon in order to restart with a new configuration. Safe in a signal handler."""
        self._reload_requested = True
        self._wake.set()

    def health(self) -> Health:
        """Whether the daemon is well, and the state of each node."""
        parts = self.supervisor.standstills()
        status = "; ".join(
            f"{part.name}: no sign of life for {part.seconds:.0f} s"
            for part in parts
            if not part.well
        )
        return Health(
            status=status or ("ok" if self._ready else "starting"),
            nodes={
                node.name: NodeHealth(
                    state=node.state,
                    said=node.status(),
                    trouble=node.trouble,
                    connected=node.publisher.connected,
                )
                for node in self.nodes
            },
            parts=parts,
        )

    # ------------------------------------------------------------------ the main thread

    def run(self, reload: Callable[[], Loaded]) -> Loaded | None:
        """Run until stopped, or until every recording has ended and all of it is delivered.

        Args:
            reload: Loads the configuration again when a reload is requested. If that fails, the
                error is logged and the daemon carries on.

        Returns:
            The configuration to restart with; None if the daemon is done.

        Raises:
            ConfigError: The metrics cannot be served at the configured address.
            UnavailableError: Events could not be written to the journal, or not delivered.
            PartFailedError: A part of the daemon hangs, or died and could not be restarted.
            SerdError: What a node failed with.
        """
        successor: Loaded | None = None
        failed: PartFailedError | None = None
        with ExitStack() as stack:
            self._start(stack)
            try:
                successor = self._watch(reload)
            except PartFailedError as error:
                failed = error
            finally:
                self._restarting = successor is not None
                if failed is not None and self._failure is None:  # a thread hangs: none has ended
                    self._exit_if_hung(failed)
                if not self._restarting:
                    self._notifier.stopping()
                self._stop_pipelines()
            if failed is not None and not isinstance(self._failure, SerdError):
                raise failed
            if any(node.alive for node in self.nodes):
                self._exit_if_hung(PartFailedError("the pipeline does not stop"))
            ended = all(node.pipeline.condition is Condition.ENDED for node in self.nodes)
            lost = self._finish_writing(patient=ended)
            if ended:
                self._deliver()
        self.unsaved = self._journal.unsaved
        if self._failure is not None:
            raise self._failure
        if lost:
            raise UnavailableError(
                f"{lost} events are lost: {self._writer.trouble or 'the disk is too slow'}"
            )
        return successor

    def _start(self, stack: ExitStack) -> None:
        """Start everything; the stack stops all but the pipelines, in reverse order."""
        stack.callback(self._journal.close)
        stack.callback(self._writer.stop, 0.0)
        if self.config.metrics.port:
            stack.enter_context(_metrics(self))
        if self.config.mqtt.embedded:
            stack.enter_context(_embedded_broker(self.config.mqtt.port))
        stack.callback(self._stop_publishers)
        for node in self.nodes:
            node.publisher.start()
        stack.callback(self.hooks.stop, STOP_TIMEOUT_S)
        self.hooks.start()
        self._writer.start()
        for node in self.nodes:
            node.start()

    def _watch(self, reload: Callable[[], Loaded]) -> Loaded | None:
        """Supervise the other threads until there is a reason to leave.

        Returns:
            The configuration to restart with; None to stop.
        """
        next_maintenance = self._created + MAINTAIN_S
        while not self._stopping:
            if self._reload_requested:
                self._reload_requested = False
                if (successor := self._reloaded(reload)) is not None:
                    return successor
            if all(node.ended for node in self.nodes):
                break
            now = time.monotonic()
            if not self._ready and self._all_started():
                self._ready = True
                log.info("ready after %.2f s", now - self._created)
                self._notifier.ready()
            self._corrections.refresh()
            for node in self.nodes:
                node.tick()
            sentences = [node.report(now, self.figures) for node in self.nodes]
            self._notifier.status(self._status(sentences))
            if self.supervisor.look() and self._ready:
                self._notifier.alive()
            if now >= next_maintenance:
                next_maintenance = now + MAINTAIN_S
                self._maintain()
            self._wake.wait(TICK_S if self._ready else STARTING_TICK_S)
            if not (self._stopping or self._reload_requested):
                self._wake.clear()
        return None

    def _reloaded(self, reload: Callable[[], Loaded]) -> Loaded | None:
        """The configuration loaded again; None, after a log message, if it is unusable."""
        try:
            loaded = reload()
            check(loaded.config, running=self.config)
        except SerdError as error:
            log.error("%s; going on with the old configuration", error)  # noqa: TRY400 (no bug)
            return None
        self._notifier.reloading()
        return loaded

    def _all_started(self) -> bool:
        return all(node.pipeline.condition is not Condition.STARTING for node in self.nodes)

    def _status(self, sentences: list[str]) -> str:
        """One line for `systemctl status`."""
        if len(sentences) == 1:
            return sentences[0]
        return " | ".join(
            f"{node.name}: {sentence}" for node, sentence in zip(self.nodes, sentences, strict=True)
        )

    def _maintain(self) -> None:
        memory.release()
        settings = self.config.journal
        try:
            pruned = self._journal.maintain(
                keep_days=settings.keep_days, max_events=settings.max_events
            )
        except UnavailableError as error:
            log.warning("%s", error)
            return
        if pruned.dropped:
            log.error("%d events were dropped before a broker took them: there are more than "
                      "journal.max_events", pruned.dropped)  # fmt: skip

    def figures(self) -> ProcessFigures:
        """Telemetry that all nodes have in common."""
        hooks = self.hooks.stats()
        uptime = time.monotonic() - self._created
        processor_s = processor_seconds() - self._processor_s
        return ProcessFigures(
            uptime_s=round(uptime),
            hooks_run=hooks.run,
            hooks_failed=hooks.failed,
            hooks_dropped=hooks.dropped,
            rss_mb=round(resident_bytes() / 1e6, 1),
            cpu_percent=round(100 * processor_s / max(uptime, TICK_S), 2),
        )

    # ------------------------------------------------------------------ the end

    @property
    def _failure(self) -> BaseException | None:
        """The exception of the first node that failed."""
        return next((node.failure for node in self.nodes if node.failure is not None), None)

    def _stop_pipelines(self) -> None:
        for node in self.nodes:
            node.pipeline.stop()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for node in self.nodes:
            node.join(max(0.0, deadline - time.monotonic()))

    def _stop_publishers(self) -> None:
        for node in self.nodes:  # all at once, not one after the other
            temporary = self._temporary == "all" or (
                self._temporary == "recordings" and not node.source.live
            )
            node.publisher.leave(STOP_TIMEOUT_S, forget=temporary and not self._restarting)
        for node in self.nodes:
            node.publisher.stop(STOP_TIMEOUT_S)

    def _finish_writing(self, *, patient: bool) -> int:
        """Stop the journal thread once it has written what is queued.

        Args:
            patient: Wait for a journal that refuses writes. True at the end of recordings, when
                nothing is being heard any more and nobody has asked serd to stop.

        Returns:
            Number of events lost; they have been logged.
        """
        give_up = time.monotonic() + GIVE_UP_S
        while patient and not self._stopping and not self._writer.drain(TICK_S):
            if (trouble := self._writer.trouble) is not None:
                self._notifier.status(f"waiting for the journal: {trouble}")
                if time.monotonic() >= give_up:
                    break
        left = self._writer.stop(STOP_TIMEOUT_S)
        if self._writer.alive:
            self._exit_if_hung(PartFailedError("the journal writer hangs"))
        if self._restarting:
            self.unwritten = left
            return 0
        if left:
            log.error("%d events could not be written and are lost", len(left))
        return len(left)

    def _deliver(self) -> None:
        """Wait until the broker has every event of the recordings.

        Raises:
            UnavailableError: The broker is there, but does not take them.
        """
        told = False
        for node in self.nodes:
            while not self._stopping and not node.publisher.drain(TICK_S):
                waiting = sum(each.waiting for each in self.nodes)
                if not waiting and not node.publisher.connected:
                    break  # what the broker would learn of this node ends with the recording
                self._notifier.status(f"delivering {many(waiting, 'event', 'events')}")
                if refused := node.publisher.undelivered:
                    raise UnavailableError(
                        f"{many(waiting, 'event is', 'events are')} not delivered: {refused}",
                        remedy="`serd check` says more; they wait in the journal, and go out with "
                        "the next run",
                    )
                if not told and not node.publisher.connected:
                    told = True
                    log.info(
                        "waiting for the broker to take %s; Ctrl-C to leave",
                        many(waiting, "event", "events"),
                    )
        while not self._stopping and not self.hooks.drain(TICK_S):
            self._notifier.status("waiting for hooks to end")
        if left_out := sum(node.events_left_out for node in self.nodes):
            lost = many(left_out, "event was", "events were")
            raise UnavailableError(f"{lost} too large for the broker and left out")

    def _exit_if_hung(self, error: PartFailedError) -> None:
        """Exit the process at once if a thread still runs: a hung thread may hold any lock."""
        self._writer.stop(STOP_TIMEOUT_S)
        if self._writer.alive or any(node.alive for node in self.nodes):
            self._notifier.status(error.message)
            self._stop_publishers()
            log.critical("%s; leaving with exit code %d", error.message, error.exit_code)
            os._exit(error.exit_code)


@contextmanager
def _metrics(daemon: Daemon) -> Iterator[None]:
    """Serve the Prometheus metrics while the daemon runs."""
    from serd.metrics.server import MetricsServer  # noqa: PLC0415 (optional, and not small)

    with MetricsServer(daemon, daemon.config.metrics) as server:
        log.info("metrics on %s", server.url)
        yield


@contextmanager
def _embedded_broker(port: int) -> Iterator[None]:
    """Run serd's own broker while the daemon runs."""
    from serd.mqtt.broker import EmbeddedBroker  # noqa: PLC0415 (asyncio and amqtt: heavy, optional)

    with EmbeddedBroker(port=port) as broker:
        log.info("embedded broker on %s:%d", broker.host, broker.port)
        yield


def check(config: Config, *, running: Config | None = None) -> None:
    """Check whether a daemon could be started with a configuration, without side effects.

    Args:
        config: The configuration.
        running: That of the daemon running in this process; what it occupies will be free for its
            successor.

    Raises:
        SerdError: As :class:`Daemon` would.
    """
    _check_surroundings(config, running)
    Classifier.configured(config)
    for single in config.each():
        Segmenter.of(single.speech)
        check_source(single.audio)


def _check_surroundings(config: Config, running: Config | None = None) -> None:
    """Check files, packages and ports that a configuration needs, as far as that takes no time."""
    mqtt, metrics = config.mqtt, config.metrics
    Access(mqtt)
    ours = running is not None and running.mqtt.embedded and running.mqtt.port == mqtt.port
    if mqtt.embedded and not ours:
        from serd.mqtt import broker  # noqa: PLC0415 (asyncio: for the embedded broker only)

        broker.check(mqtt.port)
    if metrics.port and (running is None or metrics != running.metrics):
        if importlib.util.find_spec("prometheus_client") is None:
            raise ConfigError(
                f"metrics.port = {metrics.port}: the package prometheus-client is not installed",
                remedy="pip install 'serd-emotion[metrics]', or set metrics.port: 0",
            )
        from serd.metrics.server import probe  # noqa: PLC0415 (optional, and not small)

        probe(metrics)
