"""Entry point of ``serd`` and ``python -m serd``; handles Ctrl-C from its first line."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    # As serd.interruption.begin(), before even that is imported.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from serd.cli.main import main as run  # noqa: PLC0415 - after the line above

    return run()


if __name__ == "__main__":
    sys.exit(main())
