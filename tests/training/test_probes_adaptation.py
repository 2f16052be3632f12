"""Unsupervised adaptation to a room: it gets no labels and does nothing at strength 0."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serd.model.model_file import ModelFile
from tests.training.recipes import tiny_recipe
from tests.training.synthetic import RATE
from training.cli.main import main
from training.corpora import read_corpus
from training.dataset import make_split
from training.probes import PARTS, possible_parts
from training.probes.adaptation import (
    HEARD,
    NEUTRAL_SHARE,
    SITUATIONS,
    AdaptableModel,
    Method,
    Reference,
    RoomAdapter,
    ScoredClip,
    Situation,
    measure_reference,
    probe_adaptation,
    simulate,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.corpora import Clip

METHODS: tuple[Method, ...] = ("features", "scores")
REFERENCE = Reference(np.array([[0.0, 0.0], [10.0, 10.0]]), np.array([0.5, 0.25, 0.25]))
FEATURES = np.arange(8, dtype=np.float32).reshape(4, 2)
ROWS = slice(1, 3)


def make_adapter(method: Method, *, strength: float = 1.0, prior: float = 0.0) -> RoomAdapter:
    return RoomAdapter(method, REFERENCE, strength=strength, prior=prior)


def test_the_adapter_gets_no_labels() -> None:
    arguments = inspect.signature(RoomAdapter.add).parameters
    assert list(arguments) == ["self", "mean", "scores"]
    assert {"clip", "label", "emotion", "truth"}.isdisjoint(
        inspect.signature(RoomAdapter).parameters
    )


@pytest.mark.parametrize("method", METHODS)
def test_nothing_changes_at_strength_0_or_without_past_utterances(method: Method) -> None:
    scores = np.array([0.2, 0.3, 0.5])
    for strength, past in ((0.0, 9), (1.0, 0)):
        adapter = make_adapter(method, strength=strength)
        for _ in range(past):
            adapter.add(np.array([3.0, -3.0]), np.array([0.1, 0.1, 0.8]))
        np.testing.assert_array_equal(adapter.features(FEATURES, ROWS), FEATURES)
        np.testing.assert_allclose(adapter.scores(scores), scores)


def test_features_are_shifted_to_the_nearest_corpus_mean() -> None:
    adapter = make_adapter("features")
    for mean in ((11.0, 9.5), (13.0, 8.5)):
        adapter.add(np.array(mean), np.full(3, 1 / 3))
    moved = adapter.features(FEATURES, ROWS)
    np.testing.assert_allclose(moved[ROWS], FEATURES[ROWS] - [2.0, -1.0])
    np.testing.assert_array_equal(moved[[0, 3]], FEATURES[[0, 3]])  # the surrounding silence
    assert adapter.scores(np.array([0.2, 0.3, 0.5])) == pytest.approx([0.2, 0.3, 0.5])


def test_the_prior_weakens_the_shift() -> None:
    adapter = make_adapter("features", prior=2.0)
    for _ in range(2):
        adapter.add(np.array([1.0, 1.0]), np.full(3, 1 / 3))
    moved = adapter.features(FEATURES, ROWS)
    np.testing.assert_allclose(moved[ROWS], FEATURES[ROWS] - 0.5)


def test_classes_predicted_more_often_than_in_training_are_weighted_down() -> None:
    adapter = make_adapter("scores")
    for _ in range(4):
        adapter.add(np.zeros(2), np.array([0.5, 0.1, 0.4]))
    before = np.array([0.4, 0.2, 0.4])
    after = adapter.scores(before)
    assert after.sum() == pytest.approx(1.0)
    assert after[1] / after[0] == pytest.approx(2.5 * before[1] / before[0])
    assert after[2] < before[2]
    np.testing.assert_array_equal(adapter.features(FEATURES, ROWS), FEATURES)


@pytest.fixture(scope="module")
def scored(
    synthetic_corpora: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AdaptableModel, list[ScoredClip]]:
    model = AdaptableModel(tiny_model_path, cache=tmp_path_factory.mktemp("cache"))
    return model, model.score_clips(read_corpus("ravdess", synthetic_corpora).clips)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_curve_is_flat_at_strength_0(
    method: Method, situation: Situation, scored: tuple[AdaptableModel, list[ScoredClip]]
) -> None:
    model, clips = scored
    reference = measure_reference(clips)

    def run(strength: float) -> dict[str, Any]:
        result = simulate(
            model,
            [one for one in clips if one.clip.speaker in ("01", "02", "03")],
            lambda: RoomAdapter(method, reference, strength=strength, prior=5.0),
            situation,
            seeds=2,
        )
        assert list(result) == ["ravdess"]
        assert (result["ravdess"]["voices"], result["ravdess"]["clips"]) == (3, 48)
        return result["ravdess"]

    without, with_strength = run(0.0), run(1.0)
    assert without["uar"] == [without["uar"][0]] * len(HEARD)
    assert without["gain_20"] == 0.0
    assert with_strength["uar"][0] == without["uar"][0]  # no past utterances, no change
    assert with_strength == run(1.0)  # the same seeds, the same figures


def test_a_clip_is_never_among_its_own_past_utterances(
    scored: tuple[AdaptableModel, list[ScoredClip]],
) -> None:
    model, all_clips = scored
    clips = [one for one in all_clips if one.clip.speaker == "04"]
    past: list[list[NDArray[np.float64]]] = []

    class RecordingAdapter(RoomAdapter):
        def __init__(self) -> None:
            super().__init__("scores", measure_reference(clips), strength=1.0, prior=5.0)
            past.append([])

        def add(self, mean: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
            past[-1].append(mean)
            super().add(mean, scores)

    for situation in SITUATIONS:
        past.clear()
        simulate(model, clips, RecordingAdapter, situation, seeds=1)
        assert len(past) == 16
        for one, others in zip(clips, past, strict=True):
            assert others
            assert not any(np.array_equal(one.mean, other) for other in others)
        if situation == "mostly_neutral":
            plain = {one.mean.tobytes() for one in clips if one.clip.emotion in ("neutral", "calm")}
            share = np.mean([mean.tobytes() in plain for part in past for mean in part])
            assert share == pytest.approx(NEUTRAL_SHARE, abs=0.07)
        else:
            assert all(len(part) == 15 for part in past)


def test_prior_and_strength_are_chosen_on_validation_speakers(
    synthetic_corpora: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    corpus = read_corpus("ravdess", synthetic_corpora)
    split = make_split({"ravdess": corpus}, fold=1, validation={"ravdess": 1})
    training, validation = (split.side(corpus.clips, name) for name in ("train", "validation"))

    def probed(test: list[Clip]) -> dict[str, Any]:
        return probe_adaptation(
            tiny_model_path,
            training=training,
            validation=validation,
            test=test,
            seeds=1,
            cache=tmp_path,
        )

    result = probed(split.side(corpus.clips, "test"))
    other = probed(training[:16])  # other test speakers, same choice
    for method, of_method in result["methods"].items():
        best = max(one["gain"] for one in of_method["tried"])
        chosen = {"strength": of_method["strength"], "prior": of_method["prior"]}
        assert chosen | {"gain": best} in of_method["tried"]
        assert of_method["tried"] == other["methods"][method]["tried"]
        assert of_method["test"] != other["methods"][method]["test"]
        assert of_method["validation"]["speaker"]["ravdess"]["voices"] == 1
        assert of_method["test"]["speaker"]["ravdess"]["voices"] == 2


# --------------------------------------------------------------------------- the command


def test_the_command_runs_the_requested_probes_and_keeps_other_results(
    synthetic_corpora: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    root = tmp_path / "corpora"
    root.mkdir()
    (root / "ravdess").symlink_to(synthetic_corpora / "ravdess")
    noise = 0.1 * np.random.default_rng(0).normal(size=RATE)
    for name in ("1-1-A", "3-2-A"):
        path = root / "esc10" / "rain" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise, RATE)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe()))
    out = tmp_path / "probes.json"
    options = [
        *("--model", str(tiny_model_path), "--recipe", str(recipe), "--corpora", str(root)),
        *("--cache", str(tmp_path / "cache"), "--jobs", "1", "--out", str(out)),
    ]

    def run(*more: str) -> str:
        result = CliRunner().invoke(main, ["probe", *options, *more])
        assert result.exit_code == 0, result.output
        return result.output

    assert "ravdess, telephone: accuracy" in run("--only", "robustness")
    first = json.loads(out.read_text())
    assert set(first) == {"model", "fold", "robustness"}
    assert first["model"]["name"] == "tiny"
    assert first["robustness"]["noise"] == ["3-2-A"]  # from the folds that training does not use
    speakers = first["robustness"]["corpora"]["ravdess"]["speakers"]
    assert speakers == ["02", "05"]

    run("--only", "adaptation")
    second = json.loads(out.read_text())
    assert second["robustness"] == first["robustness"]
    assert set(second) == {"model", "fold", "robustness", "adaptation"}

    info = ModelFile.load(tiny_model_path).info
    assert second["model"]["version"] == info.version

    # Without validation speakers there is nothing to choose its strength on.
    uses = tiny_recipe().corpora
    nobody = {"ravdess": msgspec.structs.replace(uses["ravdess"], validation_speakers=0)}
    without = msgspec.structs.replace(tiny_recipe(), corpora=nobody)
    assert possible_parts(tiny_recipe()) == PARTS
    assert possible_parts(without) == ("robustness", "environment")
    recipe.write_bytes(msgspec.yaml.encode(without))
    for command in (["probe", *options, "--only"], ["folds", *options[2:-2], "--probe"]):
        refused = CliRunner().invoke(main, [*command, "adaptation"])
        assert refused.exit_code == 2, refused.output
        assert "the recipe tiny sets none aside" in " ".join(refused.output.split())
    conflict = CliRunner().invoke(main, ["probe", "--run", str(tmp_path / "none"), *options])
    assert conflict.exit_code != 0
    assert "--run and --model" in conflict.output
