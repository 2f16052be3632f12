"""Where log messages go: standard error, as lines for people, for systemd's journal, or as JSON.

Under systemd a message begins with ``<N>``, its syslog priority, which the journal takes off again
(sd-daemon(3)), and has no time, because the journal has its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from serd.config import LogConfig

_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


def configure(
    settings: LogConfig,
    *,
    debug: bool = False,
    stream: TextIO | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Send the log of this process to standard error; earlier handlers are replaced.

    Args:
        settings: Level and format. The level is for serd's own messages; libraries speak up from
            warnings on.
        debug: Write everything, with tracebacks, whatever the level.
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
    # A log that cannot be written (standard error closed) must not disturb the work.
    logging.raiseExceptions = False


def connected_to_journal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether a stream goes to systemd's journal: ``$JOURNAL_STREAM`` is its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return env.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def node_of(record: logging.LogRecord) -> str:
    """Whose message it is where one process has several nodes, by its thread; else empty."""
    return (record.threadName or "").partition(" of ")[2]


class _Formatter(logging.Formatter):
    """Adds what was raised to the message: its name in the same line, or all of it."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if node := node_of(record):
            text = f"{node}: {text}"
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if self._tracebacks:
                text += "\n" + self.formatException(record.exc_info)
            else:
                text += f": {type(error).__name__}: {error}"
        return text


class _LineFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        return f"{time} {record.levelname.lower():<7} {self.text(record)}"


class _JournalFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in self.text(record).splitlines())


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
