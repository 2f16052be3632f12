"""The priority of the one thread that must not be late.

The service runs below normal priority (``Nice=`` in its unit), so that the rest of the machine goes
first. The driver's thread is the exception: what it does not fetch in time is lost. The unit allows
it to go back to normal (``LimitNICE=``); elsewhere nothing is lowered, and nothing happens here.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

NORMAL: Final = 0
"""The nice value that a program has if nobody says otherwise (nice(2))."""


def back_to_normal() -> None:
    """Undo a lowered priority for the calling thread, if that is allowed; never fails.

    On Linux a nice value belongs to a thread, and 0 as its number means the calling one
    (setpriority(2), "C library/kernel differences").
    """
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) > NORMAL:
            os.setpriority(os.PRIO_PROCESS, 0, NORMAL)
