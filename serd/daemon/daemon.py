"""Wires the rooms into a running process, and watches over it. Nothing else does.

::

    source ──► pipeline thread ──► journal thread ──► publisher thread ──► broker
                    ▲                                        │
                    └───────────────── mute ◄────────────────┘

That is a node (:mod:`serd.daemon.node`). A daemon has one for each microphone; all share one
journal (and its thread) and one model. The main thread supervises the others, reports to the
service manager and sends telemetry.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from serd.audio.open import check_source
from serd.daemon import memory
from serd.daemon.event_writer import GIVE_UP_S, EventWriter
from serd.daemon.node import Began, Node
from serd.daemon.notify import Notifier
from serd.daemon.pipeline import Condition
from serd.daemon.supervisor import Health, Part, PartFailedError, Supervisor, examine
from serd.errors import ConfigError, SerdError, UnavailableError
from serd.events.journal import Journal
from serd.events.telemetry import ProcessFigures, processor_seconds, resident_bytes
from serd.hooks import Hooks
from serd.language import many
from serd.model.classifier import Classifier
from serd.mqtt.access import EMBEDDED, Access
from serd.personal import Personal
from serd.speech import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from serd.config import Config
    from serd.config.loading import Loaded
    from serd.daemon.event_writer import Entry
    from serd.events.event import Event
    from serd.model.model_file import ModelInfo

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
"""How often the main thread looks after the others."""

STOP_TIMEOUT_S: Final = 2.0
"""How long the utterance in flight, its way to the disk and the last messages may take when asked
to stop: each of them."""

WRITER_PATIENCE_S: Final = 60.0
"""The journal's thread hangs if it has shown no sign of life for so long: a bad SD card can take
many seconds for one write. A journal that is locked or refuses is waited for knowingly."""

MAINTAIN_S: Final = 60.0
"""How often old events are removed from the journal."""


Passing = Literal["recordings", "all", "none"]
"""Which nodes are only here for a while."""


class Daemon:
    """All nodes of a configuration, wired and ready to run.

    Args:
        config: A valid configuration.
        notifier: The line to the service manager.
        unwritten: Events that the daemon before it in this process could not write.
        passing: Which nodes are only here for a while, so that at their end all that is retained
            of them is cleared: those that play a recording, all, or none.
        began: When recordings began; see :class:`serd.daemon.node.Node`.
        on_event: Called with each event that was journalled; must not block.

    Raises:
        ConfigError: The configuration asks for something that is not installed.
        ModelError: The model file is not one that serd can use.
        UnavailableError: The journal cannot be written.
    """

    def __init__(
        self,
        config: Config,
        *,
        notifier: Notifier | None = None,
        passing: Passing = "recordings",
        began: Began = None,
        on_event: Callable[[Event], None] | None = None,
        unwritten: Sequence[Entry] = (),
    ) -> None:
        self.config = config
        self._passing = passing
        self._on_event = on_event
        self._notifier = notifier or Notifier()
        self._wake = threading.Event()
        self._stopping = False
        self._reloading = False
        self._again = False
        self._ready = False
        self._began = time.monotonic()
        self._processor_s = processor_seconds()

        classifier = Classifier.configured(config)
        self.model: ModelInfo = classifier.info
        """What the model says of itself."""
        log.info("model %s %s", self.model.name, self.model.version)
        self._journal = Journal(Path(config.journal.path))
        self._writer = EventWriter(self._journal, unwritten=unwritten)
        self.unwritten: Sequence[Entry] = ()
        """Events that could not be written before it began again."""
        self._personal = Personal(config.personal, self._journal, classifier.model)
        self.hooks: Hooks = Hooks(config.hooks)
        former = self._former_names([single.node for single in config.each()])
        self.nodes: Sequence[Node] = [
            Node(
                single,
                classifier=classifier,
                journal=self._journal,
                writer=self._writer,
                personal=self._personal,
                on_event=self._event,
                on_end=self._wake.set,
                alone=not config.sources,
                began=began,
                warn=place == 0,
                former=former if place == 0 else (),
            )
            for place, single in enumerate(config.each())
        ]
        self._personal.begin()
        self.supervisor: Supervisor = Supervisor(
            [
                Part(
                    name="journal writer",
                    alive=lambda: self._writer.alive,
                    heartbeat=lambda: self._writer.heartbeat,
                    patience_s=WRITER_PATIENCE_S,
                    restart=self._writer.start,
                ),
                *(part for node in self.nodes for part in node.parts()),
            ]
        )

    def _former_names(self, names: Sequence[str]) -> list[str]:
        """Nodes that are not called so any more, and whose events the broker has not all got."""
        former = [
            name
            for name in self._journal.nodes()
            if name not in names and self._journal.waiting(name)
        ]
        for name in former:
            log.info(
                "%d events of %s, a node that there is no more, are sent under that name",
                self._journal.waiting(name),
                name,
            )
        return former

    def _event(self, event: Event) -> None:
        """An event was journalled."""
        self.hooks.event(event)
        if self._on_event is not None:
            self._on_event(event)

    # ------------------------------------------------------------------ from anywhere

    def stop(self) -> None:
        """End soon and in good order. Safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def reload(self) -> None:
        """End soon, to begin again with a new configuration. Safe in a signal handler."""
        self._reloading = True
        self._wake.set()

    def health(self) -> Health:
        """Whether it is well, and how each node is."""
        return examine(self.nodes, self.supervisor.standstills(), ready=self._ready)

    # ------------------------------------------------------------------ the main thread

    def run(self, reload: Callable[[], Loaded] | None = None) -> bool:
        """Work until stopped, or until every recording has ended and all of it is delivered.

        Args:
            reload: Called when a reload is asked for. If it raises, that is logged and the daemon
                goes on as it is.

        Returns:
            Whether to begin again, with the configuration that ``reload`` gave.

        Raises:
            ConfigError: The metrics cannot be served where the configuration says.
            UnavailableError: Events could not be written to the journal.
            SerdError: A part of the daemon failed.
        """
        unwritten = 0
        with ExitStack() as stack:
            self._start(stack)
            try:
                self._watch(reload)
            except PartFailedError as error:
                if self._failure is None:  # else it has ended, and the others can
                    self._leave_behind(error)
                if not isinstance(self._failure, SerdError):
                    raise  # else what it died of says more, and is raised below
            finally:
                if not self._again:
                    self._notifier.stopping()
                self._stop_pipelines()
            if any(node.alive for node in self.nodes):
                self._leave_behind(PartFailedError("the pipeline does not stop"))
            ended = all(node.pipeline.condition is Condition.ENDED for node in self.nodes)
            unwritten = self._write_the_rest(patient=ended)
            if ended:
                self._deliver()
        if self._failure is not None:
            raise self._failure
        if unwritten:
            raise UnavailableError(
                f"{unwritten} events are lost: {self._writer.trouble or 'the disk is too slow'}"
            )
        return self._again

    def _start(self, stack: ExitStack) -> None:
        """Start everything; the stack ends it, but for the pipelines, in reverse order."""
        stack.callback(self._journal.close)
        stack.callback(self._writer.stop, 0.0)
        if self.config.metrics.port:
            stack.enter_context(_metrics(self))
        if self.config.mqtt.host == EMBEDDED:
            stack.enter_context(_embedded(self.config.mqtt.port))
        stack.callback(self._stop_publishers)
        for node in self.nodes:
            node.publisher.start()
        stack.callback(self.hooks.stop, STOP_TIMEOUT_S)
        self.hooks.start()
        self._writer.start()
        for node in self.nodes:
            node.start()

    @property
    def _failure(self) -> BaseException | None:
        """What the first pipeline that failed died of."""
        return next((node.failure for node in self.nodes if node.failure is not None), None)

    def _stop_pipelines(self) -> None:
        for node in self.nodes:
            node.pipeline.stop()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for node in self.nodes:
            node.join(max(0.0, deadline - time.monotonic()))

    def _stop_publishers(self) -> None:
        for node in self.nodes:  # all at once, not one after the other
            passing = self._passing == "all" or (
                self._passing == "recordings" and not node.source.live
            )
            node.publisher.leave(STOP_TIMEOUT_S, forget=passing and not self._again)
        for node in self.nodes:
            node.publisher.stop(STOP_TIMEOUT_S)

    def _write_the_rest(self, *, patient: bool) -> int:
        """End the journal's thread after what waits for it.

        Args:
            patient: Whether to wait for a journal that refuses: nobody listens any more, and
                nobody wants it to end at once.

        Returns:
            How many events are lost by that, after it was said.
        """
        give_up = time.monotonic() + GIVE_UP_S
        while patient and not self._stopping and not self._writer.drain(TICK_S):
            if (trouble := self._writer.trouble) is not None:
                self._notifier.status(f"waiting for the journal: {trouble}")
                if time.monotonic() >= give_up:
                    break
        left = self._writer.stop(STOP_TIMEOUT_S)
        if self._writer.alive:
            self._leave_behind(PartFailedError("the journal writer hangs"))
        if self._again:
            self.unwritten = left
            return 0
        if left:
            log.error("%d events could not be written and are lost", len(left))
        return len(left)

    def _leave_behind(self, error: PartFailedError) -> None:
        """End the process in spite of a thread that hangs: it may hold any lock."""
        self._writer.stop(STOP_TIMEOUT_S)
        if self._writer.alive or any(node.alive for node in self.nodes):
            self._notifier.status(error.message)
            self._stop_publishers()
            log.critical("%s; leaving with exit code %d", error.message, error.exit_code)
            os._exit(error.exit_code)

    def _watch(self, reload: Callable[[], Loaded] | None) -> None:
        """Look after the other threads until there is a reason to leave."""
        next_maintenance = self._began + MAINTAIN_S
        while not self._stopping:
            if self._reloading:
                self._reloading = False
                self._again = self._may_reload(reload)
                if self._again:
                    return
            if all(node.ended for node in self.nodes):
                return
            now = time.monotonic()
            if not self._ready and self._all_begun():
                self._ready = True
                log.info("ready after %.2f s", now - self._began)
                self._notifier.ready()
            self._personal.look()
            for node in self.nodes:
                node.tick()
            sentences = [node.tell(now, self.figures) for node in self.nodes]
            self._notifier.status(self._sentence(sentences))
            if self.supervisor.look() and self._ready:
                self._notifier.alive()
            if now >= next_maintenance:
                next_maintenance = now + MAINTAIN_S
                self._maintain()
            self._wake.wait(TICK_S if self._ready else 0.02)
            if not (self._stopping or self._reloading):
                self._wake.clear()

    def _all_begun(self) -> bool:
        return all(node.pipeline.condition is not Condition.STARTING for node in self.nodes)

    def _sentence(self, sentences: list[str]) -> str:
        """How things are, in words; for `systemctl status`."""
        if len(sentences) == 1:
            return sentences[0]
        return " | ".join(
            f"{node.name}: {said}" for node, said in zip(self.nodes, sentences, strict=True)
        )

    def _may_reload(self, reload: Callable[[], Loaded] | None) -> bool:
        """Load the configuration again, and see whether a daemon could be made of it."""
        if reload is None:
            return True
        try:
            check(reload().config, running=self.config)
        except SerdError as error:
            log.error("%s; going on with the old configuration", error)  # noqa: TRY400 (no bug)
            return False
        self._notifier.reloading()
        return True

    def _deliver(self) -> None:
        """Wait until the broker has every event of the recordings.

        Raises:
            UnavailableError: It is there, but does not take them.
        """
        said = False
        for node in self.nodes:
            while not self._stopping and not node.publisher.drain(TICK_S):
                waiting = sum(each.waiting for each in self.nodes)
                self._notifier.status(f"delivering {many(waiting, 'event', 'events')}")
                if refused := node.publisher.undelivered:
                    raise UnavailableError(
                        f"{many(waiting, 'event is', 'events are')} not delivered: {refused}",
                        remedy="`serd check` says more; they wait in the journal, and go out with "
                        "the next run",
                    )
                if not said and not node.publisher.connected:
                    said = True
                    log.info(
                        "waiting for the broker to take %s; Ctrl-C to leave",
                        many(waiting, "event", "events"),
                    )
        while not self._stopping and not self.hooks.drain(TICK_S):
            self._notifier.status("waiting for hooks to end")
        if left_out := sum(node.events_left_out for node in self.nodes):
            lost = many(left_out, "event was", "events were")
            raise UnavailableError(f"{lost} too large for the broker and left out")

    def _maintain(self) -> None:
        memory.give_back()
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
        """What all nodes have in common."""
        hooks = self.hooks.stats()
        uptime = time.monotonic() - self._began
        processor_s = processor_seconds() - self._processor_s
        return ProcessFigures(
            uptime_s=round(uptime),
            hooks_run=hooks.run,
            hooks_failed=hooks.failed,
            hooks_dropped=hooks.dropped,
            rss_mb=round(resident_bytes() / 1e6, 1),
            cpu_percent=round(100 * processor_s / max(uptime, TICK_S), 2),
        )


@contextmanager
def _metrics(daemon: Daemon) -> Iterator[None]:
    """Figures for Prometheus, for as long as the daemon runs."""
    _check_extra(daemon.config)
    from serd.metrics.server import MetricsServer  # noqa: PLC0415 (optional, and not small)

    with MetricsServer(daemon, daemon.config.metrics) as server:
        log.info("metrics on %s", server.url)
        yield


@contextmanager
def _embedded(port: int) -> Iterator[None]:
    """A broker of our own, for as long as the daemon runs."""
    from serd.mqtt.broker import EmbeddedBroker  # noqa: PLC0415 (asyncio and amqtt: heavy, optional)

    with EmbeddedBroker(port=port) as broker:
        log.info("embedded broker on 127.0.0.1:%d", broker.port)
        yield


def check(config: Config, *, running: Config | None = None) -> None:
    """See whether a daemon could be made of a configuration, as far as that harms nobody.

    Args:
        config: The configuration.
        running: That of the daemon that runs in this process: what it occupies is free for its
            successor.

    Raises:
        SerdError: As :class:`Daemon` would.
    """
    Classifier.configured(config)
    for single in config.each():
        Segmenter.of(single.speech)
        check_source(single.audio)
    Access(config.mqtt)
    if config.metrics.port and (running is None or config.metrics != running.metrics):
        _check_extra(config)
        from serd.metrics.server import probe  # noqa: PLC0415 (optional, and not small)

        probe(config.metrics)


def _check_extra(config: Config) -> None:
    if importlib.util.find_spec("prometheus_client") is None:
        raise ConfigError(
            f"metrics.port = {config.metrics.port}: the package prometheus-client is not installed",
            remedy="pip install 'serd-emotion[metrics]', or set metrics.port: 0",
        )
