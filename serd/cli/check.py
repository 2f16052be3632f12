"""``serd check``: the doctor."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import colour_wanted, echo, wrapped
from serd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.doctor.result import CheckResult

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
_INDENT: Final = 22


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all results.")
@click.option(
    "--listen",
    type=click.FloatRange(0, 600),
    metavar="SECONDS",
    help="Seconds to listen to the microphone, even while the room is muted or in quiet hours; 0 "
    "does not open it. Default: 4, or 0 while muted or in quiet hours.",
)
@pass_invocation
def check(invocation: Invocation, as_json: bool, listen: float | None) -> int:
    """Find out what is wrong, and what helps.

    Checks the configuration, the clock, the service, the model, the detector (on sample speech),
    the microphone (say something while it listens), the journal, and every step to the broker. Each
    line starts with ok, warn, fail or skip. Nothing is changed, and no daemon is disturbed.

    Exit code: 0 if nothing failed; 78 if the configuration or the model is a cause; otherwise 69.
    """
    from serd.doctor.result import exit_code

    results = []
    for result in _results(invocation, listen):
        results.append(result)
        if not as_json:
            _print(result)
            sys.stdout.flush()
    code = exit_code(results)
    if as_json:
        _print_json(results, code)
    else:
        _summarise(results)
    return code


def _results(invocation: Invocation, listen: float | None) -> Iterator[CheckResult]:
    from serd.doctor.configuration import invalid
    from serd.doctor.examination import examine

    try:
        loaded = invocation.load()
    except ConfigError as error:
        yield from invalid(error)
        return

    def listening(seconds: float) -> None:
        if (
            sys.stderr.isatty()
            and seconds > 0
            and any(
                single.audio.kind in {"mic", "network", "program"}
                for single in loaded.config.each()
            )
        ):
            echo(f"      listening for {seconds:g} s: say something", err=True)

    yield from examine(loaded, listen_s=listen, listening=listening)


def _print(result: CheckResult) -> None:
    status = f"{result.status:<4}"
    if colour_wanted():
        status = click.style(status, fg=_COLOURS[result.status], bold=True)
    message, *more = wrapped(result.message, _INDENT, least=40)
    echo(f"  {result.check:<14}  {message}", lead=status)
    for line in [*more, *wrapped(result.remedy or "", _INDENT, least=40)]:
        echo(" " * _INDENT + line)


def _print_json(results: list[CheckResult], code: int) -> None:
    import msgspec

    rows = []
    for result in results:
        row = msgspec.to_builtins(result)
        del row["configured"]
        rows.append(row)
    echo(json.dumps({"ok": code == 0, "exit_code": code, "checks": rows}, ensure_ascii=False))


def _summarise(results: list[CheckResult]) -> None:
    failures = sum(result.status == "fail" for result in results)
    warnings = sum(result.status == "warn" for result in results)
    text = f"{failures} failed" if failures else "nothing failed"
    if warnings:
        text += f", {warnings} warning{'s' if warnings > 1 else ''}"
    echo(f"serd: {text}", err=True)
