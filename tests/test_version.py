"""The version has one home, and every page and package that names it reads it from there."""

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


def test_the_package_says_it() -> None:
    assert serd.__version__ == VERSION
