"""Fixtures for the training tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.errors import InputError
from tests.training.synthetic import write_ravdess
from training.corpora import corpora_root

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def real_corpora() -> Path:
    """The folder of the real corpora; skips if there is none."""
    try:
        return corpora_root()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def synthetic_corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of corpora that contains a small synthetic RAVDESS."""
    root = tmp_path_factory.mktemp("corpora")
    write_ravdess(root / "ravdess", actors=range(1, 7), repetitions=2)
    return root
