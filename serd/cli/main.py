"""``serd``: the group of commands, and the way from an error to an exit code.

Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from serd.cli.colour import echo
from serd.cli.commands import Commands
from serd.cli.completion import complete
from serd.cli.invocation import Group, Invocation
from serd.errors import SerdError
from serd.interruption import INTERRUPTED, begin, interruptible
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

PIPE_CLOSED = 141
"""128 + SIGPIPE: whoever read standard output has gone."""


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="serd %(version)s")
def cli() -> None:
    """Hear how people sound: a speech-emotion daemon that talks MQTT and records nothing.

    Exit codes: 0 fine, 2 wrong usage, 66 an input file cannot be read, 69 something needed is
    unavailable, 70 a bug, 78 configuration or model invalid.
    """


cli.commands = Commands(
    (
        "run",
        "demo",
        "tail",
        "classify",
        "history",
        "correct",
        "personal",
        "devices",
        "config",
        "model",
        "discovery",
        "forget",
        "check",
        "health",
        "meter",
        "dashboard",
        "bench",
        "completion",
    )
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; from the process if None.

    Returns:
        The exit code.
    """
    # Before numpy is loaded, and only here, so that a program that uses serd as a library decides
    # for itself: the products on the hot path are so small that threads only make them wait.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show is no reason
            stream.reconfigure(errors="backslashreplace")  # to fail
    invocation = Invocation()
    if arguments is None:
        begin()
    ours = interruptible() if arguments is None else nullcontext()
    try:
        if arguments is None and (asked := complete(cli)) is not None:
            return asked
        # Not cli.main(): it makes exit code 1 of a closed pipe.
        words = sys.argv[1:] if arguments is None else [*arguments]
        with ours, cli.make_context("serd", words, obj=invocation) as context:
            result = cli.invoke(context)
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the one place where all errors end
        return _end(error, invocation)
    return result if isinstance(result, int) else 0


def _end(error: BaseException, invocation: Invocation) -> int:
    """Say what went wrong, and give the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, BrokenPipeError):
        _silence(sys.stdout)
        return PIPE_CLOSED
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if invocation.debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, SerdError):
        report(error)
        return error.exit_code
    what = " ".join(f"{type(error).__name__}: {error}".split())
    echo(f"serd: this is a bug in serd: {what}", err=True)
    if not invocation.debug:
        echo("serd: please report it with what the same command prints with --debug", err=True)
    return SerdError.exit_code


def report(error: SerdError) -> None:
    """Write an error to standard error: what is wrong, then what to do about it."""
    for line in error.message.splitlines():
        echo(f"serd: {line}", err=True)
    if error.remedy:
        echo(f"      {error.remedy}", err=True)


def _silence(stream: object) -> None:
    """Keep the interpreter from flushing into a closed pipe, and complaining, as it exits."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return


if __name__ == "__main__":
    sys.exit(main())
