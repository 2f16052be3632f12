from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.config import loading

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def empty_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a configuration file, on a machine without one in /etc."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "SYSTEM_FILE", tmp_path / "etc" / "config.yaml")
    return tmp_path
