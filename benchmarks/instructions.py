"""Instructions counted by callgrind, which do not depend on how busy the machine is.

``python -m benchmarks.instructions OUT``. Each contender processes a short and a longer stretch of
speech; the difference is the cost of speech without the start. Valgrind does not support AVX-512,
so the libraries use their AVX2 code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SHORT_S: Final = 6
LONG_S: Final = 36


def count(command: list[str]) -> int:
    """Instructions that a command executes in all its threads.

    Raises:
        RuntimeError: If the command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        done = subprocess.run(
            [*valgrind, *command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        )
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode or not found:
        msg = f"{command} under valgrind: {done.returncode}, {done.stderr[-300:]}"
        raise RuntimeError(msg)
    return int(found[1])


def per_second(name: str, *before: str) -> float:
    """Instructions per second of speech."""
    counts = []
    for seconds in (SHORT_S, LONG_S):
        with tempfile.NamedTemporaryFile() as out:
            module = f"benchmarks.contenders.{name}"
            counts.append(count([sys.executable, "-m", module, *before, str(seconds), out.name]))
    return (counts[1] - counts[0]) / (LONG_S - SHORT_S)


def main(out: str) -> None:
    """Count instructions, print and write the result."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    found = {
        "floor": per_second("floor"),
        "recogniser": per_second("recogniser", "1", "turns"),
    }
    for name, instructions in found.items():
        print(f"{name:12} {instructions / 1e6:7.2f} million instructions for a second of speech")
    Path(out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
