"""Test speakers influence neither the weights nor any choice made before the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from tests.training.recipes import tiny_recipe
from training import dataset as materials
from training import run as runs
from training import train
from training.batches import clean_features, measure_features
from training.evaluate import classification as evaluate
from training.evaluate.predictions import predict
from training.packing import provenance
from training.quantise import representative_clips

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.models import Network
    from training.corpora import Clip
    from training.corpora.ordinary import Recording
    from training.evaluate.classification import Answer
    from training.evaluate.predictions import Predictions
    from training.prepare import Prepared
    from training.recipe import Recipe

pytest.importorskip("joblib")

TESTED = {1: ["02", "05"], 2: ["03", "06"], 5: ["01", "04"]}
"""The synthetic speakers that these folds hold out; the other folds hold out none."""


@pytest.fixture(params=TESTED)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """The tiny recipe for each of these folds."""
    return msgspec.structs.replace(tiny_recipe(), fold=request.param)


@pytest.fixture
def material(recipe: Recipe, synthetic_corpora: Path, tmp_path: Path) -> materials.Dataset:
    return materials.load_dataset(recipe, synthetic_corpora, cache=tmp_path / "cache", jobs=1)


def test_representative_clips_cover_all_training_voices_and_emotions(
    material: materials.Dataset,
) -> None:
    training = material.side("train")
    chosen = representative_clips(training, 24)
    assert len(chosen) == 24
    assert {one.clip.voice for one in chosen} == set(material.split.train)
    assert {one.clip.emotion for one in chosen} == {one.clip.emotion for one in training}


def test_each_stage_of_a_run_uses_only_its_own_speakers(
    recipe: Recipe,
    material: materials.Dataset,
    tmp_path: Path,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = runs.Run(tmp_path / "run", recipe)
    features = measure_features(material.side("train"), recipe.in_training(recipe.features))
    (run.folder / "features.json").write_bytes(msgspec.json.encode(features))
    (run.folder / "run.json").write_bytes(msgspec.json.encode(provenance(recipe, material)))
    np.savez(run.folder / "weights.npz", np.zeros(1, dtype=np.float32))
    converted: dict[str, NDArray[np.float32]] = {}
    used: list[set[str]] = []

    def fake_convert(*arguments: object) -> bytes:
        examples = arguments[-1]
        assert isinstance(examples, np.ndarray)
        converted["examples"] = examples
        return network("eight")

    real = evaluate.classify_clips

    def spy_classify(model: Path, clips: Sequence[Clip], **options: object) -> list[Answer]:
        used.append({clip.voice for clip in clips})
        return real(model, clips)

    def spy_predict(
        model: Path, clips: Sequence[Clip], recordings: Sequence[Recording], **_: object
    ) -> Predictions:
        used.append({clip.voice for clip in clips})
        return predict(model, clips, recordings)

    trained_on: set[str] = set()
    validated_on: set[str] = set()

    class FakeTrainer:
        """Records the speakers that it would train on."""

        def __init__(
            self,
            _recipe: object,
            _features: object,
            training: Sequence[Prepared],
            validation: Sequence[Prepared],
            *_: object,
            **__: object,
        ) -> None:
            trained_on.update(one.clip.voice for one in training)
            validated_on.update(one.clip.voice for one in validation)
            self.curves: list[dict[str, float]] = []

        def run(self, _progress: object) -> FakeTrainer:
            return self

        def get_weights(self) -> list[NDArray[np.float32]]:
            return [np.zeros(1, dtype=np.float32)]

    monkeypatch.setattr(train, "Trainer", FakeTrainer)
    monkeypatch.setattr(runs, "convert", fake_convert)
    monkeypatch.setattr(runs, "classify_clips", spy_classify)
    monkeypatch.setattr(runs, "predict", spy_predict)
    monkeypatch.setattr(runs.Run, "_float_figures", lambda *_: {})
    run.quantise(material)
    assert used == [set(material.split.validation)]
    of_training = {
        one.tobytes() for one in clean_features(material.side("train"), run.packed_features())
    }
    assert len(converted["examples"]) == 20
    assert {one.tobytes() for one in converted["examples"]} <= of_training

    calibrated = (run.folder / "calibration.json").read_bytes()
    run.refit(material)
    assert trained_on == {*material.split.train, *material.split.validation}
    assert validated_on == set()
    assert used[1:] == []
    assert (run.folder / "calibration.json").read_bytes() == calibrated
    of_all = clean_features(
        material.with_validation_speakers().side("train"), run.packed_features()
    )
    assert {one.tobytes() for one in converted["examples"]} <= {one.tobytes() for one in of_all}

    result = run.evaluate(material)
    assert used[1:] == [set(material.split.test)]
    assert result["test"]["ravdess"]["speakers"] == TESTED[recipe.fold]
