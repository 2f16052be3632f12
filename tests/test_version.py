"""The version is defined in one place, from which the package and its metadata take it."""

from __future__ import annotations

import re
import tomllib

import serd
from serd.version import VERSION
from tests.layer import TREE


def test_pyproject_takes_the_version_from_the_package() -> None:
    project = tomllib.loads((TREE / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "serd.version.VERSION"
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_the_package_exports_the_version() -> None:
    assert serd.__version__ == VERSION
