"""Only the driver's thread returns to normal priority, if it is allowed to."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, threading
from serd.audio.microphone import back_to_normal

os.nice(5)
if sys.argv[1] == "unprivileged":
    os.setuid(65534)
seen = []

def work():
    back_to_normal()
    seen.append(os.getpriority(os.PRIO_PROCESS, 0))

thread = threading.Thread(target=work)
thread.start()
thread.join()
print(seen[0], os.getpriority(os.PRIO_PROCESS, 0))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as both users")
@pytest.mark.skipif(os.getpriority(os.PRIO_PROCESS, 0) != 0, reason="the tests run under nice")
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NICE) != (0, 0),
    reason="every user may raise the priority here",
)
@pytest.mark.parametrize(("user", "priorities"), [("privileged", "0 5"), ("unprivileged", "5 5")])
def test_only_the_calling_thread_returns_to_normal_and_only_if_allowed(
    user: str, priorities: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, user], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == priorities
