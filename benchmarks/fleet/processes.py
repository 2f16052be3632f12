"""CPU time and memory of processes from /proc, and the limit on open files."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SPARE_FILES: Final = 200


def processor_s(pid: int) -> float:
    """CPU seconds that a process has used, user and system (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_mb(pid: int) -> float:
    """Peak resident memory of a process, in megabytes (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def children_s(pid: int) -> float:
    """CPU seconds of a process, its living children, and those that it has waited for."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if path.parent.name == str(pid):
            total += sum(int(field) for field in fields[11:15]) / _TICKS
        elif fields[1] == str(pid):
            total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def allow_files(wanted: int) -> None:
    """Raise the limit on open files for this process and those that it starts.

    Raises:
        SystemExit: The hard limit is too low; the message says what to do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(
            f"this needs {needed} open files in one process and the system allows {hard}: raise it "
            f"(`ulimit -Hn {needed}` as root, or nofile in /etc/security/limits.conf), or take "
            "fewer nodes with --nodes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
