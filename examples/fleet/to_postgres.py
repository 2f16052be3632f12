#!/usr/bin/env python3
"""Store events from MQTT in PostgreSQL: none lost, none stored twice, in one or more processes.

Needs event_table.py in the same folder.

    pip install 'serd-emotion[fleet]'
    psql -d serd -f schema.sql
    to_postgres.py --client-id events-1 --host broker --dsn 'host=db dbname=serd user=serd_writer'

Processes of one ``--group`` share the events (``$share/GROUP/...``). Each has its own
``--client-id``, which must stay the same across restarts, because the broker keeps the session with
its unacknowledged messages under this name. A message is acknowledged only after COMMIT. If a
process is killed between the two, the event is redelivered, and ``ON CONFLICT (id) DO NOTHING``
ignores it. A message that is not a valid event according to serd's own validation is counted,
recorded (``serd.refused``, at most 60 a minute) and acknowledged; otherwise the broker would
redeliver it forever.

``--leave`` removes a process permanently: it leaves the group, stores the events still waiting in
its session, ends the session and exits.

Broker and database may go down and come back. Memory is bounded: the broker sends no more than
``--batch`` messages (Receive Maximum) of at most 64 KiB each before the first is acknowledged.

Exit codes: 0 ended by SIGTERM or SIGINT or has left, 66 a file cannot be read, 78 the database
lacks the tables.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from event_table import Database, Pause, Row, StopError, home_pattern
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

log = logging.getLogger("to_postgres")

MESSAGE_BYTES: Final = 65_536
"""The broker sends no larger messages (Maximum Packet Size); an event has about 500 bytes."""

LASTING_S: Final = 10.0
"""A connection that lasted no longer does not count as a success."""

LEFT_S: Final = 3.0
"""With ``--leave``: seconds without messages after which nothing more is expected."""

SHORT_SUSPICIOUS: Final = 3
"""Short connections in a row after which another process probably has the same client id."""


class Broker:
    """One MQTT session, across any number of connections.

    Args:
        options: The command line options.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._client: paho.Client | None = None
        self._told: str | None = None
        self._had_session = False
        self._since = 0.0
        self.address = f"{options.host}:{options.port}"
        self.pause = Pause()
        self.waiting: list[Row] = []
        self.connections = 0
        self.heard = time.monotonic()
        """When the last message arrived or the connection was made."""
        self._short = 0

    def step(self, timeout: float) -> None:
        """Handle network events, for at most that many seconds."""
        if self._client is None:
            if self.pause.left > 0:
                time.sleep(min(timeout, self.pause.left))
                return
            self._connect()
        client = self._client
        sock = None if client is None else client.socket()
        if client is None or sock is None:
            return
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        for _fd, state in poll.poll(0 if pending else timeout * 1000):
            if state & ~select.POLLOUT:
                client.loop_read()
            if state & select.POLLOUT:
                client.loop_write()
        if pending:
            client.loop_read()
        client.loop_misc()

    def acknowledge(self, rows: list[Row]) -> None:
        """Acknowledge these messages."""
        if self._client is not None:
            for row in rows:
                self._client.ack(row.mid, 1)

    def left(self) -> bool:
        """With ``--leave``: whether everything that was still waiting is stored."""
        quiet = time.monotonic() - self.heard > LEFT_S
        return self._client is not None and self._since > 0 and quiet and not self.waiting

    def close(self, *, for_good: bool = False) -> None:
        """Send pending acknowledgements and DISCONNECT; the broker keeps the session.

        Args:
            for_good: The broker discards the session.
        """
        client, self._client = self._client, None
        if client is None:
            return
        client.on_message = client.on_disconnect = None
        farewell = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        if for_good:
            farewell.SessionExpiryInterval = 0
        client.disconnect(properties=farewell)  # is sent after the acknowledgements
        deadline = time.monotonic() + 2.0
        while client.socket() is not None and client.want_write() and time.monotonic() < deadline:
            client.loop_write()

    def _connect(self) -> None:
        options = self._options
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = 5.0
        if options.username is not None:
            client.username_pw_set(options.username, _password(options.password_file))
        if options.ca is not None:
            try:
                client.tls_set(ca_certs=options.ca)
            except (OSError, ssl.SSLError) as error:
                raise StopError(f"--ca {options.ca}: {error}", 66) from None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wishes.SessionExpiryInterval = options.session_days * 86_400
        wishes.ReceiveMaximum = options.batch
        wishes.MaximumPacketSize = MESSAGE_BYTES
        try:
            # A keep-alive of 60 s is longer than a database connection or statement may take.
            client.connect(options.host, options.port, 60, clean_start=False, properties=wishes)
        except (OSError, ValueError) as error:
            self._lost(f"broker {self.address}: {error}")
        else:
            self._client = client

    def _on_connect(
        self, client: paho.Client, _data: object, flags: Any, reason: Any, _more: object
    ) -> None:
        if reason.is_failure:
            self._lost(f"broker {self.address} refuses the connection: {reason}")
            return
        if self._had_session and not flags.session_present:
            log.warning("the broker has forgotten this session, and what waited in it")
        self._had_session = True
        self._since = self.heard = time.monotonic()
        self.connections += 1
        self._told = None
        options = self._options
        shared = f"$share/{options.group}/{options.topic}"
        if options.leave:
            client.unsubscribe(shared)
        else:
            client.subscribe(shared, qos=1)
        kept = "the session goes on" if flags.session_present else "a new session"
        log.info("connected to the broker at %s: %s", self.address, kept)

    def _on_disconnect(
        self, client: paho.Client, _data: object, _flags: Any, reason: Any, _more: object
    ) -> None:
        if client is not self._client:
            return  # a refused connection
        why = f"broker {self.address}: connection lost: {reason}"
        if self._since:
            lasted = time.monotonic() - self._since > LASTING_S
            self._short = 0 if lasted else self._short + 1
            if lasted:
                self.pause.worked()
        self._since = 0.0
        if self._short >= SHORT_SUSPICIOUS:
            why += f" again and again; does another process call itself {self._options.client_id}?"
        self._lost(why)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.heard = time.monotonic()
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "a topic that is not UTF-8"
        self.waiting.append(Row(message.mid, topic, bytes(message.payload)))

    def _lost(self, why: str) -> None:
        self._client = None
        self.waiting.clear()
        self.pause.failed()
        if why != self._told:
            log.warning("%s; trying again until it works", why)
        self._told = why


class Consumer:
    """Moves messages from the broker to the database until it is stopped.

    Args:
        options: The command line options.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._batch_since = 0.0
        self._broker = Broker(options)
        self._database = Database(options.dsn, home_pattern(options.topic))
        self._stopping = False

    def stop(self, *_signal: object) -> None:
        """Request the end; may be called by a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Work until :meth:`stop`.

        Raises:
            StopError: The process cannot continue.
        """
        options, broker = self._options, self._broker
        next_line = time.monotonic() + options.log_every
        left = False
        while not self._stopping and not left:
            empty = not broker.waiting
            broker.step(
                min(1.0, options.linger if empty else self._left())
            )  # a signal takes effect after it
            if empty:
                self._batch_since = time.monotonic()
            elif len(broker.waiting) >= options.batch or self._left() <= 0:
                self._flush()
            left = options.leave and broker.left()
            if time.monotonic() >= next_line:
                next_line += options.log_every
                self._log_figures()
        self._flush()
        broker.close(for_good=left)
        self._database.close()
        self._log_figures()

    def _left(self) -> float:
        """Seconds that the oldest waiting message may still wait."""
        left: float = self._batch_since + self._options.linger - time.monotonic()
        return max(left, self._database.pause.left, 0.0)

    def _flush(self) -> None:
        rows = self._broker.waiting[:]
        if rows and self._database.store(rows):
            self._broker.acknowledge(rows)
            del self._broker.waiting[: len(rows)]

    def _log_figures(self) -> None:
        database, broker = self._database, self._broker
        mean = 1000 * database.commit_s / max(1, database.batches)
        log.info(
            "stored=%d known=%d rejected=%d waiting=%d batches=%d commit_ms=%.1f "
            "broker_connections=%d database_connections=%d",
            database.stored, database.known, database.rejected, len(broker.waiting),
            database.batches, mean, broker.connections, database.connections,
        )  # fmt: skip


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise StopError(f"--password-file {path}: {error}", 66) from None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--client-id", required=True, help="unique to this process and constant across restarts")
    add("--host", default="127.0.0.1", help="host name of the broker (default: %(default)s)")
    add("--port", type=int, default=None, help="port of the broker (default: 1883, with --ca 8883)")
    add("--username")
    add("--password-file", metavar="FILE", help="file whose first line is the password")
    add("--ca", metavar="FILE", help="use TLS; the CA certificate that signed the broker's")
    add(
        "--topic",
        default="serd/+/emotion",
        help="topic filter; at a centre: homes/+/serd/+/emotion",
    )
    add(
        "--group",
        default="serd-postgres",
        help="name of the group that shares the events (default: %(default)s)",
    )
    add("--dsn", default="", help="libpq connection string; what it omits: PGHOST etc.")
    add(
        "--batch",
        type=int,
        default=500,
        help="maximum number of rows in a commit (default: %(default)s)",
    )
    add("--linger", type=float, default=0.25, metavar="S",
        help="how long a message may wait for a full batch (default: %(default)s)")  # fmt: skip
    add("--session-days", type=int, default=7,
        help="how long the broker keeps a disconnected session (default: %(default)s)")  # fmt: skip
    add(
        "--leave",
        action="store_true",
        help="store what still waits for this client id, end its session and exit",
    )
    add(
        "--log-every",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds between logged figures (default: %(default)s)",
    )
    options = parser.parse_args()
    if not 1 <= options.batch <= 65_535:
        parser.error("--batch: 1 to 65535, what MQTT can say")
    if not 0 < options.linger <= 30:
        parser.error("--linger: more than 0 and at most 30 seconds")
    if not 0 < options.session_days <= 3650:
        parser.error("--session-days: 1 to 3650")
    options.port = options.port or (1883 if options.ca is None else 8883)
    return options


def main() -> int:
    """Run until a signal ends it; returns the exit code."""
    options = _options()
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s " + options.client_id + ": %(message)s",
    )
    consumer = Consumer(options)
    signal.signal(signal.SIGTERM, consumer.stop)
    signal.signal(signal.SIGINT, consumer.stop)
    try:
        consumer.run()
    except StopError as error:
        print(f"to_postgres: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
