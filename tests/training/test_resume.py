"""A run that was interrupted continues, with the clips that it began with."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serd.errors import UsageError
from tests.training.recipes import tiny_recipe
from tests.training.synthetic import write_ravdess
from training.dataset import load_dataset
from training.prepare import file_digest
from training.run import Run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tensorflow


def test_an_interrupted_run_continues_with_the_same_clips_only(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    corpora, recipe = tmp_path / "corpora", tiny_recipe(steps=6)
    write_ravdess(corpora / "ravdess", actors=range(1, 7), repetitions=2)

    def trained() -> list[np.ndarray]:
        run = Run(tmp_path / "run", recipe)
        run.train(load_dataset(recipe, corpora, cache=tmp_path / "cache", jobs=1))
        return run.weights()

    before = trained()
    # As if it had been interrupted after its last checkpoint.
    (tmp_path / "run" / "weights.npz").unlink()
    for expected, actual in zip(before, trained(), strict=True):
        np.testing.assert_array_equal(actual, expected)

    (tmp_path / "run" / "weights.npz").unlink()
    trained_on = json.loads((tmp_path / "run" / "run.json").read_text())["split"]["train"]
    actor = trained_on[0].rpartition("/")[2]
    clip, other = sorted((corpora / "ravdess").rglob(f"*-{actor}.wav"))[:2]
    kept = shutil.move(clip, tmp_path / clip.name)
    with pytest.raises(UsageError, match="was begun with other clips than the corpora hold now"):
        trained()
    shutil.move(kept, clip)
    # The same number of clips, with other sound under one name (read again, as by a new process).
    sound = clip.read_bytes()
    clip.write_bytes(other.read_bytes()[: len(sound) // 2])
    file_digest.cache_clear()
    with pytest.raises(UsageError, match="was begun with other clips"):
        trained()
    clip.write_bytes(sound)
    file_digest.cache_clear()
    assert len(trained()) == len(before)
