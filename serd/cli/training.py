"""``serd-train``: runs the training code where it is, which is the source tree alone.

The wheel and the Debian package leave ``training`` out: whoever makes models has a clone, and in
site-packages that name belongs to others. The command is installed all the same, to say so.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import serd
from serd.errors import UnavailableError

_REMEDY = (
    "get the source (a clone, or an unpacked sdist of serd-emotion), and there: make setup-test"
)


def main() -> int:
    """Run ``serd-train``; 69 where there is no training code."""
    tree = Path(serd.__file__).parents[1]
    # Not any package of that name: ours lies beside serd, in a source tree.
    if (
        not (tree / "pyproject.toml").is_file()
        or not (tree / "training" / "cli" / "main.py").is_file()
    ):
        error = UnavailableError(
            "serd-train works in serd's source tree only: the installed package has no "
            "training code",
            remedy=_REMEDY,
        )
        print(f"serd-train: {error.message}\n      {error.remedy}", file=sys.stderr)
        return error.exit_code
    if str(tree) not in sys.path:
        sys.path.append(str(tree))
    status: int | None = importlib.import_module("training.cli.main").main()
    return status or 0
