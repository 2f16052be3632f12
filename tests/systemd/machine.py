"""A Debian with systemd, booted in a container (systemd-nspawn), in a fresh state each time.

It shares the host's network and sees this source tree, read-only, under /srv/tree. Its changes are
made in a layer over a cached root and are discarded with it. Needs root.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.layer import CACHE, TREE, layer, root
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOURCE = Path("/srv/tree")
"""Where the machine sees the source tree."""

PACKAGES = ("systemd", "systemd-sysv", "dbus", "mosquitto", "mosquitto-clients", "procps",
            "alsa-utils", "sudo")  # fmt: skip

BOOT_S = 60.0
TIMEOUT_S = 60.0
"""How long a test waits for a condition; generous, since only a failing test waits that long."""


class Machine:
    """One booted container; a context manager that removes it again.

    Args:
        name: Name of the machine and its layer; unique among running machines.
        suite: The Debian release.
    """

    def __init__(self, name: str, suite: str = "bookworm") -> None:
        self.name = name
        self._suite = suite
        self.root = Path()
        """The machine's files, seen from the host; valid inside the ``with`` block."""
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self.broker_port = free_port()
        """Port of the machine's mosquitto, on loopback."""

    def __enter__(self) -> Self:
        lower = root(self._suite, "amd64", "system", *PACKAGES)
        self.root = self._stack.enter_context(layer(lower, self.name))
        self.write(
            "/etc/mosquitto/conf.d/test.conf",
            f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\n",
        )
        self.write("/etc/hostname", f"{self.name}\n")
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _boot(self) -> None:
        cache = CACHE / "pip"
        cache.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [
                "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
                "--resolv-conf=off", "--console=pipe", f"--directory={self.root}",
                f"--machine={self.name}", f"--bind-ro={TREE}:{SOURCE}",
                f"--bind={cache}:/root/.cache/pip",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.wait_until(self._is_up, "the machine to boot", BOOT_S)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "systemd-nspawn ended"
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return False
        self._leader = int(children[0])
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()  # systemd-nspawn turns this into an orderly power-off
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                os.kill(self._leader, signal.SIGKILL)
                self._process.wait(30)
        self._stack.close()

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout: float = TIMEOUT_S,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside; returns stdout and stderr combined, as text.

        Raises:
            AssertionError: It failed, and ``check`` is true.
        """
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            **{k: v for k, v in os.environ.items() if k in {"PIP_CERT", "PIP_INDEX_URL"}},
            **(env or {}),
        }
        done = subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", "--wdns=/root", "env", "-i",
             *(f"{name}={value}" for name, value in variables.items()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done

    def write(self, path: str, text: str) -> None:
        """Write a file inside the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def read(self, path: str) -> str:
        """Read a file inside the machine."""
        return (self.root / path.lstrip("/")).read_text()

    def show(self, name: str, unit: str = "serd") -> str:
        """The value of a unit's property."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def journal(self, unit: str = "serd") -> list[str]:
        """Log lines of a unit, and of systemd about it, since boot."""
        done = self.run("journalctl", "--no-pager", "-o", "cat", "-b", "-u", unit)
        return done.stdout.splitlines()

    def events(self, node: str, count: int = 1) -> list[str]:
        """Wait for events on the machine's own broker.

        Raises:
            AssertionError: Fewer arrived in time.
        """
        done = self.run(
            "mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.broker_port),
            "-t", f"serd/{node}/emotion",
            "-C", str(count), "-W", str(int(TIMEOUT_S)), check=False, timeout=TIMEOUT_S + 10,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        assert done.returncode == 0, f"{len(lines)} of {count} events; {self.journal()[-20:]}"
        return lines

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout: float = TIMEOUT_S
    ) -> None:  # fmt: skip
        """Wait until a condition is true.

        Raises:
            AssertionError: It was not true in time.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
            time.sleep(0.2)
