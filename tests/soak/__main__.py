"""``python -m tests.soak --hours 24``; what `make soak` runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="hours of audio (default 24)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the audio and the failures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serd-soak-") as folder:
        report = soak(options.hours, Path(folder), seed=options.seed,
                      say=lambda text: print(text, flush=True))  # fmt: skip
    print(f"\n{report.table()}\n")
    for problem in report.problems():
        print(f"FAILED: {problem}")
    return 1 if report.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
