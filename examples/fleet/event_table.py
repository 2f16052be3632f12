"""The table of events in PostgreSQL: which message makes which row, and rows that go in once."""

from __future__ import annotations

import json
import logging
import random
import re
import time
from typing import Any, Final, NamedTuple

import psycopg

log = logging.getLogger("to_postgres")

COLUMNS: Final = (
    "id", "home", "node", "seq", "started_at", "ended_at", "duration_s", "emotion", "confidence",
    "scores", "valence", "arousal", "level_dbfs", "model", "model_sha256", "latency_ms",
)  # fmt: skip
INSERT: Final = (
    f"INSERT INTO serd.event ({', '.join(COLUMNS)}) "  # noqa: S608 - constants
    f"VALUES ({', '.join(['%s'] * len(COLUMNS))}) ON CONFLICT (id) DO NOTHING"
)
TYPES: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("id", "node", "started_at", "ended_at", "emotion"), (str,)),
    **dict.fromkeys(("duration_s", "confidence", "valence", "arousal", "level_dbfs"), (int, float)),
    "seq": (int,),
    "scores": (dict,),
    "latency_ms": (int, float, type(None)),
}
"""What the table's columns can take; the rest PostgreSQL checks."""


TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
"""Checked here, because PostgreSQL also takes "yesterday" for one."""


class StopError(Exception):
    """The process cannot go on; text for people and an exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Row(NamedTuple):
    """A message that waits to be stored."""

    mid: int
    topic: str
    payload: bytes


class Pause:
    """Exponential back-off with jitter: 0.5 s at first, 30 s at most."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds until the next attempt."""
        return max(0.0, self._until - time.monotonic())

    def failed(self) -> None:
        """An attempt has failed."""
        widest = min(30.0, 0.5 * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._until = time.monotonic() + widest * random.uniform(0.5, 1.0)  # noqa: S311

    def worked(self) -> None:
        """An attempt has worked."""
        self._failures = 0


def home_pattern(topic: str) -> re.Pattern[str]:
    """What stands for the first ``+`` of ``homes/+/serd/+/emotion``; nothing where there is one."""
    levels = topic.split("/")
    if levels.count("+") < 2:
        return re.compile(r"(?!)")
    first = levels.index("+")
    return re.compile(f"{re.escape('/'.join(levels[:first]))}/([^/]+)/")


def columns_of(topic: str, payload: bytes, home: re.Pattern[str]) -> tuple[Any, ...]:
    """The values of :data:`COLUMNS` for one message.

    Raises:
        ValueError: It is no event of schema 1.
    """
    try:
        event = json.loads(payload)
        if event["schema"] != 1:
            raise ValueError(f"schema {event['schema']!r}, not 1")
        for name, wanted in TYPES.items():
            if type(event[name]) not in wanted:  # not isinstance: true is no number
                raise ValueError(f"{name} is {event[name]!r}")
        if topic.split("/")[-2:-1] != [event["node"]]:  # access rules guard topics, not payloads
            raise ValueError(f"node is {event['node']!r}, which is not the topic's")
        for name in ("started_at", "ended_at"):
            if not TIMESTAMP.fullmatch(event[name]):
                raise ValueError(f"{name} is {event[name]!r}")
        model, found = event["model"], home.match(topic)
        event |= {
            "home": found[1] if found else "",
            "scores": json.dumps(event["scores"]),
            "model": f"{model['name']} {model['version']}",
            "model_sha256": str(model["sha256"]),
        }
        "".join(value for value in event.values() if type(value) is str).encode()  # no surrogates
        return tuple(event[name] for name in COLUMNS)
    except KeyError as error:
        raise ValueError(f"no field {error}") from None
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not an event: {error}") from None


class Database:
    """PostgreSQL: a connection when there is one, and rows that go in once.

    Args:
        dsn: As libpq takes it; what it leaves out comes from PGHOST, PGPASSWORD and so on.
        home: Finds the home in a topic.
    """

    def __init__(self, dsn: str, home: re.Pattern[str]) -> None:
        self._dsn = dsn
        self._home = home
        self._connection: psycopg.Connection | None = None
        self._told: str | None = None
        self.pause = Pause()
        self.stored = self.known = self.rejected = self.batches = self.connections = 0
        self.commit_s = 0.0

    def store(self, rows: list[Row]) -> bool:
        """Store and commit all of them; False if that must be tried again later.

        Raises:
            StopError: The table is missing or not as it should be.
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
            # The time-outs are below the MQTT keep-alive: nothing is read while this waits.
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
        values = []
        rejected = 0
        for row in rows:
            try:
                values.append(columns_of(row.topic, row.payload, self._home))
            except ValueError as error:
                rejected += 1
                log.warning("%a: %s; ignored", row.topic[:200], str(error)[:200])
        stored = 0
        try:
            with connection.transaction(), connection.cursor() as cursor:
                if values:
                    cursor.executemany(INSERT, values)  # one round trip: psycopg pipelines it
                    stored = cursor.rowcount
        except (psycopg.DataError, psycopg.IntegrityError):
            # One of them cannot be stored, ever. Rare, so it may cost a round trip for each.
            stored = bad = 0
            with connection.transaction():
                for value in values:
                    try:
                        with connection.transaction():
                            stored += connection.execute(INSERT, value).rowcount
                    except (psycopg.DataError, psycopg.IntegrityError) as error:
                        bad += 1
                        log.warning("%a: %s; ignored", value[2], _line(error)[:200])
            rejected += bad
        self.stored += stored
        self.rejected += rejected
        self.known += len(rows) - rejected - stored

    def _tell(self, trouble: str | None) -> None:
        if trouble is None:
            log.info("connected to the database")
        elif trouble != self._told:
            log.warning("%s", trouble)
        self._told = trouble


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
