"""A signal may arrive at any instruction, even inside the wait that it ends."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from serd.interruption import SignalEvent

PROGRAM = """
import os, signal, subprocess, sys
from serd.interruption import SignalEvent

wanted = 1500
event = SignalEvent()  # with threading.Event() this program stops within a second
handled = 0

def handle(*_):
    global handled
    event.set()
    handled += 1

signal.signal(signal.SIGTERM, handle)
sender = '''
import os, signal, sys, time
while True:
    os.kill(int(sys.argv[1]), signal.SIGTERM)
    time.sleep(0.0005)
'''
with subprocess.Popen([sys.executable, "-c", sender, str(os.getpid())]) as child:
    try:
        while handled < wanted:
            event.wait(0.0005)
            event.clear()
    finally:
        child.kill()
print("handled", handled >= wanted)
"""


def test_signals_never_deadlock_the_waiting_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "handled True\n"


def test_wait_returns_whether_the_event_is_set() -> None:
    event = SignalEvent()
    assert not event.wait(0.01)
    threading.Timer(0.05, event.set).start()
    assert event.wait(60)
    assert event.wait(60)  # stays set
    assert event.is_set()
    event.clear()
    assert not event.is_set()
    assert not event.wait(0.01)


@pytest.mark.parametrize("calls", [1, 5])
def test_one_clear_resets_it_however_often_it_was_set(calls: int) -> None:
    event = SignalEvent()
    for _ in range(calls):
        event.set()
    assert event.wait(0.0)
    event.clear()
    assert not event.wait(0.0)
