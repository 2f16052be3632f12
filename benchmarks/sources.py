"""What several sources in one process cost: ``python -m benchmarks.sources``.

In every round, daemons with one, two and four sources process the same speech, one after the other,
connected to a real mosquitto. Ratios are taken within a round. Prints a table and writes
``benchmarks/results/sources/*.json``; ``report`` puts the newest into docs/several-microphones.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks.goals import Value, over
from benchmarks.report import insert, number
from serd.benchmark import material
from serd.benchmark.daemon import Cost, run
from serd.benchmark.figures import describe
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results" / "sources"
PAGE: Final = ROOT / "docs" / "several-microphones.md"

COUNTS: Final = (1, 2, 4)
"""Sources in one process."""

BEGIN: Final = "<!-- sources: begin (written by `python -m benchmarks.sources report`) -->"
END: Final = "<!-- sources: end -->"


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 3
    hour_s: int = 1200
    """Seconds of speech per source, processed at full speed; figures are scaled up to an hour."""
    real_s: float = 40.0
    """Seconds of speech per source, in real time."""


@contextmanager
def broker(home: Path) -> Iterator[int]:
    """Run a private mosquitto on loopback; yields its port."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise UnavailableError("mosquitto is not installed", remedy="sudo apt install mosquitto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = home / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with subprocess.Popen(
        [program, "-c", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def cost(count: int, recording: Path, *, pace: str, port: int, home: Path) -> Cost:
    """Run a daemon with ``count`` sources that all process the recording to its end."""
    for old in home.glob("journal.db*"):
        old.unlink()
    sources = [{"node": f"bench-{place}"} for place in range(count)]
    settings = {
        "audio.source": str(recording),
        "audio.pace": pace,
        "sources": json.dumps(sources),
        "mqtt.host": "127.0.0.1",
        "mqtt.port": str(port),
        "mqtt.discovery": "false",
        "journal.path": str(home / "journal.db"),
        "log.level": "warning",
    }
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return run([sys.executable, "-m", "serd", "run", *options], home=home)


def measure(sizes: Sizes) -> dict[str, Any]:
    """Run all rounds; returns the content of the result file."""
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="serd-sources-") as folder:
        home = Path(folder)
        hour = material.write(home / "hour.wav", material.speech(sizes.hour_s))
        short = material.write(home / "short.wav", material.speech(sizes.real_s))
        with broker(home) as port:
            for place in range(sizes.rounds):
                print(f"round {place + 1} of {sizes.rounds}", file=sys.stderr, flush=True)
                figures: dict[str, float] = {}
                for count in COUNTS:
                    fast = cost(count, hour, pace="fast", port=port, home=home)
                    real = cost(count, short, pace="real", port=port, home=home)
                    figures[f"cpu_s_{count}"] = fast.cpu_s * 3600 / sizes.hour_s
                    figures[f"rss_mb_{count}"] = fast.peak_rss_mb
                    figures[f"real_percent_{count}"] = real.steady_percent or float("nan")
                rounds.append(figures)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": msgspec.to_builtins(describe()),
        "sizes": msgspec.to_builtins(sizes),
        "rounds": rounds,
    }


def markdown(result: dict[str, Any]) -> str:
    """The table, and the machine it was measured on."""
    rounds: list[dict[str, float]] = result["rounds"]

    def shown(value: Value, unit: str) -> str:
        return f"{number(value.median)} {unit} ({number(value.low)} .. {number(value.high)})"

    heads = (
        "sources",
        "CPU for an hour of speech each",
        "beside one",
        "in real time",
        "beside one",
        "peak RSS",
        "more than one",
    )
    measured = (
        f"Measured {result['at'][:10]} on {_machine(result['machine'])}: the median of "
        f"{len(rounds)} interleaved rounds (least .. greatest), {result['sizes']['hour_s']} s of "
        f"uninterrupted speech for each source, and {result['sizes']['real_s']:g} s in real time."
    )
    lines = [measured, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for count in COUNTS:

        def of(name: str, count: int = count) -> Value:
            return over(rounds, lambda one: one[f"{name}_{count}"])

        def beside_one(name: str, count: int = count) -> Value:
            return over(rounds, lambda one: one[f"{name}_{count}"] / one[f"{name}_1"])

        def more_than_one(name: str, count: int = count) -> Value:
            return over(rounds, lambda one: one[f"{name}_{count}"] - one[f"{name}_1"])

        figures = [
            shown(of("cpu_s"), "s"),
            shown(beside_one("cpu_s"), "x"),
            shown(of("real_percent"), "% of a core"),
            shown(beside_one("real_percent"), "x"),
            shown(of("rss_mb"), "MB"),
            shown(more_than_one("rss_mb"), "MB"),
        ]
        lines.append(f"| {count} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _machine(machine: dict[str, Any]) -> str:
    return (
        f"{machine['model']} ({machine['cores']} cores, {machine['architecture']}, "
        f"{machine['system']}, Python {machine['python']})"
    )


def main() -> None:
    """Measure and print, or write a result into the documentation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sources", description=__doc__)
    parser.add_argument("--rounds", type=int, default=Sizes().rounds, help="rounds (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one short round")
    commands = parser.add_subparsers(dest="command")
    report = commands.add_parser("report", help="write a result into the documentation")
    report.add_argument("result", nargs="?", type=Path, help="result file (default: the newest)")
    arguments = parser.parse_args()
    if arguments.command == "report":
        path = arguments.result or max(RESULTS.glob("*.json"))
        insert(PAGE, markdown(json.loads(path.read_text())), begin=BEGIN, end=END)
        return
    sizes = Sizes(rounds=arguments.rounds)
    if arguments.quick:
        sizes = Sizes(rounds=1, hour_s=360, real_s=12.0)
    result = measure(sizes)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{result['at'][:19].replace(':', '')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(markdown(result))
    print(f"\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
