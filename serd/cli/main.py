"""Entry points: ``serd`` with its commands, from an error to an exit code, and ``serd-train``.

Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import serd
from serd.cli import streams
from serd.cli.command import Invocation, LazyGroup
from serd.cli.completion import VARIABLE
from serd.cli.terminal import echo
from serd.errors import SerdError, UnavailableError
from serd.interruption import INTERRUPTED, begin, interruptible
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

PIPE_CLOSED: Final = 141
"""128 + SIGPIPE: the reader of standard output has gone."""

_COMMANDS: Final = {
    name: f"serd.cli.{name}:{name}"
    for name in (
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
} | {"discovery": "serd.cli.forget:discovery"}


@click.group(
    cls=LazyGroup,
    lazy_subcommands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, message="serd %(version)s")
def cli() -> None:
    """Hear how people sound: a speech-emotion daemon that talks MQTT and records nothing.

    Exit codes: 0 fine, 2 wrong usage, 66 an input file cannot be read, 69 something needed is
    unavailable, 70 a bug, 78 configuration or model invalid.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; from the process if None.

    Returns:
        The exit code.
    """
    # Set before numpy is loaded, and only here, so that programs using serd as a library decide
    # for themselves. The products on the hot path are so small that threads only slow them down.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if arguments is None:
        streams.prepare()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name the terminal cannot show must not be an error
            stream.reconfigure(errors="backslashreplace")
    invocation = Invocation()
    if arguments is None:
        begin()
    interruption = interruptible() if arguments is None else nullcontext()
    try:
        if arguments is None and (instruction := os.environ.get(VARIABLE)):
            from click.shell_completion import shell_complete

            return shell_complete(cli, {}, "serd", VARIABLE, instruction)
        # Not cli.main(), which turns a closed pipe into exit code 1.
        words = sys.argv[1:] if arguments is None else [*arguments]
        with interruption, cli.make_context("serd", words, obj=invocation) as context:
            result = cli.invoke(context)
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the one place where all errors end
        return _exit_code(error, invocation)
    return result if isinstance(result, int) else 0


def _exit_code(error: BaseException, invocation: Invocation) -> int:
    """Report an error on standard error and return its exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, BrokenPipeError | streams.OutputError):
        _silence(sys.stdout)
    if isinstance(error, BrokenPipeError):
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
    """Print an error to standard error: what is wrong, then what to do about it."""
    for line in error.message.splitlines():
        echo(f"serd: {line}", err=True)
    if error.remedy:
        echo(f"      {error.remedy}", err=True)


def _silence(stream: object) -> None:
    """Keep the interpreter from flushing into a closed pipe or onto a full disk as it exits."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return


def train() -> int:
    """Run ``serd-train``, which works in the source tree only.

    The wheel and the Debian package leave ``training`` out: training needs a clone, and in
    site-packages that name belongs to others. The command is installed all the same, to say so.

    Returns:
        The exit code; 69 where there is no training code.
    """
    tree = Path(serd.__file__).parents[1]
    # Not any package of that name, but the one beside serd in a source tree.
    needed = (tree / "pyproject.toml", tree / "training" / "cli" / "main.py")
    if not all(path.is_file() for path in needed):
        error = UnavailableError(
            "serd-train works in serd's source tree only: the installed package has no "
            "training code",
            remedy="get the source (a clone, or an unpacked sdist of serd-emotion), and there: "
            "make setup-test",
        )
        print(f"serd-train: {error.message}\n      {error.remedy}", file=sys.stderr)
        return error.exit_code
    if str(tree) not in sys.path:
        sys.path.append(str(tree))
    status: int | None = importlib.import_module("training.cli.main").main()
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
