"""A daemon under measurement: its process, what it costs, and the broker it talks to."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

WAV_HEADER: Final = 44
"""Bytes before the samples in a WAV file as the module wave writes it."""

SETTLED_S: Final = 3.0
"""Seconds after READY until a daemon has reached its steady state."""

SAMPLE_S: Final = 1.0
"""Seconds between two samples of the processor time."""

UNWANTED: Final = ("SERD_", "PYTHONDONTWRITEBYTECODE")
"""Prefixes of environment variables that must not influence the measurement: serd's settings, and
one that makes Python compile all of serd at each start."""

TIMEOUT_S: Final = 600.0
"""Time limit for everything here."""

_CONNECT: Final = 1
_PUBLISH: Final = 3
_SUBSCRIBE: Final = 8
_PINGREQ: Final = 12
_PROTOCOL_LEVEL: Final = 4
"""Of MQTT 3.1.1; a newer one is refused, and the daemon then speaks this."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Resources a process used from start to end."""

    marks: dict[str, float] = {}
    """Seconds from the start until each message to the service manager (sd_notify(3)) was first
    sent; ``READY=1`` means ready."""
    wall_s: float
    """Seconds from start to end."""
    cpu_s: float
    """Processor time, user and system."""
    peak_rss_mb: float
    """Peak resident memory, private and shared, in 10^6 bytes."""
    steady_percent: float | None = None
    """Processor time from `SETTLED_S` after READY to the last sample, per cent of one core; None
    if it ended before."""
    written_mb: float
    """Bytes written to disks as counted by the kernel, in 10^6 bytes."""


def run_daemon(
    source: Path,
    *,
    port: int,
    home: Path,
    pace: Literal["real", "fast", "piped"],
    more: Sequence[str] = (),
) -> Cost:
    """Run ``serd run`` on a recording to its end, with a journal and settings of its own.

    Args:
        source: The recording: a 16-bit mono WAV file at 16 kHz with a 44-byte header.
        port: Of the broker on 127.0.0.1.
        home: Folder for the journal, and for the socket that receives READY.
        pace: ``real`` or ``fast``; or ``piped``: its samples on standard input as fast as they are
            read. All of them are available at once, so serd reads a second at a time, as it does
            whenever it lags behind.
        more: More settings, each ``KEY=VALUE``.

    Returns:
        What it cost.

    Raises:
        UnavailableError: If it failed or did not end.
    """
    settings = (
        f"audio.source={'-' if pace == 'piped' else source}",
        f"audio.pace={'real' if pace == 'real' else 'fast'}",
        "node=bench",
        "mqtt.host=127.0.0.1",
        f"mqtt.port={port}",
        "mqtt.discovery=false",
        f"journal.path={home / 'journal.db'}",
        "log.level=warning",
        *(["audio.on_end=stop"] if pace == "piped" else []),  # NOTIFY_SOCKET looks like systemd
        *more,
    )
    options = [word for setting in settings for word in ("--set", setting)]
    # An empty configuration: not the one found here, with its sources and hooks.
    command = [sys.executable, "-m", "serd", "run", "--config", os.devnull, *options]
    if pace != "piped":
        return run(command, home=home)
    with source.open("rb", buffering=0) as samples:
        samples.seek(WAV_HEADER)
        return run(command, home=home, stdin=samples.fileno())


def run(command: Sequence[str], *, home: Path, stdin: int = subprocess.DEVNULL) -> Cost:
    """Run a command to its end and measure it; READY is received as systemd would.

    Args:
        command: The program and its arguments.
        home: Folder for the socket that receives READY.
        stdin: File descriptor of its standard input.

    Returns:
        What it cost.

    Raises:
        UnavailableError: If it failed or did not end.
    """
    address = home / "notify.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(address))
        notifications.settimeout(0.02)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(UNWANTED)}
        begun = time.monotonic()
        child = subprocess.Popen(
            command,
            env={**kept, "NOTIFY_SOCKET": str(address)},
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        marks: dict[str, float] = {}
        peak = 0
        readings: list[tuple[float, float]] = []
        while True:
            # Not ru_maxrss, which starts from the parent's memory at the fork.
            peak = max(peak, _peak_bytes(child.pid))
            # wait4 rather than poll(), for the processor time of this child alone.
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            try:
                for line in notifications.recv(4096).decode(errors="replace").splitlines():
                    marks.setdefault(line, time.monotonic() - begun)
            except TimeoutError:
                pass
            elapsed = time.monotonic() - begun
            settled = marks.get("READY=1", TIMEOUT_S) + SETTLED_S
            if elapsed >= max(settled, readings[-1][0] + SAMPLE_S if readings else 0.0):
                used = _processor_s(child.pid)
                readings += [(elapsed, used)] if used is not None else []
            if elapsed > TIMEOUT_S:
                child.send_signal(signal.SIGKILL)
        wall_s = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.stderr is not None  # noqa: S101 - it is a pipe
    with child.stderr as stream:
        last = stream.read().decode(errors="replace").strip().splitlines()[-3:]
    if child.returncode:
        raise UnavailableError(
            f"{' '.join(command[:4])} failed with {child.returncode}: {' | '.join(last)}"
        )
    return Cost(
        marks=marks,
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        steady_percent=_slope(readings),
        peak_rss_mb=peak / 1e6,
        written_mb=usage.ru_oublock * 512 / 1e6,
    )


def _peak_bytes(pid: int) -> int:
    """Peak resident memory of a process so far (VmHWM, proc(5)); 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _processor_s(pid: int) -> float | None:
    """Processor time of all current threads of a process; None if it has ended.

    From their schedstat, in nanoseconds, where the kernel keeps it; else from its ticks (proc(5)).
    """
    try:
        if Path("/proc/self/schedstat").exists():
            tasks = Path(f"/proc/{pid}/task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return None


def _slope(readings: Sequence[tuple[float, float]]) -> float | None:
    """Per cent of a core between the first and the last sample."""
    if len(readings) < 2:
        return None
    # Threads that end take their time with them, so the sample with the most time is the last.
    (start, used), (end, more) = readings[0], max(readings, key=lambda reading: reading[1])
    if end <= start:
        return None
    return 100 * (more - used) / (end - start)


class StubBroker:
    """Just enough of an MQTT 3.1.1 broker to take a daemon's messages on loopback.

    `serd bench` measures with it on machines that have no broker. It acknowledges messages at once,
    keeps the events, and delivers only what a client has subscribed to by its full topic. It
    serves one client after the other on a port of 127.0.0.1; a context manager.

    Raises:
        UnavailableError: If no port is available.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        """The payloads that came on topics ending in ``/emotion``."""
        try:
            self._listener = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            raise UnavailableError(f"no port of 127.0.0.1 can be had: {error}") from error
        self.port: int = self._listener.getsockname()[1]
        self._subscribed: set[bytes] = set()
        self._retained: dict[bytes, bytes] = {}
        self._thread = threading.Thread(target=self._serve, name="serd-stub-broker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A blocked accept() does not notice close(); shutdown() wakes it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._subscribed = set()
            with connection, connection.makefile("rb") as stream:
                try:
                    while self._answer(stream, connection):
                        pass
                except (OSError, EOFError):
                    continue

    def _answer(self, stream: Any, connection: socket.socket) -> bool:
        """Take one packet and answer it; False at the end of the connection."""
        first = stream.read(1)
        if not first:
            return False
        kind, quality, retained = first[0] >> 4, first[0] >> 1 & 3, first[0] & 1
        body = _exactly(stream, _remaining_length(stream))
        if kind == _CONNECT:
            newer = body[6] > _PROTOCOL_LEVEL
            connection.sendall(b"\x20\x02\x00" + (b"\x01" if newer else b"\x00"))
            return not newer
        if kind == _PUBLISH:
            self._take(connection, body, acknowledge=bool(quality), retain=bool(retained))
        elif kind == _SUBSCRIBE:
            self._subscribe(connection, body)
        elif kind == _PINGREQ:
            connection.sendall(b"\xd0\x00")
        return True

    def _take(
        self, connection: socket.socket, body: bytes, *, acknowledge: bool, retain: bool
    ) -> None:
        """Take a message."""
        (length,) = struct.unpack_from(">H", body)
        topic, rest = body[2 : 2 + length], body[2 + length :]
        number, payload = (rest[:2], rest[2:]) if acknowledge else (b"", rest)
        # Before the acknowledgement, so that what is acknowledged can be counted.
        if topic.endswith(b"/emotion"):
            self.events.append(msgspec.json.decode(payload))
        if retain:
            self._retained[topic] = payload
        if acknowledge:
            connection.sendall(b"\x40\x02" + number)
        if topic in self._subscribed:  # the client checks that its message comes back
            self._deliver(connection, topic, payload)

    def _subscribe(self, connection: socket.socket, body: bytes) -> None:
        """Grant every filter, and deliver what is retained on topics of these names."""
        filters = _filters(body[2:])
        self._subscribed |= set(filters)
        granted = len(filters)
        connection.sendall(bytes((0x90, 2 + granted)) + body[:2] + b"\x00" * granted)
        for topic in filters:
            if topic in self._retained:
                self._deliver(connection, topic, self._retained[topic], retained=True)

    def _deliver(
        self, connection: socket.socket, topic: bytes, payload: bytes, *, retained: bool = False
    ) -> None:
        packet = struct.pack(">H", len(topic)) + topic + payload
        connection.sendall(bytes((0x30 | retained,)) + _length(len(packet)) + packet)


def _remaining_length(stream: Any) -> int:
    """MQTT 3.1.1, section 2.2.3: seven bits a byte, the lowest first."""
    length = 0
    for shift in (0, 7, 14, 21):
        byte = _exactly(stream, 1)[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return length


def _length(length: int) -> bytes:
    """The same, written."""
    written = bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        written.append(low | 0x80 if length else low)
        if not length:
            return bytes(written)


def _filters(body: bytes) -> list[bytes]:
    """The topic filters that a SUBSCRIBE asks for."""
    found, at = [], 0
    while at + 2 <= len(body):
        (size,) = struct.unpack_from(">H", body, at)
        found.append(body[at + 2 : at + 2 + size])
        at += 2 + size + 1
    return found


def _exactly(stream: Any, count: int) -> bytes:
    data: bytes = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
