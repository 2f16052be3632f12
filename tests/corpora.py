"""Fixture for the tests that need real recordings of speech."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of the corpora: ``$SERD_CORPORA``, else ``../shared/corpora``; skips without."""
    root = Path(__file__).parent.parent
    folder = Path(os.environ.get("SERD_CORPORA", root.parent / "shared" / "corpora"))
    if not folder.is_dir():
        pytest.skip(f"needs the corpora (docs/training.md), and {folder} is not there")
    return folder
