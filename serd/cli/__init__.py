"""The command line. One thin module for each command; what is heavy is imported when it runs."""

from __future__ import annotations

import sys

# msgspec takes two names from typing_extensions where that is installed, and from typing where it
# is not; from Python 3.11 on they are the same. The package alone would take 4 MB of memory.
if "typing_extensions" not in sys.modules and "msgspec" not in sys.modules:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment] # makes import fail
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
