"""Hooks: programs that serd runs for events, as the configuration says.

Each hook has a thread and a short queue of its own. Queueing an event never blocks; a hook that is
slow, hangs or is missing delays no other and loses only its own events: the oldest, counted.

A program runs in a session of its own, so that Ctrl-C on serd's terminal does not reach it, and so
that everything it starts can be ended with it: when the program has ended or is out of time, its
whole process group is killed. (A process that leaves the group with ``setsid`` is on its own.)
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from serd.child_process import ending, environment, signal_group
from serd.config.secrets import scrubbed
from serd.events.event import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.config import Hook
    from serd.events.event import Event

log = logging.getLogger(__name__)

QUEUE_MAX: Final = 16
"""Events that may wait for one hook. More would be old news by the time they are handled."""

OUTPUT_MAX: Final = 2000
"""Bytes of output kept for the log; the rest is read and discarded."""

GRACE_S: Final = 1.0
"""Seconds between SIGTERM and SIGKILL."""

_POLL_S: Final = 0.05
"""Seconds between looks at a running program: select cannot wait for a child and a pipe at once."""


class HookStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of all hooks together since the start."""

    run: int = 0
    """Runs that have ended, successfully or not."""
    failed: int = 0
    """Of these, runs that could not start, exited with a code other than 0, or timed out."""
    dropped: int = 0
    """Matching events that were dropped because earlier runs took too long or serd stopped."""


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
        self._matching = threading.Lock()
        self._workers = [_Worker(hook, number) for number, hook in enumerate(settings, 1)]

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers:
            worker.start()

    def event(self, event: Event) -> None:
        """Queue an event for the hooks that match it. Returns at once; callable from any thread."""
        if not self._workers:
            return
        with self._matching:  # of two simultaneous events, the cooldown lets one pass
            now = self._monotonic()
            for worker in self._workers:
                if worker.rule.matches(event, now):
                    worker.put(encode(event) + b"\n")

    def drain(self, timeout: float) -> bool:
        """Wait until every run has ended.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            True if nothing runs or waits any more.
        """
        deadline = time.monotonic() + timeout
        return all(worker.idle(deadline - time.monotonic()) for worker in self._workers)

    def stop(self, timeout: float) -> None:
        """Stop: drop waiting events, and give running programs so many seconds to end."""
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


class Rule:
    """When a hook runs: by emotion, confidence and cooldown. Not thread-safe.

    Args:
        settings: One entry of ``hooks`` in the configuration.
    """

    def __init__(self, settings: Hook) -> None:
        self._settings = settings
        self._last_match = -math.inf

    def matches(self, event: Event, now: float) -> bool:
        """Whether the hook should run for an event; if so, its cooldown starts.

        Args:
            event: The event.
            now: Seconds of a monotonic clock: a corrected wall clock must not silence a hook.
        """
        settings = self._settings
        if settings.emotion and event.emotion not in settings.emotion:
            return False
        if event.confidence < settings.min_confidence:
            return False
        if now - self._last_match < settings.cooldown_s:
            return False
        self._last_match = now
        return True


class _Worker:
    """Runs one hook's program, one event at a time."""

    def __init__(self, settings: Hook, number: int) -> None:
        self._settings = settings
        self._name = f"hook {number} ({Path(scrubbed(settings.command[0])).name})"
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._busy = False
        self._kill_at: float | None = None
        """When a running program is ended because serd stops, monotonic seconds."""
        self._last_failure: str | None = None
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
            if self._kill_at is not None:
                self._drop(1, "serd is stopping")
                return
            if len(self._waiting) == QUEUE_MAX:
                self._waiting.popleft()
                self._drop(1, "its program is too slow for so many events")
            self._waiting.append(payload)
            self._changed.notify_all()

    def idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._busy), timeout)

    def stop(self, kill_at: float) -> None:
        with self._changed:
            self._kill_at = kill_at
            if self._waiting:
                self._drop(len(self._waiting), "serd is stopping")
                self._waiting.clear()
            self._changed.notify_all()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (payload := self._next()) is not None:
            try:
                result = run_program(
                    self._settings.command,
                    payload,
                    timeout_s=self._settings.timeout_s,
                    cancelled=self._cancelled,
                )
            except OSError as error:  # out of file handles, say: the hook's failure, not serd's
                result = RunResult(failure=f"cannot be run: {error.strerror or error}")
            self._report(result)
            with self._changed:
                self.run += 1
                self.failed += result.failure is not None
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._kill_at is not None)
            if not self._waiting:
                return None
            self._busy = True
            return self._waiting.popleft()

    def _cancelled(self) -> bool:
        return self._kill_at is not None and time.monotonic() >= self._kill_at

    def _drop(self, count: int, reason: str) -> None:
        if not self.dropped:
            log.warning("%s missed an event: %s; further ones are only counted", self._name, reason)
        self.dropped += count

    def _report(self, result: RunResult) -> None:
        """Log a failure once until it changes; output goes to the debug log."""
        output = f": {self._masked(result.output)}" if result.output else ""
        if result.failure is None:
            if self._last_failure is not None:
                log.info("%s works again", self._name)
            log.debug("%s ran%s", self._name, output)
        elif result.failure != self._last_failure:
            log.warning("%s %s%s", self._name, result.failure, output)
        else:
            log.debug("%s %s%s", self._name, result.failure, output)
        self._last_failure = result.failure

    def _masked(self, output: str) -> str:
        """Its output without logins: programs name the URL that they could not reach."""
        for word in self._settings.command:
            output = scrubbed(output, word)
        return output


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    failure: str | None = None
    """What went wrong, as the end of a sentence; None if the program exited with 0."""
    output: str = ""
    """The beginning of its standard output and standard error."""
    cancelled: bool = False
    """Whether it was ended because serd stops."""


def run_program(
    command: Sequence[str],
    payload: bytes,
    *,
    timeout_s: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Run a program until it ends or times out. Never raises for anything the program does.

    Args:
        command: The program and its arguments; no shell is involved.
        payload: Its standard input, at most what a pipe holds (64 KiB). It need not read it.
        timeout_s: Seconds after which it is ended.
        cancelled: Called now and then; True ends the program early.

    Raises:
        OSError: The system is out of resources to watch the program.
    """
    try:
        process = subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return RunResult(failure=f"cannot be started: {reason}")
    with process:
        try:
            return _watch(process, payload, time.monotonic() + timeout_s, timeout_s, cancelled)
        finally:
            _kill(process)


def _watch(
    process: subprocess.Popen[bytes],
    payload: bytes,
    deadline: float,
    timeout_s: float,
    cancelled: Callable[[], bool],
) -> RunResult:
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101
    os.set_blocking(process.stdin.fileno(), False)
    # A program that does not read its input, or has already ended, has done nothing wrong.
    with contextlib.suppress(OSError):
        process.stdin.write(payload)
    with contextlib.suppress(OSError):
        process.stdin.close()
    output = _Output(process.stdout.fileno())
    failure = None
    ended_early = False
    while not _has_ended(process):
        if time.monotonic() >= deadline:
            failure = f"was ended: it took longer than {timeout_s:g} s"
            break
        if cancelled():
            ended_early, failure = True, "was ended: serd is stopping"
            break
        output.wait(_POLL_S)
    if failure is not None:
        _terminate(process, output)
    output.wait(0)
    # Not reaped yet, so its process id cannot be reused: whatever it left behind is killed now.
    signal_group(process.pid, signal.SIGKILL)
    code = process.wait()
    if failure is None and code:
        failure = ending(code)
    return RunResult(failure=failure, output=output.text(), cancelled=ended_early)


class _Output:
    """Reads a pipe until it is empty, and keeps the beginning."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._kept = bytearray()
        self._open = True
        os.set_blocking(handle, False)

    def wait(self, seconds: float) -> None:
        """Read what is there, or what arrives within the time."""
        if not self._open:
            time.sleep(seconds)
            return
        if not select.select([self._handle], [], [], seconds)[0]:
            return
        try:
            data = os.read(self._handle, 65_536)
        except BlockingIOError:
            return
        self._open = bool(data)
        self._kept += data[: OUTPUT_MAX - len(self._kept)]

    def text(self) -> str:
        """What was kept, as one printable line for the log."""
        words = self._kept.decode(errors="replace").split()
        if len(self._kept) == OUTPUT_MAX and words and "://" in words[-1]:
            words.pop()  # of a URL that ends within its login, the login could not be masked
        return "".join(sign if sign.isprintable() else "?" for sign in " ".join(words))


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the program has ended, without reaping it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _terminate(process: subprocess.Popen[bytes], output: _Output) -> None:
    """Ask the whole group to end, and wait a moment for the program itself."""
    signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while not _has_ended(process) and time.monotonic() < deadline:
        output.wait(_POLL_S)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Make sure that no process stays, whatever happened."""
    if process.returncode is None:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
