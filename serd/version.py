"""The version of serd; pyproject.toml and the packages read it from here.

A constant, because `importlib.metadata` would load 30 modules to find it (13 ms and half a megabyte
at start-up), and because a clone may run in an environment set up for an earlier version.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.2.0"
"""Version of serd."""
