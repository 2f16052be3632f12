"""The version, in the two places that have it."""

from __future__ import annotations

from importlib.metadata import version

from serd.version import VERSION


def test_the_version_is_that_of_the_package() -> None:
    assert version("serd") == VERSION
