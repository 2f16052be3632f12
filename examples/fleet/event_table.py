"""The table of events in PostgreSQL: converts messages to rows and stores each row once.

Messages are validated by serd's own code, as by ``serd tail`` and the dashboard.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from typing import Any, Final, NamedTuple

import psycopg

from serd.logs import RepeatedWarnings
from serd.mqtt.messages import EventMessage, decode_message

log = logging.getLogger("to_postgres")

COLUMNS: Final = (
    "id", "home", "node", "seq", "started_at", "ended_at", "duration_s", "emotion", "confidence",
    "scores", "valence", "arousal", "level_dbfs", "model", "model_sha256", "latency_ms",
)  # fmt: skip
INSERT: Final = (
    f"INSERT INTO serd.event ({', '.join(COLUMNS)}) "  # noqa: S608 - constants
    f"VALUES ({', '.join(['%s'] * len(COLUMNS))}) ON CONFLICT (id) DO NOTHING"
)
REFUSE: Final = "INSERT INTO serd.refused (topic, reason, bytes, payload) VALUES (%s, %s, %s, %s)"
REFUSED_A_MINUTE: Final = 60
"""Invalid messages recorded per minute; the rest are only counted."""

KEPT_BYTES: Final = 4096
"""Bytes of their payload that are recorded."""


class StopError(Exception):
    """The process cannot continue; carries a message for the user and an exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Row(NamedTuple):
    """A message waiting to be stored."""

    mid: int
    topic: str
    payload: bytes


class Pause:
    """Exponential backoff with jitter: 0.5 s at first, 30 s at most."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds until the next attempt."""
        return max(0.0, self._until - time.monotonic())

    def failed(self) -> None:
        """Record a failed attempt."""
        widest = min(30.0, 0.5 * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._until = time.monotonic() + widest * random.uniform(0.5, 1.0)  # noqa: S311

    def worked(self) -> None:
        """Record a successful attempt."""
        self._failures = 0


def home_pattern(topic: str) -> re.Pattern[str]:
    """Matches the first ``+`` of ``homes/+/serd/+/emotion``; with one ``+`` it never matches."""
    levels = topic.split("/")
    if levels.count("+") < 2:
        return re.compile(r"(?!)")
    first = levels.index("+")
    return re.compile(f"{re.escape('/'.join(levels[:first]))}/([^/]+)/")


def columns_of(topic: str, payload: bytes, home: re.Pattern[str]) -> tuple[Any, ...]:
    """The values of :data:`COLUMNS` for one message, validated by serd's own code.

    Raises:
        ValueError: It is not an event of schema 1, or names another node than its topic.
    """
    message = decode_message(topic.rsplit("/", 2)[0], topic, payload)
    if not isinstance(message, EventMessage):
        raise ValueError("not an event")  # noqa: TRY004 - as decode_message()
    event, found = message.event, home.match(topic)
    model = event.model
    return (
        event.id, found[1] if found else "", event.node, event.seq, event.started_at,
        event.ended_at, event.duration_s, event.emotion, event.confidence,
        json.dumps(event.scores), event.valence, event.arousal, event.level_dbfs,
        f"{model.name} {model.version}", model.sha256, event.latency_ms,
    )  # fmt: skip


class Refused:
    """Records refused messages, limited so that they cannot fill the database."""

    def __init__(self) -> None:
        self._minute = 0.0
        self._left = 0
        self._told = ""
        self.kept = 0

    def keep(self, connection: psycopg.Connection, refused: list[tuple[Row, str]]) -> None:
        """Record messages up to the limit; if the table cannot be written, carry on."""
        now = time.monotonic()
        if now - self._minute >= 60.0:
            self._minute, self._left = now, REFUSED_A_MINUTE
        taken = refused[: self._left]
        self._left -= len(taken)
        if not taken:
            return
        values = [
            (_text(row.topic), _text(reason), len(row.payload), row.payload[:KEPT_BYTES])
            for row, reason in taken
        ]
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(REFUSE, values)
            self.kept += len(values)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            if (line := _line(error)) != self._told:
                self._told = line
                log.warning("what is refused cannot be kept: %s; see schema.sql", line)


class Database:
    """Stores rows in PostgreSQL, each once, and reconnects when necessary.

    Args:
        dsn: libpq connection string; what it omits comes from PGHOST, PGPASSWORD and so on.
        home: Finds the home in a topic.
    """

    def __init__(self, dsn: str, home: re.Pattern[str]) -> None:
        self._dsn = dsn
        self._home = home
        self._connection: psycopg.Connection | None = None
        self._told: str | None = None
        self.pause = Pause()
        self._refused = Refused()
        self._warnings = RepeatedWarnings(log)
        self.stored = self.known = self.rejected = self.batches = self.connections = 0
        self.commit_s = 0.0

    def store(self, rows: list[Row]) -> bool:
        """Store and commit all of them; returns False if that must be tried again later.

        Raises:
            StopError: The table or one of its columns is missing.
        """
        if self.pause.left > 0:
            return False
        try:
            begun = time.monotonic()
            self._store(self._open(), rows)
            self.commit_s += time.monotonic() - begun
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise StopError(
                f"{_line(error)}: run `psql -f schema.sql` on this database", 78
            ) from None
        except psycopg.Error as error:
            self.close()
            self.pause.failed()
            self._tell(f"database: {_line(error)}; trying again until it works")
            return False
        self.batches += 1
        self.pause.worked()
        return True

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> psycopg.Connection:
        if self._connection is None:
            # Time-outs shorter than the MQTT keep-alive, because MQTT is not read meanwhile.
            self._connection = psycopg.connect(
                self._dsn,
                connect_timeout=5,
                options="-c statement_timeout=20000 -c lock_timeout=10000",
                application_name="serd to_postgres",
                keepalives_idle=15,
                tcp_user_timeout=20_000,
            )
            self.connections += 1
            self._tell(None)
        return self._connection

    def _store(self, connection: psycopg.Connection, rows: list[Row]) -> None:
        values: list[tuple[Row, tuple[Any, ...]]] = []
        refused: list[tuple[Row, str]] = []
        for row in rows:
            try:
                values.append((row, columns_of(row.topic, row.payload, self._home)))
            except ValueError as error:
                refused.append((row, str(error)))
        stored = 0
        try:
            with connection.transaction(), connection.cursor() as cursor:
                if values:
                    # One round trip: psycopg pipelines it.
                    cursor.executemany(INSERT, [value for _, value in values])
                    stored = cursor.rowcount
        except (psycopg.DataError, psycopg.IntegrityError):
            # One of them can never be stored. This is rare, so a round trip for each is fine.
            stored = 0
            with connection.transaction():
                for row, value in values:
                    try:
                        with connection.transaction():
                            stored += connection.execute(INSERT, value).rowcount
                    except (psycopg.DataError, psycopg.IntegrityError) as error:
                        refused.append((row, _line(error)))
        for row, reason in refused:
            self._warnings.warn("refused", f"{_text(row.topic)}: {_text(reason)}; refused")
        self._refused.keep(connection, refused)
        self.stored += stored
        self.rejected += len(refused)
        self.known += len(rows) - len(refused) - stored

    def _tell(self, trouble: str | None) -> None:
        if trouble is None:
            log.info("connected to the database")
        elif trouble != self._told:
            log.warning("%s", trouble)
        self._told = trouble


def _text(text: str) -> str:
    """Untrusted text, printable and short."""
    return ascii(text[:200])[1:-1]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
