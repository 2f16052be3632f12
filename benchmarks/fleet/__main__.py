"""Run the fleet benchmark; ``report`` writes its result into the documentation."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks.fleet import report
from benchmarks.fleet.broker import version
from benchmarks.fleet.flood import flood
from benchmarks.fleet.postgres import Cluster
from benchmarks.fleet.processes import allow_files
from benchmarks.fleet.steady import Load, pace, stored
from serd.benchmark.figures import describe

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "fleet.json"
FIGURES: Final = ROOT / "docs" / "figures" / "fleet.json"
PAGE: Final = ROOT / "docs" / "fleet.md"

_QUICK_MINUTES: Final = 0.4


def main() -> None:
    """Parse the command line and run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the nodes publish")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between utterances")
    parser.add_argument(
        "--quick", action="store_true", help="less than a minute, a tenth of the load"
    )
    writing = commands.add_parser("report", help="write a result into the documentation")
    writing.add_argument("result", nargs="?", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.command == "report":
        write_up(options.result)
        return
    if options.nodes < 10 or options.minutes <= 0 or options.every < 2.0:
        parser.error("at least 10 nodes, more than 0 minutes, and 2 seconds between utterances")
    if options.quick:
        options.nodes, options.minutes = min(options.nodes, 100), _QUICK_MINUTES
    result = measure(options)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(report.text(result))
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    sys.exit(0 if nothing_lost(result) else 1)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the three parts, one after the other; returns the figures.

    Raises:
        SystemExit: Something required is missing; the message names it.
    """
    allow_files(options.nodes)
    seconds = 60 * options.minutes
    tell = _teller()
    with tempfile.TemporaryDirectory(prefix="serd-fleet-") as name:
        folder = Path(name)
        try:
            tell("a tenth of the nodes, with serd tail")
            few = Load(options.nodes // 10, min(60.0, seconds), options.every, tell)
            paced = pace(folder / "pace", few)
            tell("all nodes, with serd tail and three consumers into PostgreSQL")
            many = Load(options.nodes, seconds, options.every, tell)
            kept = stored(folder / "stored", many)
            tell("as fast as it goes")
            flooded = flood(
                folder / "flood", events=5_000 if options.quick else 200_000, publishers=4
            )
            with Cluster() as cluster, cluster.connect() as connection:
                database = connection.info.parameter_status("server_version") or ""
        except FileNotFoundError as error:
            raise SystemExit(str(error)) from None
        except RuntimeError:
            kept_at = Path(tempfile.mkdtemp(prefix="serd-fleet-failed-"))
            shutil.copytree(folder, kept_at, dirs_exist_ok=True)
            tell(f"failed; what was written is in {kept_at}")
            raise
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": msgspec.to_builtins(describe()),
        "nice": os.nice(0),
        "mosquitto": version(),
        "postgresql": database.split()[0],
        "pace": paced,
        "stored": kept,
        "flood": flooded,
    }


def nothing_lost(result: dict[str, Any]) -> bool:
    """Whether every acknowledged event arrived everywhere and none was stored twice."""
    run = result["stored"]
    counts = [run["observed"]["missing"], run["stored"]["missing"], run["stored"]["twice"],
              result["pace"]["observed"]["missing"], result["flood"]["missing"]]  # fmt: skip
    counts += [*run["consumer_exit_codes"], run["stored"]["gaps"], run["stored"]["unacknowledged"]]
    return not any(counts) and run["sent"] == run["acknowledged"]


def write_up(source: Path) -> None:
    """Write a result into the documentation."""
    result = json.loads(source.read_text(encoding="utf-8"))
    FIGURES.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report.write(PAGE, result)


def _teller() -> Callable[[str], None]:
    begun = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {what}", file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    main()
