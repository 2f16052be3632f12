"""Logging to standard error: as lines for people, for systemd's journal, or as JSON.

Under systemd a message starts with ``<N>``, its syslog priority, which the journal strips
(sd-daemon(3)). It has no time stamp, because the journal adds its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from serd.escaping import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from serd.config import LogConfig

_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}

REPEAT_S: Final = 60.0
"""Minimum interval between repetitions of a warning that others can provoke."""

_KEYS_MAX: Final = 64
_OTHERS: Final = ""


class RepeatedWarnings:
    """Rate-limited warnings, for what an outsider can provoke ten thousand times a second.

    The first warning of a kind is logged at once. Further ones are counted, and the next line, a
    minute later at the earliest, gives their number. The number of kinds is bounded; any further
    ones share one kind. Not thread-safe.

    Args:
        logger: Where to log.
        repeat_s: Minimum seconds between two lines of one kind.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        repeat_s: float = REPEAT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._repeat_s = repeat_s
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def warn(self, kind: str, text: str) -> None:
        """Log a warning, or count it if one of its kind was logged within the last minute.

        Args:
            kind: What it is about, for example a topic.
            text: One printable sentence without a full stop.
        """
        now = self._clock()
        if kind not in self._kinds and len(self._kinds) >= _KEYS_MAX:
            self._drop_idle(now)
            if len(self._kinds) >= _KEYS_MAX:
                kind = _OTHERS
        known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Kind(now)
            self._logger.warning("%s", text)
            return
        known.text = text
        known.count += 1
        self._log_count(known, now)

    def flush(self) -> None:
        """Log the counts of kinds whose minute has passed; call it periodically."""
        now = self._clock()
        for known in self._kinds.values():
            if known.count:
                self._log_count(known, now)

    def _log_count(self, known: _Kind, now: float) -> None:
        since = now - known.logged_at
        if since < self._repeat_s:
            return
        text, count = known.text, known.count
        known.logged_at, known.count = now, 0
        if count == 1:
            self._logger.warning("%s", text)
        else:
            self._logger.warning("%s (%d times in the last %.0f s)", text, count, since)

    def _drop_idle(self, now: float) -> None:
        idle = [
            kind
            for kind, known in self._kinds.items()
            if not known.count and now - known.logged_at >= self._repeat_s
        ]
        for kind in idle:
            del self._kinds[kind]


class _Kind:
    __slots__ = ("count", "logged_at", "text")

    def __init__(self, logged_at: float) -> None:
        self.logged_at = logged_at
        self.text = ""
        self.count = 0


def configure(
    settings: LogConfig,
    *,
    debug: bool = False,
    stream: TextIO | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Log to standard error; replaces earlier handlers.

    Args:
        settings: Level and format. The level applies to serd's own messages; libraries log from
            level warning.
        debug: Log everything, with tracebacks, whatever the level.
        stream: Instead of standard error.
        env: Instead of the process's environment.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    if settings.format == "json":
        handler.setFormatter(_JsonFormatter(tracebacks=debug))
    elif connected_to_journal(stream, os.environ if env is None else env):
        handler.setFormatter(_JournalFormatter(tracebacks=debug))
    else:
        handler.setFormatter(_LineFormatter(tracebacks=debug))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("serd").setLevel("DEBUG" if debug else settings.level.upper())
    # Failing to log (standard error is closed) must not disturb the work.
    logging.raiseExceptions = False


def connected_to_journal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether a stream goes to systemd's journal: ``$JOURNAL_STREAM`` is its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return env.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def node_of(record: logging.LogRecord) -> str:
    """The node that a message belongs to, by its thread; empty if the process has one node."""
    return (record.threadName or "").partition(" of ")[2]


def _indented(text: str) -> str:
    """Indent all lines but the first, so that they do not look like messages of their own."""
    return text.replace("\n", "\n  ")


class _Formatter(logging.Formatter):
    """Appends the exception to the message: on the same line, or with its traceback."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def text(self, record: logging.LogRecord) -> str:
        # Text from outside must not control the terminal or imitate a log line.
        text = escape_controls(record.getMessage(), lines=True)
        if node := node_of(record):
            text = f"{node}: {text}"
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if self._tracebacks:
                text += "\n" + self.formatException(record.exc_info)
            else:
                text += escape_controls(f": {type(error).__name__}: {error}")
        return text


class _LineFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        return f"{time} {record.levelname.lower():<7} {_indented(self.text(record))}"


class _JournalFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in _indented(self.text(record)).splitlines())


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **({"node": node} if (node := node_of(record)) else {}),
            "message": self.text(record),
        }
        return json.dumps(entry, ensure_ascii=False)
