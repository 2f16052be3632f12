"""Running real programs, well-behaved and misbehaving ones."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from serd.child_process import environment
from serd.hooks import OUTPUT_MAX, run_program
from tests.broker import wait_until

PYTHON = sys.executable
PAYLOAD = b'{"emotion":"happy"}\n'


def python(code: str, *arguments: str) -> list[str]:
    return [PYTHON, "-c", code, *arguments]


def alive(pid: int) -> bool:
    """Whether a process is running; an unreaped zombie (no init in a container) is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def test_the_payload_is_passed_on_standard_input(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    result = run_program(python(code, str(out)), PAYLOAD, timeout_s=30)
    assert (result.failure, result.output) == (None, "")
    assert out.read_bytes() == PAYLOAD


def test_arguments_are_not_interpreted_by_a_shell(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    words = [f"$(touch {victim})", f"; touch {victim}", "`id`", "*"]
    result = run_program(["/bin/echo", *words], PAYLOAD, timeout_s=30)
    assert result.output == " ".join(words)
    assert not victim.exists()


def test_a_program_that_does_not_read_its_input() -> None:
    begun = time.monotonic()
    result = run_program(["/bin/true"], b"x" * 60_000, timeout_s=30)
    assert result.failure is None
    assert time.monotonic() - begun < 30


def test_a_program_that_closes_its_input_at_once() -> None:
    code = "import os, time; os.close(0); time.sleep(0.2)"
    assert run_program(python(code), PAYLOAD, timeout_s=30).failure is None


@pytest.mark.parametrize("code", [1, 42])
def test_a_nonzero_exit_code_is_a_failure(code: int) -> None:
    result = run_program(python(f"print('sorry'); raise SystemExit({code})"), PAYLOAD, timeout_s=30)
    assert (result.failure, result.output) == (f"left with {code}", "sorry")


def test_a_crash_is_a_failure() -> None:
    result = run_program(python("import os; os.kill(os.getpid(), 11)"), PAYLOAD, timeout_s=30)
    assert result.failure == "was killed by SIGSEGV"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no-such-program", "No such file or directory"),
        ("/no/such/program", "No such file or directory"),
        ("/etc", "Permission denied"),
        ("nul\0byte", "embedded null byte"),
    ],
)
def test_a_program_that_cannot_be_started(name: str, reason: str) -> None:
    assert run_program([name], PAYLOAD, timeout_s=30).failure == f"cannot be started: {reason}"


def test_a_slow_program_is_terminated() -> None:
    begun = time.monotonic()
    code = "print('begun', flush=True); import time; time.sleep(600)"
    result = run_program(python(code), PAYLOAD, timeout_s=1.5)
    assert result.failure == "was ended: it took longer than 1.5 s"
    assert result.output == "begun"
    assert time.monotonic() - begun >= 1.5


@pytest.mark.slow
def test_a_program_that_ignores_sigterm_is_killed() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)"
    result = run_program(python(f"{code}; time.sleep(600)"), PAYLOAD, timeout_s=1.5)
    assert result.failure == "was ended: it took longer than 1.5 s"


@pytest.mark.slow
def test_a_program_may_clean_up_on_sigterm() -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: (print('tidy', flush=True), sys.exit(0)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    result = run_program(python(code), PAYLOAD, timeout_s=3)
    assert result.output == "ready tidy"


@pytest.mark.slow
@pytest.mark.parametrize("wait", [True, False], ids=["timeout", "left behind"])
def test_child_processes_end_with_the_program(wait: bool, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, sys, time, signal\n"
        "if os.fork() == 0:\n"
        "    signal.signal(15, signal.SIG_IGN)\n"
        "    open(sys.argv[1] + '~', 'w').write(str(os.getpid()))\n"
        "    os.rename(sys.argv[1] + '~', sys.argv[1])\n"
        "    time.sleep(600)\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        f"time.sleep({600 if wait else 0})"
    )
    # The child keeps the output pipe open: waiting for its end would take ten minutes.
    result = run_program(python(code, str(note)), PAYLOAD, timeout_s=3 if wait else 60)
    assert (result.failure is not None) is wait
    child = int(note.read_text())
    wait_until(lambda: not alive(child))


def test_excess_output_is_read_and_discarded() -> None:
    code = "import sys\nfor _ in range(4000): sys.stdout.write('spam ' * 100)"
    result = run_program(python(code), PAYLOAD, timeout_s=60)
    assert result.failure is None
    assert result.output.startswith("spam spam")
    assert len(result.output) <= OUTPUT_MAX


def test_control_characters_in_the_output_are_replaced() -> None:
    result = run_program(python(r"print('a\x1b[31mb\nc')"), PAYLOAD, timeout_s=30)
    assert result.output == "a?[31mb c"


def test_cancelling_ends_the_program() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    result = run_program(["/bin/sleep", "600"], PAYLOAD, timeout_s=300, cancelled=stop.is_set)
    assert (result.cancelled, result.failure) == (True, "was ended: serd is stopping")


def test_the_program_runs_in_its_own_session() -> None:
    result = run_program(
        python("import os; print(os.getsid(0), os.getpid())"), PAYLOAD, timeout_s=30
    )
    session, pid = result.output.split()
    assert session == pid != str(os.getsid(0))


def test_the_environment_has_no_settings_or_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERD_MQTT__PASSWORD", "hush")
    monkeypatch.setenv("LANG", "C.UTF-8")
    result = run_program(["/usr/bin/env"], PAYLOAD, timeout_s=30)
    assert "hush" not in result.output
    assert "LANG=C.UTF-8" in result.output
    assert environment({}) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    }
    assert environment({"PATH": "/p", "HOME": "/h", "LD_PRELOAD": "x"}) == {
        "PATH": "/p", "HOME": "/h",
    }  # fmt: skip


def children() -> set[str]:
    """Process ids of this process's children, zombies too."""
    lists = (path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return {pid for text in lists for pid in text.split()}


def test_no_file_descriptors_or_children_are_left() -> None:
    run_program(["/bin/true"], PAYLOAD, timeout_s=30)
    before = sorted(Path("/proc/self/fd").iterdir()), children()
    for command in (["/bin/true"], ["no-such-program"], ["/bin/sleep", "9"]):
        run_program(command, PAYLOAD, timeout_s=0.2)
    assert (sorted(Path("/proc/self/fd").iterdir()), children()) == before


def test_a_signal_without_a_name_is_reported_by_number() -> None:
    code = f"import os; os.kill(os.getpid(), {int(signal.SIGRTMIN) + 1})"
    assert (
        run_program(python(code), PAYLOAD, timeout_s=30).failure
        == f"was killed by signal {int(signal.SIGRTMIN) + 1}"
    )
