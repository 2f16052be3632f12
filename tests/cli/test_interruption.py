"""Ctrl-C at fifty moments, in many commands: one line or nothing, exit code 130, no traceback.

The moments are counted, not timed, so that they are the same on a slow machine: the process counts
its own imports, opened files, connections and whatever else Python's audit hooks tell, and presses
Ctrl-C for its whole process group at one of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.system.node import SAMPLE, TIMEOUT_S, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

MOMENTS = 5
"""In each command; with ten commands, fifty."""

PROGRAM = """
import os, signal, sys, threading
when, counted = int(sys.argv.pop(1)), 0
report = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)
main_thread = threading.get_ident()
def heard(event, _):
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
sys.addaudithook(heard)
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
ENDLESS = {"tail", "meter"}
"""Those that Ctrl-C ends as it should be once they are under way, with exit code 0."""


def run(home: Path, when: int, *arguments: str, limit: float = TIMEOUT_S) -> tuple[int, str, str]:
    """Run a command, pressing Ctrl-C at that moment; exit code, output, errors."""
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


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_any_moment(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        shutil.copy(SAMPLE, tmp_path / "in" / f"{number}.ogg")
    arguments = COMMANDS[name]
    run(tmp_path, 0, *arguments, limit=8 if name == "tail" else TIMEOUT_S)
    moments = int((tmp_path / "counted").read_text())
    assert moments > 200
    met = 0
    for number in range(MOMENTS):
        # Each command at other shares of its way than the others; the first ones very early.
        share = (number + (list(COMMANDS).index(name) + 0.5) / len(COMMANDS)) / MOMENTS
        code, _, err = run(tmp_path, max(1, round(share**1.5 * moments)), *arguments)
        where = f"{name} at {share:.0%}: exit {code}, {err}"
        assert "Traceback" not in err, where
        assert "ignored" not in err, where
        assert code == 130 or (name in ENDLESS and code == 0), where
        assert len(err.splitlines()) <= 2, where  # what it had said itself, and one line
        met += code == 130
    assert met


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
    ("program", "ends"), [(TWICE, (130, "", "")), (IN_A_DESTRUCTOR, (0, "caught\n", ""))]
)
def test_it_is_neither_lost_nor_held_up(program: str, ends: tuple[int, str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == ends
