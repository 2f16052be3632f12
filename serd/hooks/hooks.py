"""The hooks of a daemon: each has a thread and a short queue of its own.

Whoever hears an event only puts it into queues, which never blocks; a hook that is slow, hangs or
is missing delays no other and loses only its own events: the oldest, counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from serd.events.event import encode
from serd.hooks import process
from serd.hooks.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.config import Hook
    from serd.events.event import Event

log = logging.getLogger(__name__)

WAITING_MAX: Final = 16
"""Events that may wait for one hook. More would be news of another hour."""


class HookStats(msgspec.Struct, frozen=True, kw_only=True):
    """What all hooks together have counted since the start."""

    run: int = 0
    """Runs that have ended, well or not."""
    failed: int = 0
    """Of these, how many could not start, left with another code than 0, or took too long."""
    dropped: int = 0
    """Events that were wanted but dropped, because earlier runs took too long or serd ended."""


class Hooks:
    """All hooks of the configuration.

    Args:
        settings: ``hooks`` of the configuration; may be empty, which costs nothing.
        monotonic: The clock of the cooldowns.
    """

    def __init__(
        self, settings: Sequence[Hook], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._choosing = threading.Lock()
        self._workers = [_Worker(hook, place) for place, hook in enumerate(settings)]

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers:
            worker.start()

    def event(self, event: Event) -> None:
        """Let the hooks that want it run for an event. Returns at once; for any thread."""
        if not self._workers:
            return
        with self._choosing:  # of two events at one moment, the cooldown lets one pass
            now = self._monotonic()
            for worker in self._workers:
                if worker.rule.wants(event, now):
                    worker.put(encode(event) + b"\n")

    def drain(self, timeout: float) -> bool:
        """Wait until every run has ended.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether nothing runs or waits any more.
        """
        deadline = time.monotonic() + timeout
        return all(worker.idle(deadline - time.monotonic()) for worker in self._workers)

    def stop(self, timeout: float) -> None:
        """End: what runs may go on for so many seconds, what waits is dropped."""
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.stop(deadline)
        for worker in self._workers:
            worker.join()

    def stats(self) -> HookStats:
        """The counters."""
        return HookStats(
            run=sum(worker.run for worker in self._workers),
            failed=sum(worker.failed for worker in self._workers),
            dropped=sum(worker.dropped for worker in self._workers),
        )


class _Worker:
    """Runs one hook, one run after the other."""

    def __init__(self, settings: Hook, place: int) -> None:
        self._settings = settings
        self._name = f"hook {place + 1} ({Path(settings.command[0]).name})"
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._busy = False
        self._give_up_at: float | None = None
        self._told: str | None = None
        self._thread: threading.Thread | None = None
        self.rule = Rule(settings)
        self.run = 0
        self.failed = 0
        self.dropped = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="serd-hook", daemon=True)
        self._thread.start()

    def put(self, payload: bytes) -> None:
        with self._changed:
            if self._give_up_at is not None:
                self._drop(1, "serd ends")
                return
            if len(self._waiting) == WAITING_MAX:
                self._waiting.popleft()
                self._drop(1, "it is too slow for what it is asked to do")
            self._waiting.append(payload)
            self._changed.notify_all()

    def idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._busy), timeout)

    def stop(self, give_up_at: float) -> None:
        with self._changed:
            self._give_up_at = give_up_at
            if self._waiting:
                self._drop(len(self._waiting), "serd ends")
                self._waiting.clear()
            self._changed.notify_all()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (payload := self._next()) is not None:
            try:
                outcome = process.run(
                    self._settings.command,
                    payload,
                    timeout_s=self._settings.timeout_s,
                    give_up=self._too_late,
                )
            except OSError as error:  # no handles left, say: the hook's trouble, not serd's end
                outcome = process.Outcome(trouble=f"cannot be run: {error.strerror or error}")
            self._report(outcome)
            with self._changed:
                self.run += 1
                self.failed += outcome.trouble is not None
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._give_up_at is not None)
            if not self._waiting:
                return None
            self._busy = True
            return self._waiting.popleft()

    def _too_late(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    def _drop(self, count: int, reason: str) -> None:
        if not self.dropped:
            log.warning("%s missed an event: %s; further ones are only counted", self._name, reason)
        self.dropped += count

    def _report(self, outcome: process.Outcome) -> None:
        """Say a failure once until it changes; the output is for those who look for it."""
        said = f": {outcome.output}" if outcome.output else ""
        if outcome.trouble is None:
            if self._told is not None:
                log.info("%s works again", self._name)
            log.debug("%s ran%s", self._name, said)
        elif outcome.trouble != self._told:
            log.warning("%s %s%s", self._name, outcome.trouble, said)
        else:
            log.debug("%s %s%s", self._name, outcome.trouble, said)
        self._told = outcome.trouble
