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

    from serd.doctor.result import Finding

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
_INDENT: Final = 22


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all findings.")
@click.option(
    "--listen",
    type=click.FloatRange(0, 600),
    metavar="SECONDS",
    help="How long to listen to the microphone, also while the room is muted or in quiet hours; "
    "0 does not open it. Default: 4 s, and 0 while muted or in quiet hours.",
)
@pass_invocation
def check(invocation: Invocation, as_json: bool, listen: float | None) -> int:
    """Find out what is wrong, and what helps.

    Looks at the configuration, the clock, the service, the model, the detector (on sample speech),
    the microphone (say something while it listens), the journal, and every step of the way to the
    broker. A line for each begins with ok, warn, fail or skip. Nothing is changed, and no daemon
    is disturbed.

    Exit code: 0 if nothing failed; 78 if the configuration or the model is a cause; else 69.
    """
    from serd.doctor.result import exit_code

    findings = []
    for finding in _findings(invocation, listen):
        findings.append(finding)
        if not as_json:
            _print(finding)
            sys.stdout.flush()
    code = exit_code(findings)
    if as_json:
        _print_json(findings, code)
    else:
        _summarise(findings)
    return code


def _findings(invocation: Invocation, listen: float | None) -> Iterator[Finding]:
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


def _print(finding: Finding) -> None:
    status = f"{finding.status:<4}"
    if colour_wanted():
        status = click.style(status, fg=_COLOURS[finding.status], bold=True)
    message, *more = wrapped(finding.message, _INDENT, least=40)
    echo(f"  {finding.check:<14}  {message}", lead=status)
    for line in [*more, *wrapped(finding.remedy or "", _INDENT, least=40)]:
        echo(" " * _INDENT + line)


def _print_json(findings: list[Finding], code: int) -> None:
    import msgspec

    rows = []
    for finding in findings:
        row = msgspec.to_builtins(finding)
        del row["configured"]
        rows.append(row)
    echo(json.dumps({"ok": code == 0, "exit_code": code, "checks": rows}, ensure_ascii=False))


def _summarise(findings: list[Finding]) -> None:
    failures = sum(finding.status == "fail" for finding in findings)
    warnings = sum(finding.status == "warn" for finding in findings)
    text = f"{failures} failed" if failures else "nothing failed"
    if warnings:
        text += f", {warnings} warning{'s' if warnings > 1 else ''}"
    echo(f"serd: {text}", err=True)
