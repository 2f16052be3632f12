"""The queues and threads of hooks, with real programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING

import pytest

from serd.config import Hook
from serd.events.event import decode
from serd.hooks import OUTPUT_MAX, QUEUE_MAX, Hooks, run_program
from tests.broker import wait_until
from tests.mqtt.samples import new_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPEND = "import sys, pathlib; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read())"
HANG = ("/bin/sleep", "600")


def appending(path: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", APPEND, str(path))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "serd.hooks"):
        yield caplog


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in log.records if r.levelno >= logging.WARNING]


def test_events_are_passed_in_order_as_one_line_each(tmp_path: Path) -> None:
    events = [new_event(number) for number in range(5)]
    hooks = Hooks([Hook(command=appending(tmp_path / "out"))])
    hooks.start()
    for event in events:
        hooks.event(event)
    assert hooks.drain(60)
    hooks.stop(0)
    lines = (tmp_path / "out").read_bytes().splitlines()
    assert [decode(line) for line in lines] == events
    stats = hooks.stats()
    assert (stats.run, stats.failed, stats.dropped) == (5, 0, 0)


def test_a_hanging_hook_does_not_block_others(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    hooks = Hooks([Hook(command=HANG, timeout_s=600), Hook(command=appending(tmp_path / "out"))])
    hooks.start()
    hooks.event(new_event(0))
    wait_until((tmp_path / "out").exists)
    assert hooks.drain(0) is False
    begun = time.monotonic()
    for number in range(1, 1001):
        hooks.event(new_event(number))
    assert time.monotonic() - begun < 5  # a thousand runs would take far longer
    hooks.stop(0.2)
    stats = hooks.stats()
    assert stats.run + stats.dropped == 2 * 1001
    # The newest events for the hanging hook waited until the end and were dropped too.
    assert stats.dropped >= 1000
    logged = [sentence for sentence in warnings(log) if "hook 1 (sleep)" in sentence]
    slow = "its program is too slow for so many events; further ones are only counted"
    assert logged == [
        f"hook 1 (sleep) missed an event: {slow}",
        "hook 1 (sleep) was ended: serd is stopping",
    ]


def test_the_oldest_waiting_events_are_dropped(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = (
        f"import sys, os, time\nwhile not os.path.exists(sys.argv[2]): time.sleep(0.01)\n{APPEND}"
    )
    hooks = Hooks([Hook(command=(sys.executable, "-c", code, str(tmp_path / "out"), str(gate)))])
    hooks.start()
    hooks.event(new_event(0))
    wait_until(lambda: not hooks._workers[0]._waiting)  # the first is running
    events = [new_event(number) for number in range(QUEUE_MAX + 3)]
    for event in events:
        hooks.event(event)
    gate.touch()
    assert hooks.drain(120)
    hooks.stop(0)
    ids = [json.loads(line)["id"] for line in (tmp_path / "out").read_bytes().splitlines()]
    assert ids[1:] == [event.id for event in events[3:]]
    assert hooks.stats().dropped == 3


def test_a_failure_is_logged_once_until_it_changes(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "program"
    hooks = Hooks([Hook(command=(str(program),))])
    hooks.start()

    def run_once() -> None:
        hooks.event(new_event())
        assert hooks.drain(60)

    run_once()
    run_once()
    program.write_text("#!/bin/sh\necho broken; exit 3\n")
    program.chmod(0o755)
    run_once()
    run_once()
    program.write_text("#!/bin/sh\necho fine\n")
    run_once()
    hooks.stop(0)
    assert warnings(log) == [
        "hook 1 (program) cannot be started: No such file or directory",
        "hook 1 (program) left with 3: broken",
    ]
    assert "hook 1 (program) works again" in log.messages
    assert "hook 1 (program) ran: fine" in log.messages
    assert (hooks.stats().run, hooks.stats().failed) == (5, 4)


def test_stopping_lets_a_running_program_finish(tmp_path: Path) -> None:
    code = f"import time; time.sleep(0.5)\n{APPEND}"
    hooks = Hooks([Hook(command=(sys.executable, "-c", code, str(tmp_path / "out")))])
    hooks.start()
    hooks.event(new_event())
    wait_until(lambda: not hooks._workers[0]._waiting)
    hooks.stop(60)
    assert (tmp_path / "out").exists()
    hooks.event(new_event())  # too late
    assert hooks.stats().dropped == 1


def test_stopping_ends_hanging_programs() -> None:
    hooks = Hooks([Hook(command=HANG, timeout_s=600)] * 3)
    hooks.start()
    hooks.event(new_event())
    wait_until(lambda: not any(worker._waiting for worker in hooks._workers))
    begun = time.monotonic()
    hooks.stop(0.3)
    assert time.monotonic() - begun < 60
    assert hooks.stats().failed == 3


def test_without_hooks_there_is_no_thread(tmp_path: Path) -> None:
    import threading

    before = threading.active_count()
    hooks = Hooks([])
    hooks.start()
    hooks.event(new_event())
    assert hooks.drain(0)
    hooks.stop(0)
    assert threading.active_count() == before


def test_the_cooldown_uses_the_given_clock(tmp_path: Path) -> None:
    now = 100.0
    hooks = Hooks([Hook(command=appending(tmp_path / "out"), cooldown_s=60)], monotonic=lambda: now)
    hooks.start()
    for moment in (100.0, 130.0, 159.0, 160.0):
        now = moment
        hooks.event(new_event(int(moment)))
    assert hooks.drain(60)
    hooks.stop(0)
    lines = (tmp_path / "out").read_bytes().splitlines()
    assert len(lines) == 2
    assert hooks.stats().dropped == 0


def test_logins_in_the_output_are_masked(log: pytest.LogCaptureFixture) -> None:
    url = "https://me:hunter2@phone.invalid/send"
    complain = "import sys; sys.exit(f'{sys.argv[1]} failed; the password hunter2 was wrong')"
    hooks = Hooks([Hook(command=(sys.executable, "-c", complain, url))])
    hooks.start()
    hooks.event(new_event(1))
    assert hooks.drain(60)
    hooks.stop(0)
    (warning,) = warnings(log)
    assert "https://********@phone.invalid/send failed; the password ******** was wrong" in warning


def test_a_url_that_is_cut_off_is_left_out() -> None:
    fill = OUTPUT_MAX - len("x https://me:hunt")
    code = f"print('x' * {fill} + 'x https://me:hunter2@phone.invalid/send', end='')"
    result = run_program((sys.executable, "-c", code), b"", timeout_s=30)
    assert result.output == "x" * (fill + 1)
