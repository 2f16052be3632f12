"""What commands print: whether in colour, and never a command to the terminal from outside."""

from __future__ import annotations

import os
import sys

import click

from serd.harmless import harmless


def colour_wanted() -> bool:
    """Whether standard output is a terminal that shows colour to somebody who wants it.

    ``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` say no.
    """
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in {None, "", "dumb"}
    return sys.stdout.isatty() and not plain


def echo(
    text: str = "", *, err: bool = False, lines: bool = False, nl: bool = True, lead: str = ""
) -> None:
    """Print a text in which names and values from outside may stand, harmlessly.

    Every command prints by this, or as ``rich`` text made by :mod:`serd.cli.lines`.

    Args:
        text: What to print; one line, if not said otherwise.
        err: To standard error.
        lines: It has several lines.
        nl: End it with a line feed.
        lead: Printed before it as it is: coloured words of our own.
    """
    click.echo(lead + harmless(text, lines=lines), err=err, nl=nl)
