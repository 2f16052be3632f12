"""Ports for servers that a test starts."""

from __future__ import annotations

import itertools
import os
import random
import socket
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_000
_PER_WORKER: Final = 1_500


def _ports() -> itertools.cycle[int]:
    """This test process's own ports, starting with a random one.

    All are below the kernel's ephemeral range: an outgoing connection could take a port in that
    range between the check that it is free and the server's bind.
    """
    range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    highest = int(range_file.read_text().split()[0]) if range_file.exists() else 32_768
    workers = max(1, (highest - _LOWEST) // _PER_WORKER)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % workers
    first = _LOWEST + worker * _PER_WORKER
    begin = random.SystemRandom().randrange(_PER_WORKER)
    return itertools.cycle(first + (begin + n) % _PER_WORKER for n in range(_PER_WORKER))


_CYCLE: Final = _ports()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """An unused port that no other test process and no outgoing connection will take."""
    for port in itertools.islice(_CYCLE, _PER_WORKER):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
