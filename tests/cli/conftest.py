"""Fixtures that run the command line in the test process."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from serd.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and home without any configuration."""
    for name in [*os.environ]:
        if name.startswith(("SERD_", "XDG_")) or name in {"STATE_DIRECTORY", "JOURNAL_STREAM"}:
            monkeypatch.delenv(name)
    monkeypatch.setattr("serd.config.loading.SYSTEM_FILE", tmp_path / "etc" / "config.yaml")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Restore the process's logging configuration afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("serd")
    handlers, levels, raising = root.handlers[:], (root.level, ours.level), logging.raiseExceptions
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.raiseExceptions = raising


@pytest.fixture
def serd(
    home: Path, restored_logging: None, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run ``serd ARGUMENTS...``; returns exit code, standard output and standard error."""

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call
