from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from serd.child_process import Child, ending, environment

SLEEPS = "import time; time.sleep(600)"


def python(code: str) -> Child:
    return Child([sys.executable, "-c", code], env=environment())


def read_all(child: Child) -> bytes:
    data = b""
    while piece := child.read(60.0):
        data += piece
    return data


def test_output_is_read_to_the_end() -> None:
    child = python("import sys; sys.stdout.write('x' * 200_000); sys.stderr.write('why'); exit(3)")
    assert read_all(child) == b"x" * 200_000
    assert child.wait(60.0) == 3
    assert child.said == "why"
    child.end()


def test_stderr_never_blocks_and_its_newest_part_is_kept() -> None:
    child = python("import sys; sys.stderr.write('a' * 1_000_000 + 'end'); print('done')")
    assert read_all(child) == b"done\n"
    child.wait(60.0)
    assert child.said.endswith("aend")
    assert len(child.said) <= 4_000
    child.end()


def test_a_read_without_data_returns_none_and_can_be_interrupted() -> None:
    child = python(SLEEPS)
    assert child.read(0.0) is None
    threading.Timer(0.05, child.interrupt).start()
    assert child.read(600.0) == b""
    child.end()
    child.end()


@pytest.mark.parametrize("ignores_sigterm", [False, True])
def test_ending_a_process_ends_its_children_too(ignores_sigterm: bool) -> None:
    ignore = "import signal; signal.signal(15, signal.SIG_IGN)\n" if ignores_sigterm else ""
    child = python(
        f"{ignore}import subprocess, sys\n"
        f"other = subprocess.Popen([sys.executable, '-c', {SLEEPS!r}])\n"
        "print(other.pid, flush=True); other.wait()"
    )
    other = Path(f"/proc/{int(child.read(60.0) or b'')}/stat")
    child.end()
    assert not Path(f"/proc/{child.pid}").exists()
    deadline = time.monotonic() + 60
    while other.exists() and other.read_text().split(") ")[1][0] not in "ZX":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stopped_process_is_ended_too() -> None:
    child = python(SLEEPS)
    os.kill(child.pid, signal.SIGSTOP)
    child.end()
    assert not Path(f"/proc/{child.pid}").exists()


def test_its_environment_contains_no_serd_settings() -> None:
    env = {"SERD_MQTT__PASSWORD": "s", "HOME": "/h", "PULSE_SERVER": "p", "OTHER": "o"}
    assert environment(env).keys() == {"PATH", "HOME"}
    assert environment(env, more=("PULSE_",)).keys() == {"PATH", "HOME", "PULSE_SERVER"}


@pytest.mark.parametrize(
    ("code", "text"), [(0, "left with 0"), (-9, "was killed by SIGKILL"), (-99, "signal 99")]
)
def test_exit_codes_are_described_in_words(code: int, text: str) -> None:
    assert text in ending(code)
