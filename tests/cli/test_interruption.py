"""Ctrl-C at fifty points, across ten commands: at most two lines, exit code 130, no traceback.

The points are counted, not timed, so that they are the same on a slow machine: the process counts
its audit events (imports, opened files, connections and so on) and sends SIGINT to its whole
process group at one of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from serd.audio import SAMPLE
from tests.ports import free_port
from tests.system.node import TIMEOUT_S, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

POINTS = 5
"""For each of the ten commands, so fifty in all."""

PROGRAM = """
import os, signal, sys, threading
when, counted = int(sys.argv.pop(1)), 0
report = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)
main_thread = threading.get_ident()
def on_audit_event(event, _):
    global counted
    if threading.get_ident() != main_thread:
        return
    counted += 1
    if counted == when:
        os.killpg(0, signal.SIGINT)
    if not when and counted % 50 == 0:
        os.pwrite(report, str(counted).encode(), 0)
sys.argv[0] = "serd"
from serd.__main__ import main
sys.addaudithook(on_audit_event)
sys.exit(main())
"""

COMMANDS = {
    "help": ("--help",),
    "config": ("config", "show"),
    "model": ("model", "info"),
    "classify": ("classify", str(SAMPLE)),
    "classify in workers": ("classify", "--jobs", "2", "in"),
    "history": ("history",),
    "devices": ("devices",),
    "check": ("check", "--listen", "0"),
    "meter": ("meter", "--source", str(SAMPLE), "--set", "audio.pace=fast"),
    "tail": ("tail",),
}
UNTIL_INTERRUPTED = {"tail", "meter"}
"""Commands that run until Ctrl-C: once under way, they exit with 0."""


def run(home: Path, when: int, *arguments: str, limit: float = TIMEOUT_S) -> tuple[int, str, str]:
    """Interrupt a command at that audit event (0: never); returns exit code, output and errors."""
    command = [
        sys.executable, "-c", PROGRAM, str(when), str(home / "counted"), *arguments,
        "--set", f"mqtt.port={free_port()}",
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=home, env=environment(home), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return process.returncode, out, err


AS_A_WORKER_STARTS = """
import os, signal, sys
connected = False
def on_audit_event(event, arguments):
    global connected
    if event == "socket.connect":  # to the server that forks the workers
        connected = True
    elif connected and event == "open" and isinstance(arguments[0], int):  # what the worker is told
        connected = False
        os.killpg(0, signal.SIGINT)
sys.argv[0] = "serd"
from serd.__main__ import main
sys.addaudithook(on_audit_event)
sys.exit(main())
"""


def test_ctrl_c_while_a_worker_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_A_WORKER_STARTS, "classify", "--jobs", "2", *[str(SAMPLE)] * 20],
        cwd=tmp_path, env=environment(tmp_path), start_new_session=True, text=True,
        capture_output=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_any_point(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        shutil.copy(SAMPLE, tmp_path / "in" / f"{number}.ogg")
    arguments = COMMANDS[name]
    run(tmp_path, 0, *arguments, limit=8 if name == "tail" else TIMEOUT_S)
    events = int((tmp_path / "counted").read_text())
    assert events > 200
    interrupted = 0
    for number in range(POINTS):
        # Each command is interrupted at different fractions of its run; the first ones very early.
        share = (number + (list(COMMANDS).index(name) + 0.5) / len(COMMANDS)) / POINTS
        code, _, err = run(tmp_path, max(1, round(share**1.5 * events)), *arguments)
        where = f"{name} at {share:.0%}: exit {code}, {err}"
        assert "Traceback" not in err, where
        assert "ignored" not in err, where
        assert code == 130 or (name in UNTIL_INTERRUPTED and code == 0), where
        assert len(err.splitlines()) <= 2, where  # its own output so far, and one line
        interrupted += code == 130
    assert interrupted


TWICE = """
import os, signal
from serd import interruption
interruption.begin()
with interruption.interruptible():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("still here")
"""

IN_A_DESTRUCTOR = """
import os, signal, time
from serd import interruption
class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
try:
    with interruption.interruptible():
        Thing()
        time.sleep(60)
except KeyboardInterrupt:
    print("caught")
"""


@pytest.mark.parametrize(
    ("program", "expected"), [(TWICE, (130, "", "")), (IN_A_DESTRUCTOR, (0, "caught\n", ""))]
)
def test_interrupt_in_cleanup_or_destructor_takes_effect(
    program: str, expected: tuple[int, str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == expected
