"""From source to event, on one thread: read, recognise, hand over to the journal.

The pipeline owns the source: nothing else opens or reads it. It waits for neither the network nor
the disk. Events are journalled on another thread (:mod:`serd.daemon.event_writer`), which calls
the pipeline back for each event that is on disk.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import numpy as np

from serd.audio.file import FileSource
from serd.audio.format import SAMPLE_RATE
from serd.audio.source import EndOfSource
from serd.daemon.event_writer import GIVE_UP_S, EventsRefusedError
from serd.daemon.source_health import SourceHealth
from serd.errors import UnavailableError
from serd.events import event as events
from serd.events.clock import Clock
from serd.events.state import REPEAT_S, RoomState, microphone_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from serd.audio.source import Block, Source
    from serd.backoff import Backoff
    from serd.daemon.event_writer import EventWriter
    from serd.events.state import Mood
    from serd.model.classifier import Recogniser, Recognition
    from serd.model.gathering import Gathered, Gatherer

log = logging.getLogger(__name__)

READ_TIMEOUT_S: Final = 0.5
"""Time limit of one read, and so the longest that a command to mute or stop goes unnoticed."""

OPEN_S: Final = 20.0
"""The longest that a source may take to open: a network camera has to answer first."""

CHECK_S: Final = 1.0
"""Interval at which the pipeline checks its source."""


class Condition(Enum):
    """What the pipeline is doing, in the words of `systemctl status`."""

    STARTING = "starting"
    LISTENING = "listening"
    MUTED = "muted: the microphone is closed"
    QUIET = "quiet hours: the microphone is closed"
    WAITING = "waiting for the microphone"
    ENDED = "the recording has ended"
    STOPPED = "stopped"


class Publisher(Protocol):
    """Where the pipeline announces what it hears; :class:`serd.mqtt.publisher.MqttPublisher`."""

    def announce(
        self,
        *,
        event: events.Event | None = None,
        state: RoomState | None = None,
        speech: bool | None = None,
        muted: bool | None = None,
    ) -> None:
        """Publish what is given, together. Never blocks."""


class PipelineStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the pipeline was created."""

    events: int = 0
    """Events journalled."""
    events_lost: int = 0
    """Events lost because the journal could not be written for too long."""
    lost_samples: int = 0
    """Samples at 16 kHz lost before they reached the segmenter."""
    emotions: dict[str, int] = {}
    """Events journalled, by emotion."""
    waiting: int = 0
    """Events waiting in memory for the journal."""
    energy: float = 0.0
    """Sum of the squares of all samples."""
    energy_samples: int = 0
    """Number of these samples."""


class Pipeline:
    """Feeds a source to the recogniser until it ends, and makes events of the results.

    Args:
        node: The node's name, for events.
        name: Its friendly name, for the state.
        source: The audio source.
        recogniser: Segmenter, front end and classifier.
        writer: Writes events to the journal, where they go first.
        publisher: Where they go next; none of its methods may block.
        mood: The room's mood.
        model: Identifies the recogniser's model in events.
        gatherer: Accumulates evidence over utterances; None: each is judged by itself.
        muted: Whether to start with the microphone closed.
        quiet: Whether to start in quiet hours.
        started_ms: When a recording started, milliseconds since 1970; None: it ends now.
        retry: Delays between attempts to open a missing source.
        on_event: Called with each journalled event, on the writer's thread; must not block.
        health: Tracks what is wrong with the source.
        clock: Wall and monotonic time.
    """

    def __init__(
        self,
        *,
        node: str,
        name: str | None = None,
        source: Source,
        recogniser: Recogniser,
        writer: EventWriter,
        publisher: Publisher,
        mood: Mood,
        model: events.ModelRef,
        gatherer: Gatherer | None = None,
        muted: bool,
        quiet: bool = False,
        started_ms: int | None = None,
        retry: Backoff,
        on_event: Callable[[events.Event], None] | None = None,
        health: SourceHealth | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._node = node
        self._name = name
        self._source = source
        self._recogniser = recogniser
        self._writer = writer
        writer.connect(node, self._journalled)
        self._publisher = publisher
        self._mood = mood
        self._retry = retry
        self._on_event = on_event
        self._health = health or SourceHealth()
        self._clock = clock or Clock()
        self._model = model
        self._gatherer = gatherer

        self._changed = threading.Condition()
        self._muted = muted
        self._quiet = quiet
        self._started_ms = started_ms
        self._stopping = False
        self._interrupted = False
        self.condition = Condition.STARTING
        self.heartbeat = time.monotonic()
        """When the pipeline last processed a block or waited for a known reason (monotonic)."""

        self._opening_until = 0.0
        self._announced = 0.0
        self._announced_as: tuple[Condition, bool, bool] | None = None
        self._checked = 0.0
        # Guards mood, latest event and their publication: the writer's thread changes them, too.
        self._showing = threading.Lock()
        self._latest: events.Event | None = None
        self._corrected: str | None = None
        self._speaking = False
        self._reopened = True
        self._receiving = False
        self._anchor_ms: int | None = None
        self._events = 0
        self._emotions: dict[str, int] = {}
        self._lost_samples = 0
        self._energy = 0.0
        self._energy_samples = 0

    # ------------------------------------------------------------------ from other threads

    def mute(self, muted: bool) -> None:
        """Close the microphone or open it again; returns at once."""
        with self._changed:
            if muted == self._muted:
                return
            self._muted = muted
            self._interrupt()
            closed = self._closed
        if closed:  # otherwise it may be open again by now
            self._source.close()

    def quiet(self, quiet: bool) -> None:
        """Quiet hours begin or end; a recording plays on."""
        with self._changed:
            if quiet == self._quiet:
                return
            self._quiet = quiet
            if not self._source.live:
                return
            self._interrupt()
            closed = self._closed
        if closed:
            self._source.close()

    @property
    def latest(self) -> events.Event | None:
        """The latest event since the start; None if there was none."""
        return self._latest

    def corrected(self, event_id: str, word: str | None) -> None:
        """Record the correction of an event: an emotion or ``not``; None withdraws it."""
        with self._showing:
            if self._latest is None or self._latest.id != event_id:
                return
            self._corrected = word
        self._announce()

    def stop(self) -> None:
        """Stop soon; the utterance in progress is still classified and journalled."""
        with self._changed:
            self._stopping = True
            self._interrupt()
        self._source.close()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._changed.notify_all()

    @property
    def pulse(self) -> float:
        """The heartbeat; it also advances while a source is opening, up to the time limit."""
        return max(self.heartbeat, min(time.monotonic(), self._opening_until))

    @property
    def muted(self) -> bool:
        """Whether the microphone is muted."""
        return self._muted

    @property
    def speaking(self) -> bool:
        """Whether somebody is speaking."""
        return self._speaking

    @property
    def dead(self) -> bool:
        """Whether the source is open but delivers one constant value."""
        return self._health.flat

    @property
    def trouble(self) -> str | None:
        """What is wrong with the source or the journal, in words; None if nothing is."""
        return "; ".join(filter(None, (self._health.trouble, self._writer.trouble))) or None

    def stats(self) -> PipelineStats:
        """A snapshot of the counters."""
        return PipelineStats(
            events=self._events,
            events_lost=self._writer.lost[self._node],
            lost_samples=self._lost_samples,
            emotions=dict(self._emotions),
            waiting=self._writer.waiting(self._node),
            energy=self._energy,
            energy_samples=self._energy_samples,
        )

    # ------------------------------------------------------------------ the thread

    def run(self) -> None:
        """Run until the source ends or :meth:`stop` is called; meant for a thread of its own.

        Raises:
            InputError: The recording cannot be read.
            EventsRefusedError: The journal refuses the events of a recording.
            ModelError: The model failed on an utterance.
        """
        self._announce()
        try:
            while not self._stopping:
                if self._closed:
                    self._stay_closed()
                elif self._open():
                    self._listen()
                    if self.condition is Condition.ENDED:
                        return
        finally:
            self._source.close()
            if self.condition is not Condition.ENDED:
                self.condition = Condition.STOPPED

    @property
    def _closed(self) -> bool:
        """Whether the microphone has to be closed: muted, or quiet hours."""
        return self._muted or (self._quiet and self._source.live)

    def _open(self) -> bool:
        """Open the source; wait for a while if that fails. Returns whether it is open."""
        with self._changed:
            if self._stopping or self._closed:
                return False
            self._interrupted = False
        self._opening_until = time.monotonic() + OPEN_S
        try:
            self._source.open()
        except UnavailableError as error:
            if self._interrupted:  # it was closed while being opened
                return False
            self._health.failed(error)
            self._pause(max(self._retry.next(), error.retry_s))
            return False
        finally:
            self.heartbeat = time.monotonic()
            self._opening_until = 0.0
        if self._interrupted:  # that close() may have come before this open()
            self._source.close()
            return False
        self._anchor_ms = None if self._source.live else self._anchored()
        self._reopened = True
        self._receiving = False
        # A microphone can be open and silent, for example one that its sound server has suspended.
        if not self._source.steady:
            self._begin()
        return True

    def _begin(self) -> None:
        """The source is open, and sound arrives if it is a source that always delivers."""
        self._receiving = True
        self._retry.connected()
        self.condition = Condition.LISTENING
        self._health.opened(self._source.name, self._source.stats.rate)
        self._announce()

    def _anchored(self) -> int:
        """When a recording started, milliseconds since 1970: as given, or so that it ends now.

        A recording played in real time ends in the future; what has been played of it so far ended
        just now.
        """
        if self._started_ms is not None:
            return self._started_ms
        now = self._clock.now_ms()
        if not isinstance(self._source, FileSource) or self._source.pace == "real":
            return now
        return now - math.ceil(1000 * (self._source.length_s() or 0.0))

    def _listen(self) -> None:
        """Read until the source ends, fails or is closed."""
        last: Block | None = None
        wait_s = 0.0
        try:
            while not self._check():
                block = self._source.read(READ_TIMEOUT_S, self._recogniser.batch_samples)
                if block is not None:
                    self._hear(block)
                    last = block
                    self.heartbeat = time.monotonic()
                elif not self._source.steady:
                    self.heartbeat = time.monotonic()
        except EndOfSource:
            if not self._interrupted:
                self.condition = Condition.ENDED
        except UnavailableError as error:
            self._health.failed(error)
            self.condition = Condition.WAITING
            wait_s = error.retry_s
        self._source.close()
        if last is not None:
            self._conclude(self._recogniser.flush(), last)
        self._speaking = False
        self._announce_changes()
        if self.condition is Condition.WAITING:
            self._pause(max(self._retry.next(), wait_s))

    def _hear(self, block: Block) -> None:
        if not self._receiving:
            self._begin()
        if block.lost and not self._reopened:
            self._lost_samples += block.lost
        if block.lost or self._reopened:
            self._reopened = False
            self._conclude(self._recogniser.reset(block.position), block)
        # Not np.dot: BLAS would spread it over threads, and wait for them.
        self._energy += float(np.einsum("i,i->", block.samples, block.samples))
        self._energy_samples += len(block)
        recognitions = self._recogniser.feed(block.samples)
        self._speaking = self._recogniser.speaking
        self._conclude(recognitions, block)
        self._announce_changes()

    def _conclude(self, recognitions: Iterable[Recognition], block: Block) -> None:
        """Make events of the recognitions that a block brought."""
        for recognition in recognitions:
            event = self._event(recognition, block)
            self._wait_for_room()
            self._writer.put(event, block.arrived)

    def _wait_for_room(self) -> None:
        """Pause a recording while too many events wait for the disk.

        A microphone cannot pause: its oldest events are lost if the journal refuses for long.

        Raises:
            EventsRefusedError: The journal refuses the events of a recording.
        """
        give_up = time.monotonic() + GIVE_UP_S
        while self._writer.full(self._node) and not self._stopping:
            trouble = self._writer.trouble
            if trouble is not None and self._source.live:
                return
            if trouble is not None and time.monotonic() >= give_up:
                raise EventsRefusedError(trouble, remedy="the rest of the recording was not heard")
            self._writer.wait_for_room(self._node, CHECK_S)
            self.heartbeat = time.monotonic()

    def _event(self, recognition: Recognition, block: Block) -> events.Event:
        utterance = recognition.utterance
        if self._anchor_ms is None:
            # Live sound ends now, so drift of the sound card's clock does not accumulate.
            end_ms = self._clock.wall_ms_at(block.arrived) - _ms(block.end - utterance.end)
        else:
            # A file header may state too short a length, but no event may lie in the future.
            end_ms = min(self._anchor_ms + _ms(utterance.end), self._clock.now_ms())
        single = recognition.prediction
        told = self._gather(recognition, block)
        return events.make(
            node=self._node,
            started_ms=end_ms - _ms(utterance.end - utterance.start),
            ended_ms=end_ms,
            duration_s=utterance.duration_s,
            prediction=single if told is None else told.prediction,
            level_dbfs=utterance.level_dbfs,
            model=self._model,
            utterance=None if told is None else single,
            gathered=None if told is None else told.utterances,
            prior=None if self._gatherer is None else self._gatherer.prior,
            cut=utterance.cut,
        )

    @property
    def excess(self) -> dict[str, float]:
        """Emotions that this room always sounds like: log-odds that are subtracted."""
        return {} if self._gatherer is None else self._gatherer.excess

    def _gather(self, recognition: Recognition, block: Block) -> Gathered | None:
        """The answer including earlier utterances; None if each is judged by itself."""
        if self._gatherer is None:
            return None
        utterance = recognition.utterance
        # Live sound is timed by the monotonic clock, so that a gap in it counts as silence.
        end_s = utterance.end / SAMPLE_RATE
        if self._anchor_ms is None:
            end_s = block.arrived - (block.end - utterance.end) / SAMPLE_RATE
        return self._gatherer.add(recognition.prediction, end_s - utterance.duration_s, end_s)

    def _journalled(self, event: events.Event) -> None:
        """Publish an event that is on disk now; called on the writer's thread."""
        with self._showing:
            self._events += 1
            self._emotions[event.emotion] = self._emotions.get(event.emotion, 0) + 1
            self._latest = event
            self._corrected = None
            # The utterance's own scores: the mood accumulates evidence by itself.
            scores = event.single_scores
            if self._gatherer is not None:
                scores = self._gatherer.without_excess(scores)
            self._mood.update(scores, self._clock.monotonic())
        self._announce(event)
        if self._on_event is not None:
            self._on_event(event)
        # Not at level info: by default, how people sound does not belong in the system log.
        log.debug(
            "%s %.0f %%, %.1f s at %.0f dBFS",
            event.emotion,
            100 * event.confidence,
            event.duration_s,
            event.level_dbfs,
        )

    # ------------------------------------------------------------------ faults

    def _check(self) -> bool:
        """Check the source periodically; returns whether it has to be reopened."""
        now = time.monotonic()
        self._announce_changes()
        if now - self._checked < CHECK_S:
            return False
        self._checked = now
        return self._health.look(self._source.stats, self._source.name)

    # ------------------------------------------------------------------ waiting

    def _stay_closed(self) -> None:
        """Keep the source closed while muted or in quiet hours."""
        self._source.close()
        self._health.closed()
        if self._gatherer is not None:
            self._gatherer.reset()
        while self._closed and not self._stopping:
            condition = Condition.MUTED if self._muted else Condition.QUIET
            if condition is not self.condition:
                self.condition = condition
                log.info("%s", condition.value)
                self._announce()
            self._wait(1.0, as_muted=condition is Condition.MUTED)
        if not self._stopping:
            self._publisher.announce(muted=self._muted)
            log.info("the microphone may be opened again")

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt to open the source, unless something changes."""
        self.condition = Condition.WAITING
        self._announce_changes()
        deadline = time.monotonic() + seconds
        while not self._interrupted and (left := deadline - time.monotonic()) > 0:
            self._wait(min(left, 1.0))

    def _wait(self, seconds: float, *, as_muted: bool | None = None) -> None:
        """Wait, unless something changes or has just changed; the heartbeat advances."""
        with self._changed:
            changed = self._interrupted if as_muted is None else self._muted != as_muted
            if not (changed or self._stopping):
                self._changed.wait(seconds)
        self.heartbeat = time.monotonic()
        self._announce_changes()

    # ------------------------------------------------------------------ announcements

    def _announce_changes(self) -> None:
        """Announce what has changed; in silence the state repeatedly, because the mood fades.

        While an event is on its way to the disk, changes wait for it and are announced together.
        """
        if self._writer.waiting(self._node) and self._writer.trouble is None:
            return
        due = self._clock.monotonic() - self._announced >= REPEAT_S
        if due or self._announced_as != (self.condition, self._speaking, self._muted):
            self._announce()

    def _announce(self, event: events.Event | None = None) -> None:
        """Publish the present state, with the event that has changed it."""
        with self._showing:  # otherwise an older state could replace a newer one
            self._announced = self._clock.monotonic()
            self._announced_as = (self.condition, self._speaking, self._muted)
            self._publisher.announce(
                event=event, state=self._state(), speech=self._speaking, muted=self._muted
            )

    def _state(self) -> RoomState:
        """The present payload of the state topic."""
        mood = self._mood.read(self._clock.monotonic())
        latest = self._latest
        return RoomState(
            emotion=latest.emotion if latest else None,
            confidence=latest.confidence if latest else None,
            mood=mood.mood,
            mood_valence=events.fixed(mood.valence, 3),
            mood_arousal=events.fixed(mood.arousal, 3),
            speech=self._speaking,
            muted=self._closed,
            updated_at=self._clock.timestamp(),
            microphone=microphone_in(self.condition.name.lower()),
            name=self._name,
            event_id=latest.id if latest else None,
            corrected=self._corrected,
        )


def _ms(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE)
