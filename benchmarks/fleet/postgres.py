"""A temporary PostgreSQL in its own folder, reachable only through a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import psycopg

SCHEMA: Final = Path(__file__).parents[2] / "examples" / "fleet" / "schema.sql"
"""The schema that the consumer writes to."""

_START_S: Final = 60.0
_STOP_S: Final = 30.0


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps out of PATH; None if absent."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


class Cluster:
    """Context manager that runs a PostgreSQL with the event tables.

    PostgreSQL refuses to run as root, so root runs it as ``postgres`` or ``nobody``.

    Args:
        durable: If False, never sync to disk; for tests only.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
        RuntimeError: It does not start; the message has the end of its log.
    """

    def __init__(self, *, durable: bool = True) -> None:
        programs = find_postgres()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed (Debian: apt install postgresql)")
        self._programs = programs
        self._durable = durable
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="serd-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.dsn = f"host={self.folder} user=serd dbname=postgres"
        """DSN for the owner of the database."""

    def __enter__(self) -> Self:
        try:
            if self._user is not None:
                shutil.chown(self.folder, self._user)
            self._run("initdb", "-D", self._data, "-U", "serd", "-A", "trust", "-E", "UTF8",
                      "--locale=C.UTF-8", "-N")  # fmt: skip
            self.start()
            with self.connect() as connection:
                connection.execute(SCHEMA.read_bytes())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def connect(self) -> psycopg.Connection:
        """A connection as the owner, in autocommit mode."""
        import psycopg

        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=10)

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        import psycopg

        settings = ["listen_addresses=", f"unix_socket_directories={self.folder}",
                    "unix_socket_permissions=0700", "max_connections=40"]  # fmt: skip
        if not self._durable:
            settings += ["fsync=off", "full_page_writes=off", "synchronous_commit=off"]
        options = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                user=self._user, group=self._group, extra_groups=self._groups,
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not start:\n{self._log()}") from None
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is a fast shutdown, SIGQUIT resembles a power failure."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _group(self) -> int | None:
        return None if self._user is None else pwd.getpwnam(self._user).pw_gid

    @property
    def _groups(self) -> list[int] | None:
        return None if self._user is None else []

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], capture_output=True, text=True, check=False,
            cwd=self.folder, user=self._user, group=self._group, extra_groups=self._groups,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")

    def _log(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""


def _unprivileged() -> str | None:
    """The user that runs PostgreSQL for root; None if we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"
