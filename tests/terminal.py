"""A real terminal: tmux, whose screen tests can read and to which they can send keys."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.node import serd_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TIMEOUT_S = 40.0


class Terminal:
    """A tmux session with one window; created by :func:`terminal`."""

    def __init__(self, socket: str, columns: int) -> None:
        self._socket = socket
        self.columns = columns

    def tmux(self, *arguments: str) -> str:
        """Run a tmux command."""
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
        )
        return done.stdout

    def screen(self, *, colours: bool = False) -> list[str]:
        """The lines on the screen, without trailing empty ones."""
        escapes = ["-e"] if colours else []
        text = self.tmux("capture-pane", "-p", *escapes, "-t", "serd").rstrip()
        return [line.rstrip() for line in text.splitlines()]

    def wait(self, wanted: str | Callable[[list[str]], bool]) -> list[str]:
        """Wait until the screen contains a text or fulfils a condition; return the screen."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            screen = self.screen()
            if wanted(screen) if callable(wanted) else wanted in "\n".join(screen):
                return screen
            assert time.monotonic() < deadline, "\n".join(screen)
            time.sleep(0.1)

    def press(self, *keys: str) -> None:
        """Press keys, given by their tmux names: ``C-c``, ``q``, ``Enter``."""
        self.tmux("send-keys", "-t", "serd", *keys)


@contextmanager
def terminal(
    home: Path, columns: int, *arguments: str, rows: int = 30, env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run ``serd ARGUMENTS...`` in a terminal for the duration of a ``with`` block.

    When serd has exited, the screen shows ``exit N``. Skips the test if tmux is not installed.
    """
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    settings = {"HOME": str(home), "TZ": "UTC", "LANG": "C.UTF-8", **(env or {})}
    words = shlex.join(serd_command(*arguments))
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())
    with tempfile.TemporaryDirectory(prefix="serd-tmux-") as folder:
        script = Path(folder) / "script.sh"
        # Ctrl-C is meant for serd; the shell gets it too and must survive to print the exit code.
        script.write_text(
            f"trap : INT\n{exports}\ncd {shlex.quote(str(home))}\n"
            f"{words}\necho exit $?\nsleep 600\n"
        )
        window = Terminal(f"{folder}/socket", columns)
        ours = re.compile("SERD_|TMUX|NO_COLOR|COLUMNS|LINES")
        outside = {name: value for name, value in os.environ.items() if not ours.match(name)}
        subprocess.run(
            ["tmux", "-u", "-S", f"{folder}/socket", "-f", "/dev/null", "new-session", "-d",
             "-s", "serd", "-x", str(columns), "-y", str(rows), f"sh {shlex.quote(str(script))}"],
            env={**outside, "LANG": "C.UTF-8"}, check=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        try:
            yield window
        finally:
            subprocess.run(
                ["tmux", "-S", f"{folder}/socket", "kill-server"], check=False, timeout=TIMEOUT_S
            )
