"""The version of serd. It has no other home: pyproject.toml and the packages read it from here.

A constant, because `importlib.metadata` would load 30 modules to find it: 13 ms of a start and half
a megabyte; and because a clone may run in an environment that was set up for an earlier one.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.2.0"
"""Version of serd."""
