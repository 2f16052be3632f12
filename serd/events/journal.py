"""The journal: every event is in it, on the disk, before it is published.

What it promises:

- An event that :meth:`Journal.append` returned survives ``kill -9`` and a power cut, and its
  ``seq`` is never reused: the newest row is never pruned, and the next number follows from it. A
  damaged file is set aside and a new one started, whose numbers are greater than all previous ones
  (:mod:`serd.events.recovery`).
- :meth:`Journal.unacked` returns what the broker has not acknowledged, in order, also in the next
  process. Acknowledgements are kept in memory and written from time to time; losing some causes
  redeliveries with the same ``id``.
- The same bytes in every redelivery, also after ``kill -9``. ``latency_ms`` is only known when an
  event is handed over, after it was written. It goes into the event's row with the next write and
  waits for that in a file of its own (:mod:`serd.events.latency`), which is not synced: an event
  that was in flight during a power cut may come again with a new latency, all else equal.

Disk: only ``append`` and ``append_many`` wait for the disk, and ``set_meta`` for the mark file,
which keeps switches available while another program has locked the journal. Everything else is
written through the system's cache and becomes durable with the next of these writes.
"""

from __future__ import annotations

import functools
import logging
import math
import sqlite3
import threading
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Self, TypeVar

import msgspec

from serd.errors import SerdError, UnavailableError
from serd.events import rows
from serd.events.clock import Clock
from serd.events.corrections import salvage
from serd.events.database import (
    JournalDamagedError,
    JournalLock,
    JournalWriter,
    explain,
    fold_log,
    open_for_writing,
    prepare,
    read_switch,
)
from serd.events.latency import SLOTS, Key, Latencies
from serd.events.recovery import JournalMark, quarantine
from serd.events.retention import (
    JUMP_MS,
    Age,
    ClockTrust,
    Pruned,
    prune,
    restored_on_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from serd.events.event import Event, ModelRef

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_DAY_MS: Final = 86_400_000
_CHECKPOINT_EVERY: Final = 500
_LATENCIES_KEPT: Final = 4096
_RETRY_S: Final = 1.0
_THOROUGH_S: Final = 3600.0
_CLOCK_KEY: Final = "clock"


def _recovering(
    method: Callable[Concatenate[Journal, P], R],
) -> Callable[Concatenate[Journal, P], R]:
    """Run a method again with a new file if the journal turns out to be damaged."""

    @functools.wraps(method)
    def run(self: Journal, /, *args: P.args, **kwargs: P.kwargs) -> R:
        generation = self.generation
        try:
            return method(self, *args, **kwargs)
        except JournalDamagedError as error:
            self.recover(error, generation)
            return method(self, *args, **kwargs)

    return run


class Journal:
    """The journal of one daemon, opened for writing.

    Shared by the thread that appends (:mod:`serd.daemon.event_writer`) and the publisher's, which
    does the rest. The publisher delays the other thread only by single unsynced writes, well below
    a millisecond, and not by reading. While another program has locked the file, the publisher's
    writes are kept in memory and not retried for every event.

    Args:
        path: The file; its directory is created (0700) if it is missing.
        clock: Both clocks; tests pass their own.
        flush_after: Number of acknowledgements that are written together.
        flush_every_s: Seconds after which :meth:`ack` and ``append`` write them anyway.
        unsaved: Switches that an earlier journal of this process could not write.

    Raises:
        UnavailableError: If the file cannot be written, or another process has it open.
        ConfigError: If it is not a journal, or one of a later version of serd.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        flush_after: int = 64,
        flush_every_s: float = 10.0,
        unsaved: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._clock = clock or Clock()
        self._flush_after = flush_after
        self._flush_every_s = flush_every_s
        prepare(path)
        self._file_lock = JournalLock(path)
        with ExitStack() as undo:
            undo.callback(self._file_lock.release)
            self._mark = JournalMark(path)
            self._mark.unsaved.update(unsaved or {})
            self._latencies = Latencies(path, self._clock)
            undo.callback(self._latencies.close)
            try:
                self._open()
            except JournalDamagedError as error:
                if not self._mark.exists:  # it may be another program's file
                    raise
                aside = quarantine(path, error)
                prepare(path)
                self._open()
                salvage(aside, path)
            undo.pop_all()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self.generation = 0
        """How many times this journal was found damaged and replaced."""
        self._acks_waiting = 0
        self._flushed_at = self._clock.monotonic()
        self._checkpoint_at = 0
        self.dropped: Counter[str] = Counter()
        """By node: events that this process deleted before the broker had acknowledged them."""
        self._notes: dict[str, str] = {}  # for the table ``meta``, not written yet
        self._thorough_at = -math.inf
        self._clock_trust = self._restore_clock_trust()
        self._refused = False
        self._retry_at = 0.0
        self._closed = False
        if self._latencies.unwritten:
            self._try_to_write_waiting(acks=False)

    def _open(self) -> None:
        with ExitStack() as undo:
            self._writer = JournalWriter(self.path)
            undo.callback(self._writer.close)
            self._runs = self._writer.load_runs()
            missing = self._writer.missing_latencies(self._latencies.saved())
            names = {run.row: name for name, run in self._runs.items()}
            for key, latency_ms in missing.items():
                node, seq = rows.split_key(key)
                if node in names:
                    self._latencies.unwritten[names[node], seq] = latency_ms
            self._models = self._writer.load_models()
            self._reader = open_for_writing(self.path, locked=True)
            self._select = rows.select(self._reader)
            undo.pop_all()

    def _restore_clock_trust(self) -> ClockTrust:
        """Load what the previous process knew about the clock."""
        newest = (self._writer.date_of(run, run.last) for run in self._runs.values())
        return ClockTrust(
            self._clock,
            kept=self.get_meta(_CLOCK_KEY),
            heads={node: run.last for node, run in self._runs.items()},
            newest_ms=[ms for ms in newest if ms is not None],
        )

    def recover(self, error: JournalDamagedError, generation: int) -> None:
        """Set the damaged file aside and start a new one, unless another thread has done so.

        Raises:
            UnavailableError: If that is not possible.
        """
        with self._write_lock, self._read_lock:
            if self._closed or self.generation != generation:
                return
            known = list(self._runs)
            self._writer.close()
            self._reader.close()
            aside = quarantine(self.path, error)
            prepare(self.path)
            self._open()
            salvage(aside, self.path)
            self.generation += 1
            self._latencies.unwritten.clear()
            self._acks_waiting = 0
            with self._writer.transaction(synced=True):
                for node in known:
                    self._runs[node] = self._writer.insert_node(node, floor=self._mark.floor(node))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ the pipeline's side

    def append(self, event: Event, *, arrived: float | None = None) -> Event:
        """Number an event and write it; it is on the disk when this returns.

        Args:
            event: As :func:`serd.events.event.make` makes it.
            arrived: When the utterance's last sample arrived, monotonic seconds; its latency is
                measured from then. Without it, from ``ended_at`` by the wall clock.

        Returns:
            The event with its ``seq``.

        Raises:
            UnavailableError: If it cannot be written (disk full...). It then has no number, and
                the journal remains usable.
        """
        return self.append_many([event], arrived=None if arrived is None else [arrived])[0]

    @_recovering
    def append_many(
        self, events: Sequence[Event], *, arrived: Sequence[float] | None = None
    ) -> list[Event]:
        """Like :meth:`append` for several events with one sync: all are written or none.

        Args:
            events: In the order in which they are numbered.
            arrived: One time for each.

        Raises:
            ValueError: If the numbers of events and times differ.
            UnavailableError: As :meth:`append`.
        """
        if arrived is not None and len(arrived) != len(events):
            raise ValueError(f"{len(events)} events, but {len(arrived)} times")
        with self._write_lock:
            self._register({event.node for event in events} - self._runs.keys())
            fresh_models: dict[ModelRef, int] = {}
            numbered: list[Event] = []
            heads: dict[str, int] = {}
            with self._writer.transaction(synced=True):
                for event in events:
                    run = self._runs[event.node]
                    model = self._model_row(event.model, fresh_models)
                    seq = heads[event.node] = heads.get(event.node, run.last) + 1
                    self._writer.insert_event(event, run=run, seq=seq, model=model)
                    numbered.append(msgspec.structs.replace(event, seq=seq))
                self._mark.cover(heads)
                # Half the time: in lively speech acknowledgements never need a write of their own.
                acks = self._flush_is_due(self._flush_every_s / 2)
                self._write_waiting(acks=acks)
            # Only now that it is on the disk: a refused write leaves nothing behind in memory.
            self._written(acks=acks)
            self._models.update(fresh_models)
            for name, seq in heads.items():
                self._runs[name].last = seq
            if arrived is not None:
                self._latencies.arrived(numbered, arrived)
        return numbered

    # ------------------------------------------------------------------ the publisher's side

    @_recovering
    def unacked(self, node: str, *, limit: int = 100, after_seq: int = 0) -> list[Event]:
        """Events of a node that the broker has not acknowledged, in order.

        Args:
            node: The node.
            limit: At most this many.
            after_seq: Only events with a greater number; those up to it are in flight.

        Raises:
            UnavailableError: If the journal cannot be read.
        """
        run = self._runs.get(node)
        if run is None:
            return []
        floor = max(run.acked, after_seq)
        if floor >= run.last:
            return []
        # Copied first: what the appending thread writes meanwhile is in the rows.
        unwritten = dict(self._latencies.unwritten)
        with self._read_lock:
            try:
                found = self._reader.execute(
                    f"{self._select} WHERE e.key > ? AND e.key < ? ORDER BY e.key LIMIT ?",
                    (run.key(floor), run.key(run.last + 1), limit),
                ).fetchall()
            except sqlite3.Error as error:
                raise explain(error, self.path, reading=True) from error
        return [
            event
            if (latency_ms := unwritten.get((node, event.seq))) is None
            else msgspec.structs.replace(event, latency_ms=latency_ms)
            for event in map(rows.to_event, found)
        ]

    @_recovering
    def hand_over(self, event: Event, *, now: float | None = None) -> Event:
        """Measure an event's latency; call it at the hand-over to MQTT and publish what it returns.

        Only the first call for an event measures; later ones, also in a later process, return the
        same. It is written into the event's row with the next write. ``now`` is in
        monotonic seconds.

        Raises:
            UnavailableError: So many latencies wait for a locked journal that no more are taken.
        """
        if event.latency_ms is not None:
            return event
        key = (event.node, event.seq)
        with self._write_lock:
            latency_ms = self._known_latency(key)
            if latency_ms is None:
                if len(self._latencies.unwritten) >= _LATENCIES_KEPT:
                    self._write_waiting_unsynced(acks=False)
                elif len(self._latencies.unwritten) >= SLOTS:
                    self._try_to_write_waiting(acks=False)
                row = self._runs[event.node].key(event.seq)
                latency_ms = self._latencies.measure(event, row, now)
        return msgspec.structs.replace(event, latency_ms=latency_ms)

    @_recovering
    def ack(self, node: str, seq: int) -> None:
        """The broker has acknowledged every event of a node up to this ``seq``.

        Cheap, because acknowledgements are written together.

        Raises:
            ValueError: If there is no such event.
        """
        run = self._runs.get(node)
        if run is None or seq > run.last:
            raise ValueError(f"node {node} has no event {seq}")
        with self._write_lock:
            if seq > run.acked:
                self._acks_waiting += seq - run.acked
                run.acked = seq
                if self._flush_is_due():
                    self._try_to_write_waiting()

    @_recovering
    def flush(self, *, if_due: bool = False) -> None:
        """Write pending acknowledgements without syncing; ``if_due``: only if many or old.

        Raises:
            UnavailableError: If they cannot be written; they stay pending.
        """
        with self._write_lock:
            if self._flush_is_due() or not if_due:
                self._write_waiting_unsynced()

    # ------------------------------------------------------------------ questions

    def nodes(self) -> list[str]:
        """Names of the nodes that have had events, sorted."""
        return sorted(list(self._runs))  # noqa: C414 - list() is atomic beside the other thread

    def last_seq(self, node: str) -> int:
        """Number of the node's newest event; 0 if there was none."""
        run = self._runs.get(node)
        return run.last if run else 0

    def acked_seq(self, node: str) -> int:
        """The broker has acknowledged every event of the node up to this number."""
        run = self._runs.get(node)
        return run.acked if run else 0

    def waiting(self, node: str) -> int:
        """Number of the node's events that the broker has not acknowledged."""
        run = self._runs.get(node)
        return run.waiting if run else 0

    @_recovering
    def get_meta(self, key: str) -> str | None:
        """A value stored by :meth:`set_meta`, also by an earlier process."""
        # The mark is written first, also while the journal itself is locked.
        if (kept := self._mark.get_meta(key)) is not None:
            return kept
        with self._read_lock:
            return read_switch(self._reader, key, self.path)

    @_recovering
    def set_meta(self, key: str, value: str) -> None:
        """Store a value (such as the mute switch); it is on the disk when this returns.

        Raises:
            UnavailableError: If it cannot be written now. It counts nevertheless, and is written
                as soon as that is possible.
        """
        if self.get_meta(key) == value:
            return
        with self._write_lock:
            self._notes[key] = value
            self._mark.set_meta(key, value)
            self._try_to_write_waiting(acks=False)

    @property
    def unsaved(self) -> Mapping[str, str]:
        """Switches that could not be written so far."""
        return dict(self._mark.unsaved)

    # ------------------------------------------------------------------ housekeeping

    @_recovering
    def prune(
        self,
        *,
        keep_days: float,
        max_events: int,
        limit: int = 500,
        aged: bool = True,
        thorough: bool = True,
    ) -> Pruned:
        """Delete the oldest events, a limited number in each call.

        Events older than ``keep_days`` are deleted, and those that exceed ``max_events``: the
        oldest acknowledged ones first, of any node. Unacknowledged events are deleted only if that
        is not enough, never for their age, and are counted. Each node's newest event always stays.
        Age goes by ``started_at``; an event counts as at least as old as any later one.

        Args:
            keep_days: Age limit in days.
            max_events: Rows that may remain, of all nodes together.
            limit: Rows deleted at most by this call.
            aged: Whether age counts.
            thorough: Whether to check every event's age, not only that of the oldest.

        Raises:
            UnavailableError: If the journal cannot be written.
        """
        now_ms = self._clock.now_ms()
        age = Age(
            cutoff_ms=now_ms - round(keep_days * _DAY_MS),
            now_ms=now_ms + JUMP_MS,
            segments={node: self._clock_trust.segments(node) for node in self._runs},
            thorough=thorough,
        )
        with self._write_lock:
            before = Counter({node: run.waiting for node, run in self._runs.items()})
            with restored_on_error(self._runs.values()), self._writer.transaction(synced=False):
                pruned = prune(
                    self._writer.connection,
                    self._runs,
                    age=age if aged else None,
                    max_events=max_events,
                    limit=limit,
                )
            after = Counter({node: run.waiting for node, run in self._runs.items()})
            self.dropped += before - after
        return pruned

    @_recovering
    def maintain(self, *, keep_days: float, max_events: int) -> Pruned:
        """Prune, flush, and checkpoint the log if it has grown; called about once a minute.

        Age counts only while the clock can be believed (:mod:`serd.events.retention`). It
        waits for the disk, but the pipeline does not wait for it.

        Raises:
            UnavailableError: If the journal cannot be written.
        """
        now = self._clock.monotonic()
        with self._write_lock:
            aged = self._clock_trust.check(self._runs)
            thorough = aged and now >= self._thorough_at
            if self._clock_trust.changed or thorough:
                self._clock_trust.changed = False
                self._notes[_CLOCK_KEY] = self._clock_trust.kept
        pruned = self.prune(
            keep_days=keep_days, max_events=max_events, aged=aged, thorough=thorough
        )
        if thorough:
            self._thorough_at = now + _THOROUGH_S
        self.flush(if_due=True)
        with self._write_lock:
            self._mark.save()
        if self._writer.commits - self._checkpoint_at >= _CHECKPOINT_EVERY:
            self._checkpoint_at = self._writer.commits
            with self._read_lock:
                fold_log(self._reader, self.path)
        return pruned

    def close(self) -> None:
        """Write what is pending and close the file. Further calls do nothing."""
        with self._write_lock, self._read_lock:
            if self._closed:
                return
            self._closed = True
            with ExitStack() as after:
                after.callback(self._file_lock.release)
                after.callback(self._latencies.close)
                after.callback(self._writer.close)
                after.callback(self._reader.close)
                self._retry_at = -math.inf  # there is no later try
                try:
                    self._try_to_write_waiting()
                    self._mark.settle({name: run.last for name, run in self._runs.items()})
                    self._mark.save()
                except SerdError as error:
                    log.warning("%s", error)

    def _register(self, nodes: Collection[str]) -> None:
        """Add nodes, before numbers are reserved for them.

        If serd were killed between reserving and the first event, a node unknown to the journal
        would have to be taken for one whose journal was lost, and would start after a gap.
        """
        if nodes:
            with self._writer.transaction(synced=True):
                runs = {
                    node: self._writer.insert_node(node, floor=self._mark.floor(node))
                    for node in sorted(nodes)
                }
            self._runs.update(runs)

    def _model_row(self, model: ModelRef, fresh: dict[ModelRef, int]) -> int:
        row = self._models.get(model) or fresh.get(model)
        if row is None:
            row = fresh[model] = self._writer.insert_model(model)
        return row

    def _known_latency(self, key: Key) -> float | None:
        """The latency that was measured for an event before, from memory or the file."""
        run = self._runs.get(key[0])
        if run is None or key in self._latencies.unwritten:
            return self._latencies.unwritten.get(key)
        if self._latencies.unmeasured(key):  # not in the file either
            return None
        return self._writer.latency_of(run, key[1])

    def _flush_is_due(self, after_s: float | None = None) -> bool:
        age = self._clock.monotonic() - self._flushed_at
        after_s = self._flush_every_s if after_s is None else after_s
        due = self._acks_waiting > 0 and age >= after_s
        return due or self._acks_waiting >= self._flush_after

    def _write_waiting(self, *, acks: bool = True) -> None:
        """Write what is pending; inside a transaction."""
        for (name, seq), latency_ms in self._latencies.unwritten.items():
            self._writer.set_latency(self._runs[name], seq, latency_ms)
        for key, value in self._notes.items():
            self._writer.set_meta(key, value)
        if acks:
            self._writer.set_acked(self._runs.values())

    def _written(self, *, acks: bool = True) -> None:
        self._latencies.unwritten.clear()
        self._notes.clear()
        if acks:
            self._acks_waiting = 0
            self._flushed_at = self._clock.monotonic()

    def _write_waiting_unsynced(self, *, acks: bool = True) -> None:
        with self._writer.transaction(synced=False):
            self._write_waiting(acks=acks)
        self._written(acks=acks)

    def _try_to_write_waiting(self, *, acks: bool = True) -> None:
        """Like :meth:`_write_waiting_unsynced`, but a failure only postpones the write."""
        if self._refused and self._clock.monotonic() < self._retry_at:
            return
        try:
            self._write_waiting_unsynced(acks=acks)
        except UnavailableError as error:
            if not self._refused:
                log.warning("%s; kept in memory until it can", error)
            self._refused = True
            self._retry_at = self._clock.monotonic() + _RETRY_S
        else:
            self._refused = False
