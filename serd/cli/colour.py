"""Whether to use colour."""

from __future__ import annotations

import os
import sys


def colour_wanted() -> bool:
    """Whether standard output is a terminal that shows colour to somebody who wants it.

    ``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` say no.
    """
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in {None, "", "dumb"}
    return sys.stdout.isatty() and not plain
