"""Fixture for tests that need real recordings of speech."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The corpora folder, ``$SERD_CORPORA`` or ``../shared/corpora``; skips if it is missing."""
    root = Path(__file__).parent.parent
    folder = Path(os.environ.get("SERD_CORPORA", root.parent / "shared" / "corpora"))
    if not folder.is_dir():
        pytest.skip(f"needs the corpora (docs/training.md), but {folder} does not exist")
    return folder
