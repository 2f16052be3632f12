"""The journal's SQLite file: opening, locking, migrating it, and every statement that changes it.

It is in write-ahead-log mode, so ``serd history`` reads while the daemon writes. The pages are the
smallest that SQLite has: a commit writes whole pages to the log, and an event is about 80 bytes, so
small pages keep the wear of an SD card low. For the same reason the key of an event is one integer
made of node and ``seq``: rows that come in the order of their rowid are appended, while a table
keyed by two columns (``WITHOUT ROWID``) rewrites its neighbours at every page split, which doubled
what is written.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from serd.errors import ConfigError, SerdError, UnavailableError
from serd.events import rows
from serd.events.event import Event, ModelRef
from serd.events.retention import NodeRun

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

SCHEMA_VERSION: Final = 4
"""``user_version`` of the files that this version writes. A column that is only added does not
raise it: see :func:`serd.events.rows.missing_columns`."""

APPLICATION_ID: Final = 0x73657264
"""``application_id`` of a journal: "serd" in ASCII; it distinguishes journals from other files."""

PAGE_BYTES: Final = 512

_BUSY_S: Final = 5.0
"""How long a command waits for another program's lock."""

WRITER_BUSY_S: Final = 0.25
"""How long the daemon's writer waits for it. Short, because other threads wait for the same Python
lock; every write is retried."""

_AUTOCHECKPOINT_PAGES: Final = 8192
_CACHE_KIB: Final = 64  # the default, 2000, would be filled within days and never freed
_KEPT_LOG_BYTES: Final = 4 * 1024 * 1024

_LOCKS: Final = Path("/proc/locks")

_CORRECTIONS: Final = """
CREATE TABLE corrections (
    id            BLOB PRIMARY KEY,  -- of the event, UUIDv7, 16 bytes
    node          TEXT NOT NULL,
    seq           INTEGER NOT NULL,
    heard_ms      INTEGER NOT NULL,  -- when it began, since 1970, UTC
    told          INTEGER NOT NULL,  -- index in EMOTIONS; one past the last: uncertain
    emotion       INTEGER,           -- index in EMOTIONS; null: not the one in told
    scores        BLOB NOT NULL,     -- the model's own, as in events
    corrected_ms  INTEGER NOT NULL,
    model_name    TEXT NOT NULL,
    model_version TEXT NOT NULL,
    model_sha256  TEXT NOT NULL
) STRICT;
"""

_TABLES: Final = """
CREATE TABLE nodes (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    acked INTEGER NOT NULL DEFAULT 0  -- the broker has acknowledged every event up to this seq
) STRICT;
CREATE TABLE models (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    sha256  TEXT NOT NULL,
    UNIQUE (name, version, sha256)
) STRICT;
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

_MIGRATIONS: Final[dict[int, str]] = {
    1: "ALTER TABLE events ADD COLUMN extra BLOB;",
    2: _CORRECTIONS,
    3: """
ALTER TABLE events RENAME COLUMN audio_ms TO duration_s;
ALTER TABLE events RENAME COLUMN level TO level_dbfs;
ALTER TABLE events RENAME COLUMN latency TO latency_ms;
ALTER TABLE events ADD COLUMN utterance_emotion INTEGER;
ALTER TABLE events ADD COLUMN utterance_scores BLOB;
ALTER TABLE events ADD COLUMN gathered INTEGER;
ALTER TABLE events ADD COLUMN prior INTEGER;
ALTER TABLE events ADD COLUMN adapted INTEGER;
ALTER TABLE events ADD COLUMN model_emotion INTEGER;
ALTER TABLE events ADD COLUMN model_scores BLOB;
UPDATE events SET
    utterance_emotion = extra(extra, 'u', 0),
    utterance_scores = extra(extra, 'u', 1),
    gathered = extra(extra, 'g', 0),
    prior = extra(extra, 'p', 0),
    adapted = extra(extra, 'a', 0),
    model_emotion = extra(extra, 'a', 1),
    model_scores = extra(extra, 'a', 2)
WHERE extra IS NOT NULL;
ALTER TABLE events DROP COLUMN extra;
""",
}
"""By version: SQL that turns a file of that version into one of the next. None of it derives from
the current code, because it is about what earlier versions wrote."""


_SUDO: Final = "run as the user that the daemon runs as; if it is the service's: with sudo"


class JournalDamagedError(ConfigError):
    """The file is no database, or one with damaged pages."""


class JournalLock:
    """Keeps other daemons from using the journal until :meth:`release` or the process ends.

    Two writers would each count ``seq`` on their own. The lock is on a separate file, because
    closing any handle of the database file would drop SQLite's own locks.

    Raises:
        UnavailableError: If another process holds it, or the file cannot be created.
    """

    def __init__(self, journal: Path) -> None:
        path = journal.with_name(journal.name + "-lock")
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(journal, error.strerror or str(error)) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise UnavailableError(
                f"the journal {journal} is in use by another serd",
                remedy="stop or restart the other one, or give this one its own journal.path",
            ) from error

    def release(self) -> None:
        """Release the lock."""
        os.close(self._handle)


def prepare(path: Path) -> None:
    """Create the directory (0700) and an empty file (0600) if they are missing.

    Raises:
        UnavailableError: If that is not possible; the message names the path and a remedy.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # The directory entry must survive a power cut, too.
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(directory)
            os.close(directory)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error


def open_for_writing(path: Path, *, locked: bool = False) -> sqlite3.Connection:
    """Open a journal, creating or migrating its tables.

    Every commit is synced to the disk (``synchronous=FULL``) unless the caller says otherwise.
    In write-ahead-log mode SQLite's usual advice is NORMAL, which after a power cut may lose the
    last transactions. Here a lost one would be an event that subscribers have and the journal has
    not, whose ``seq`` would then be given to another event.

    Args:
        path: The journal's file, which exists.
        locked: Whether the caller holds the `JournalLock`. Otherwise an older layout is migrated
            only if nobody does, because a running daemon of that version could not write any more.

    Raises:
        UnavailableError: If it cannot be written.
        ConfigError: If it is not a journal, or one of a later version.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path, "rw")
        _check_identity(connection, path)
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise UnavailableError(
                f"the journal {path} is on a file system without support for SQLite's log",
                remedy="set journal.path to a local disk",
            )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_AUTOCHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit={_KEPT_LOG_BYTES}")
        _migrate(connection, path, locked=locked)
    except (sqlite3.Error, SerdError) as error:
        if connection is not None:
            connection.close()
        raise explain(error, path) from error
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a journal read-only; another process may be writing it.

    Raises:
        UnavailableError: If it does not exist or cannot be read.
        ConfigError: If it is not a journal, or not of this version.
    """
    try:
        there = path.exists()
    except OSError as error:  # no access to its folder
        raise UnavailableError(
            f"the journal {path} cannot be read: {(error.strerror or str(error)).lower()}",
            remedy=_SUDO,
        ) from None
    if not there:
        raise UnavailableError(
            f"there is no journal at {path}",
            remedy="the first `serd run` creates it; see journal.path",
        )
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path, "ro")
        try:
            version = _check_identity(connection, path)
        except sqlite3.OperationalError:
            # The log's index cannot be created without write access. If there is no log, none is
            # needed: nobody is writing, and the file alone is the whole journal.
            if path.with_name(path.name + "-wal").exists():
                raise
            connection.close()
            connection = _connect(path, "ro", "&immutable=1")
            version = _check_identity(connection, path)
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"the journal {path} has no events yet, or is of an older version",
                remedy="start `serd run` once; it brings the journal up to date",
            )
    except (sqlite3.Error, SerdError) as error:
        if connection is not None:
            connection.close()
        raise explain(error, path, reading=True) from error
    return connection


def read_switch(connection: sqlite3.Connection, key: str, path: Path) -> str | None:
    """A value of the ``meta`` table.

    Raises:
        UnavailableError: If it cannot be read.
        ConfigError: If the file is damaged.
    """
    try:
        found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    except sqlite3.Error as error:
        raise explain(error, path, reading=True) from error
    return None if found is None else str(found[0])


def fold_log(connection: sqlite3.Connection, path: Path) -> None:
    """Checkpoint: move the log's content into the file, as far as readers allow.

    Raises:
        UnavailableError: If the file cannot be written.
        ConfigError: If the file is damaged.
    """
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except sqlite3.Error as error:
        raise explain(error, path) from error


def explain(error: sqlite3.Error | SerdError, path: Path, *, reading: bool = False) -> SerdError:
    """Turn an error of SQLite into a sentence and a remedy."""
    if isinstance(error, SerdError):
        return error
    kind = getattr(error, "sqlite_errorname", "")
    if kind.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return UnavailableError(
            f"the journal {path} cannot be {'read' if reading else 'written'}: it is locked by "
            "another program",
            remedy=f"end what holds it: {_holders(path) or 'a database browser or a backup, say'}",
        )
    if kind == "SQLITE_NOTADB" or kind.startswith("SQLITE_CORRUPT"):
        return JournalDamagedError(
            f"the journal {path} is not readable as a database: {error}",
            remedy="move the file away, or set journal.path to another one",
        )
    if reading:
        return UnavailableError(
            f"the journal {path} cannot be read: {error}",
            remedy=_SUDO,
        )
    return _unwritable(path, str(error))


def _holders(path: Path) -> str:
    """Other processes that hold a write lock on a journal, according to the kernel."""
    files = set()
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(OSError):
            files.add(path.with_name(name).stat().st_ino)
    found = {}
    with suppress(OSError):
        for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines():
            # 1: POSIX  ADVISORY  WRITE 1234 fd:01:5678 120 120
            words = line.split()
            if len(words) < 6 or words[3] != "WRITE" or not words[4].isdecimal():
                continue
            process, inode = int(words[4]), words[5].rpartition(":")[2]
            if inode.isdecimal() and int(inode) in files and process != os.getpid():
                found[process] = f"process {process}"
                with suppress(OSError):
                    name = Path(f"/proc/{process}/comm").read_text(errors="replace").strip()
                    found[process] += f" ({ascii(name)[1:-1]})"
    return ", ".join(found.values())


def _unwritable(path: Path, reason: str) -> UnavailableError:
    return UnavailableError(
        f"the journal {path} cannot be written: {reason}",
        remedy=f"make {path.parent} writable with room on the disk, or set journal.path",
    )


def _connect(path: Path, mode: str, more: str = "") -> sqlite3.Connection:
    # isolation_level None: only explicit statements begin and end transactions.
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}{more}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _check_identity(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (tables or version or application):
        raise ConfigError(
            f"{path} is a database of another program, not a journal",
            remedy="set journal.path to another file",
        )
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"the journal {path} was written by a later version of serd "
            f"(its layout is {version}, this version knows {SCHEMA_VERSION})",
            remedy="upgrade serd, or set journal.path to another file",
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path, *, locked: bool) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION and not rows.missing_columns(connection):
        return
    lock = None if locked else JournalLock(path)
    try:
        connection.create_function("extra", 3, _extra, deterministic=True)
        while version < SCHEMA_VERSION:
            script = _TABLES + rows.TABLE + _CORRECTIONS if version == 0 else _MIGRATIONS[version]
            version = SCHEMA_VERSION if version == 0 else version + 1
            _run(connection, f"{script}PRAGMA application_id={APPLICATION_ID};", version)
        missing = rows.missing_columns(connection)
        _run(connection, "".join(f"{rows.add_column(column)};" for column in missing), version)
    finally:
        if lock is not None:
            lock.release()


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Change the layout in one transaction: a crash leaves the old one or the new one."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE;{script}PRAGMA user_version={version};COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@functools.lru_cache(maxsize=1)  # asked for each part of a row
def _decode_extra(packed: bytes) -> dict[str, Any]:
    extra: dict[str, Any] = msgspec.msgpack.decode(packed)
    return extra


def _extra(packed: bytes | None, name: str, place: int) -> Any:
    """Part of the column in which layouts 2 and 3 kept the optional fields, as MessagePack."""
    found = None if packed is None else _decode_extra(packed).get(name)
    return found[place] if isinstance(found, list) else found


_SEQS: Final = "SELECT seq FROM events WHERE key > ? AND key < ? ORDER BY key"


class JournalWriter:
    """One connection, used by one thread at a time; the caller holds a lock and the `JournalLock`.

    Args:
        path: The journal's file, which exists.

    Raises:
        UnavailableError: If it cannot be written.
        ConfigError: If it is not a journal, or one of a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = open_for_writing(path, locked=True)
        self.connection.execute(f"PRAGMA busy_timeout={round(WRITER_BUSY_S * 1000)}")
        self.commits = 0
        """Number of transactions so far."""

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @contextmanager
    def transaction(self, *, synced: bool) -> Iterator[None]:
        """Write everything inside the block, or on any error nothing.

        Args:
            synced: Wait until it is on the disk. Otherwise it survives the end of the process, but
                a power cut only after the next synced transaction.

        Raises:
            UnavailableError: If SQLite could not write.
            ConfigError: If the file is damaged.
        """
        try:
            if not synced:
                self.connection.execute("PRAGMA synchronous=NORMAL")
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
            self.commits += 1
        except BaseException as error:
            with suppress(sqlite3.Error):
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise explain(error, self.path) from error
            raise
        finally:
            if not synced:
                with suppress(sqlite3.ProgrammingError):  # the journal was closed
                    self.connection.execute("PRAGMA synchronous=FULL")

    def load_runs(self) -> dict[str, NodeRun]:
        """The rows of each node, by name.

        Raises:
            UnavailableError: If it cannot be read.
            ConfigError: If the file is damaged.
        """
        runs: dict[str, NodeRun] = {}
        for row, name, acked in self._fetch("SELECT id, name, acked FROM nodes"):
            bounds = (rows.key(row, 0), rows.key(row + 1, 0))
            first = self._fetch(f"{_SEQS} ASC LIMIT 1", bounds)
            last = self._fetch(f"{_SEQS} DESC LIMIT 1", bounds)
            newest = max(last[0][0] if last else 0, acked)
            oldest = first[0][0] if first else newest + 1
            runs[name] = NodeRun(row=row, first=oldest, last=newest, acked=acked)
        return runs

    def load_models(self) -> dict[ModelRef, int]:
        """The row of each model that has made predictions; raises as :meth:`load_runs`."""
        return {
            ModelRef(name=name, version=version, sha256=sha256): row
            for row, name, version, sha256 in self._fetch(
                "SELECT id, name, version, sha256 FROM models"
            )
        }

    def insert_node(self, name: str, *, floor: int = 0) -> NodeRun:
        """Add a node that has no events here; numbers up to ``floor`` must not be used."""
        row = self.connection.execute(
            "INSERT INTO nodes (name, acked) VALUES (?, ?)", (name, floor)
        ).lastrowid
        return NodeRun(row=row or 0, first=floor + 1, last=floor, acked=floor)

    def insert_model(self, model: ModelRef) -> int:
        """Add a model; return its row."""
        cursor = self.connection.execute(
            "INSERT INTO models (name, version, sha256) VALUES (?, ?, ?)",
            (model.name, model.version, model.sha256),
        )
        return cursor.lastrowid or 0

    def insert_event(self, event: Event, *, run: NodeRun, seq: int, model: int) -> None:
        """Add an event under the given number."""
        self.connection.execute(rows.INSERT, rows.to_row(event, node=run.row, seq=seq, model=model))

    def latency_of(self, run: NodeRun, seq: int) -> float | None:
        """The latency in an event's row, in ms.

        Raises:
            UnavailableError: If it cannot be read.
        """
        found = self._fetch("SELECT latency_ms FROM events WHERE key = ?", (run.key(seq),))
        value = found[0][0] if found else None
        return None if value is None else float(rows.unpack("latency_ms", value))

    def date_of(self, run: NodeRun, seq: int) -> int | None:
        """When an event began, ms since 1970; None if there is no such event."""
        found = self._fetch("SELECT started_ms FROM events WHERE key = ?", (run.key(seq),))
        return int(found[0][0]) if found else None

    def set_latency(self, run: NodeRun, seq: int, latency_ms: float) -> None:
        """Write an event's latency."""
        self.connection.execute(
            "UPDATE events SET latency_ms = ? WHERE key = ?",
            (rows.pack("latency_ms", latency_ms), run.key(seq)),
        )

    def missing_latencies(self, saved: Iterable[tuple[int, bytes, float]]) -> dict[int, float]:
        """Latencies that the last process measured and did not write; reads only.

        Args:
            saved: Key, id and latency (ms) of events; unknown ones, and those that have one, are
                ignored.

        Returns:
            Latencies (ms) by key.

        Raises:
            UnavailableError: If the journal cannot be read.
            ConfigError: If the file is damaged.
        """
        sql = "SELECT 1 FROM events WHERE key = ? AND id = ? AND latency_ms IS NULL"
        return {key: value for key, name, value in saved if self._fetch(sql, (key, name))}

    def set_acked(self, runs: Collection[NodeRun]) -> None:
        """Write how far the broker has acknowledged each node's events."""
        self.connection.executemany(
            "UPDATE nodes SET acked = ?1 WHERE id = ?2 AND acked < ?1",
            [(run.acked, run.row) for run in runs],
        )

    def set_meta(self, key: str, value: str) -> None:
        """Write a value of the ``meta`` table."""
        self.connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value)
        )

    def _fetch(self, sql: str, values: tuple[int | bytes, ...] = ()) -> list[rows.Row]:
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path, reading=True) from error
