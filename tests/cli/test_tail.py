"""``serd tail`` as a separate process with a real broker, writing to a pipe or a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from serd.events.event import encode
from serd.events.journal import Journal
from tests.broker import TIMEOUT_S, Mosquitto, Recorder, mosquitto
from tests.mqtt.samples import journalled, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

SUBSCRIBED = "Sending SUBACK to serd-follower"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


class Tail:
    """A running ``serd tail`` and its output so far."""

    def __init__(
        self, port: int, *arguments: str, terminal: bool = False, columns: int = 80
    ) -> None:
        self.out = ""
        self.err = ""
        self._changed = threading.Condition()
        command = [sys.executable, "-m", "serd", "tail", "--set", f"mqtt.port={port}", *arguments]
        out: int = subprocess.PIPE
        self._outer = inner = None
        if terminal:
            self._outer, inner = pty.openpty()
            out = inner
        self.process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", "TZ": "UTC"},
        )
        if inner is not None:
            os.close(inner)
        self._reader = threading.Thread(target=self._read, name="tail-reader")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        err = self.process.stderr.fileno()
        out = self._outer
        if out is None:
            assert self.process.stdout is not None
            out = self.process.stdout.fileno()
        watched = {out, err}
        while watched:
            for ready in select.select(list(watched), [], [])[0]:
                try:
                    data = os.read(ready, 65536)
                except OSError:  # the other end of the terminal is closed
                    data = b""
                if not data:
                    watched.discard(ready)
                with self._changed:
                    text = data.decode(errors="replace")
                    self.out += text if ready == out else ""
                    self.err += text if ready == err else ""
                    self._changed.notify_all()

    def wait_out(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.out, TIMEOUT_S), (self.out, self.err)

    def wait_err(self, text: str, *, times: int = 1) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: self.err.count(text) >= times, TIMEOUT_S)
            assert found, (self.out, self.err)

    def end(self) -> int:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(TIMEOUT_S)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        if self._outer is not None:
            os.close(self._outer)


def lines_of(text: str) -> list[str]:
    """The lines on the terminal, without colour codes."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "").splitlines()


def test_a_pipe_gets_json_lines_and_nothing_else(home: Path, broker: Mosquitto) -> None:
    first, second = numbered(1), numbered(2, node="hall")
    with Tail(broker.port) as tail, Recorder(broker.port) as other:
        broker.wait_log(SUBSCRIBED)
        other.publish("serd/attic/emotion", encode(first))
        other.publish("serd/attic/state", b"{}")
        other.publish("serd/attic/emotion", b"no event")
        other.publish("serd/hall/emotion", encode(second))
        tail.wait_out(second.id)
        assert tail.end() == 0
        assert [json.loads(line) for line in tail.out.splitlines()] == [
            json.loads(encode(first)),
            json.loads(encode(second)),
        ]
        assert tail.err.splitlines()[0] == "serd: connected"
        assert "Traceback" not in tail.err


def test_node_shows_events_of_one_node_only(home: Path, broker: Mosquitto) -> None:
    with Tail(broker.port, "--node", "hall") as tail, Recorder(broker.port) as other:
        broker.wait_log(SUBSCRIBED)
        other.publish("serd/attic/emotion", encode(numbered(1)))
        other.publish("serd/hall/emotion", encode(wanted := numbered(2, node="hall")))
        tail.wait_out(wanted.id)
        assert [json.loads(line)["node"] for line in tail.out.splitlines()] == ["hall"]


def test_reconnects_when_the_broker_is_back(home: Path, broker: Mosquitto) -> None:
    with Tail(broker.port) as tail:
        tail.wait_err("serd: connected\n")
        broker.kill()
        tail.wait_err("; trying again until it works\n")
        broker.start()
        tail.wait_err("serd: connected\n", times=2)
        broker.wait_log(SUBSCRIBED)
        with Recorder(broker.port) as other:
            other.publish("serd/attic/emotion", encode(event := numbered(1)))
            tail.wait_out(event.id)
        assert tail.end() == 0


def test_waits_for_the_broker_to_start(home: Path, tmp_path: Path) -> None:
    with mosquitto(tmp_path, started=False) as broker, Tail(broker.port) as tail:
        tail.wait_err("; trying again until it works\n")
        broker.start()
        tail.wait_err("serd: connected\n")
        assert tail.end() == 0
        refused = f"serd: connection refused: is a broker running at localhost:{broker.port}?"
        assert tail.err.startswith(refused)


def test_nodes_that_go_offline_and_return_are_reported(home: Path, broker: Mosquitto) -> None:
    with Tail(broker.port) as tail, Recorder(broker.port) as other:
        broker.wait_log(SUBSCRIBED)
        for state in (b"online", b"offline", b"online"):
            other.publish("serd/attic/status", state, retain=True)
        tail.wait_err("attic is online again\n")
        reported = [line for line in tail.err.splitlines() if "attic" in line]
        assert reported == ["serd: attic is offline", "serd: attic is online again"]


def test_a_terminal_gets_the_latest_events_then_live_ones(home: Path, broker: Mosquitto) -> None:
    path = home / ".local" / "state" / "serd" / "journal.db"
    with Journal(path) as journal:
        journalled(journal, 12)
    with Tail(broker.port, terminal=True) as tail, Recorder(broker.port) as other:
        broker.wait_log(SUBSCRIBED)
        other.publish("serd/attic/emotion", encode(numbered(900)))
        other.publish("serd/attic/emotion", encode(numbered(901)))
        tail.wait_out("01:00:04")
        assert tail.end() == 0
        lines = lines_of(tail.out)
        # The last ten of twelve, 4 seconds apart, then the live ones.
        past = [f"00:00:{seconds:02}" for seconds in range(8, 48, 4)]
        assert [line[:8] for line in lines] == [*past, "01:00:00", "01:00:04"]
        assert {len(line) for line in lines} == {80}
        assert all(" happy " in line for line in lines)
        faint = [line.startswith("\x1b[2m") for line in tail.out.splitlines()]
        assert faint == [True] * 10 + [False] * 2


def test_history_can_be_left_out(home: Path, broker: Mosquitto) -> None:
    with Journal(home / ".local" / "state" / "serd" / "journal.db") as journal:
        journalled(journal, 3)
    with (
        Tail(broker.port, "--no-history", terminal=True, columns=140) as tail,
        Recorder(broker.port) as other,
    ):
        broker.wait_log(SUBSCRIBED)
        other.publish("serd/attic/emotion", encode(numbered(900)))
        tail.wait_out("01:00:00")
        tail.wait_out("dB")
        assert tail.end() == 0
        (line,) = lines_of(tail.out)
        assert len(line) == 140


def test_ctrl_c_ends_the_wait_for_a_broker(home: Path, tmp_path: Path) -> None:
    with mosquitto(tmp_path, started=False) as broker, Tail(broker.port) as tail:
        tail.wait_err("trying again")
        started = time.monotonic()
        assert tail.end() == 0
        assert time.monotonic() - started < TIMEOUT_S
        assert "Traceback" not in tail.err
