"""Run the benchmarks; ``report`` writes the documentation; ``compare`` compares two results."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import compare, report
from benchmarks.rounds import Bench, Sizes
from benchmarks.size import environment_mb
from serd.benchmark.figures import describe

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ROOT / "docs" / "figures"
INSTRUCTIONS = FIGURES / "instructions.json"
REFERENCE = FIGURES / "benchmark.json"


def main() -> None:
    """Parse the command line and run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    parser.add_argument("--rounds", type=int, default=Sizes().rounds)
    parser.add_argument("--quick", action="store_true", help="one round with a tenth of the work")
    parser.add_argument(
        "--no-size", action="store_true", help="do not create an environment to measure"
    )
    writing = commands.add_parser("report", help="write table and picture into the documentation")
    writing.add_argument("result", nargs="?", type=Path, help="result file (default: the newest)")
    comparing = commands.add_parser(
        "compare", help="check that two results lie within each other's spread"
    )
    comparing.add_argument("first", type=Path, help="a result file")
    comparing.add_argument("second", type=Path, help="another one")
    arguments = parser.parse_args()
    if arguments.command == "compare":
        found = compare.pairs(_read(arguments.first), _read(arguments.second))
        print(compare.text(found))
        sys.exit(0 if all(pair.inside for pair in found) else 1)
    if arguments.command == "report":
        write_up(arguments.result or newest())
        return
    sizes = Sizes(rounds=arguments.rounds)
    if arguments.quick:
        sizes = Sizes(rounds=1, hour_s=360, latency_s=12.0, clips=5, live_s=8.0, files=100,
                      sources=(1, 4))  # fmt: skip
    path = measure(sizes, with_size=not (arguments.no_size or arguments.quick))
    print(report.text(_read(path)))
    print(f"\nwritten to {path.relative_to(ROOT)}; `make bench-report` puts it into the docs")


def measure(sizes: Sizes, *, with_size: bool) -> Path:
    """Run all rounds; returns the result file."""
    begun = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {what}", file=sys.stderr, flush=True)

    # As an installation does; otherwise every start would compile serd if byte code is not cached.
    for package in ("serd", "benchmarks"):
        compileall.compile_dir(str(ROOT / package), quiet=1)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="serd-bench-") as folder:
        size_mb = None
        if with_size:
            tell("a fresh environment")
            size_mb = environment_mb(Path(folder) / "venv")
        bench = Bench(sizes, Path(folder), tell)
        rounds = []
        for number in range(sizes.rounds):
            tell(f"round {number + 1} of {sizes.rounds}")
            rounds.append(bench.round())
    now = datetime.now(UTC)
    result = {
        "date": now.date().isoformat(),
        "machine": msgspec.to_builtins(describe()),
        "nice": os.nice(0),
        "took_s": round(time.monotonic() - begun),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "sizes": msgspec.to_builtins(sizes),
        "size_mb": size_mb,
        "instructions": counted(),
        "rounds": rounds,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return path


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def newest() -> Path:
    """The newest result; their names are timestamps, those of other benchmarks are not."""
    return max(RESULTS.glob("[0-9]*.json"))


def counted() -> dict[str, float] | None:
    """The counts of `make bench-instructions`, if it has run."""
    if not INSTRUCTIONS.exists():
        return None
    found: dict[str, float] = json.loads(INSTRUCTIONS.read_text(encoding="utf-8"))
    return found


def write_up(source: Path) -> None:
    """Make a result the reference: write its figures, the picture, and the table in the docs."""
    result = _read(source)
    FIGURES.mkdir(parents=True, exist_ok=True)
    REFERENCE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report.draw(result, FIGURES / "benchmark")
    report.insert(ROOT / "docs" / "performance.md", report.markdown(result))


if __name__ == "__main__":
    main()
