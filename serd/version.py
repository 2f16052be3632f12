"""The version of serd, as pyproject.toml says it too (a test compares them).

Here as well, because `importlib.metadata` would load 30 modules to find it: 13 ms of a start and
half a megabyte.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
"""Version of serd."""
