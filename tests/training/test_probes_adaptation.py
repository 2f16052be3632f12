"""Getting used to a room: without labels, without effect at strength 0, with effect where due."""

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


def room(method: Method, *, strength: float = 1.0, prior: float = 0.0) -> RoomAdapter:
    return RoomAdapter(method, REFERENCE, strength=strength, prior=prior)


def test_a_room_is_told_no_label() -> None:
    told = inspect.signature(RoomAdapter.add).parameters
    assert list(told) == ["self", "mean", "scores"]
    assert {"clip", "label", "emotion", "truth"}.isdisjoint(
        inspect.signature(RoomAdapter).parameters
    )


@pytest.mark.parametrize("method", METHODS)
def test_at_strength_0_and_before_anything_was_heard_nothing_changes(method: Method) -> None:
    scores = np.array([0.2, 0.3, 0.5])
    for strength, heard in ((0.0, 9), (1.0, 0)):
        state = room(method, strength=strength)
        for _ in range(heard):
            state.add(np.array([3.0, -3.0]), np.array([0.1, 0.1, 0.8]))
        np.testing.assert_array_equal(state.features(FEATURES, ROWS), FEATURES)
        np.testing.assert_allclose(state.scores(scores), scores)


def test_what_was_heard_is_moved_to_the_nearest_corpus() -> None:
    state = room("features")
    for mean in ((11.0, 9.5), (13.0, 8.5)):
        state.add(np.array(mean), np.full(3, 1 / 3))
    moved = state.features(FEATURES, ROWS)
    np.testing.assert_allclose(moved[ROWS], FEATURES[ROWS] - [2.0, -1.0])
    np.testing.assert_array_equal(moved[[0, 3]], FEATURES[[0, 3]])  # the silence around
    assert state.scores(np.array([0.2, 0.3, 0.5])) == pytest.approx([0.2, 0.3, 0.5])


def test_a_prior_holds_back() -> None:
    state = room("features", prior=2.0)
    for _ in range(2):
        state.add(np.array([1.0, 1.0]), np.full(3, 1 / 3))
    moved = state.features(FEATURES, ROWS)
    np.testing.assert_allclose(moved[ROWS], FEATURES[ROWS] - 0.5)


def test_what_is_said_more_often_than_in_training_gets_less() -> None:
    state = room("scores")
    for _ in range(4):
        state.add(np.zeros(2), np.array([0.5, 0.1, 0.4]))
    before = np.array([0.4, 0.2, 0.4])
    after = state.scores(before)
    assert after.sum() == pytest.approx(1.0)
    assert after[1] / after[0] == pytest.approx(2.5 * before[1] / before[0])
    assert after[2] < before[2]
    np.testing.assert_array_equal(state.features(FEATURES, ROWS), FEATURES)


@pytest.fixture(scope="module")
def heard(
    synthetic_corpora: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AdaptableModel, list[ScoredClip]]:
    listener = AdaptableModel(tiny_model_path, cache=tmp_path_factory.mktemp("cache"))
    return listener, listener.score_clips(read_corpus("ravdess", synthetic_corpora).clips)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_strength_no_curve(
    method: Method, situation: Situation, heard: tuple[AdaptableModel, list[ScoredClip]]
) -> None:
    listener, clips = heard
    reference = measure_reference(clips)

    def run(strength: float) -> dict[str, Any]:
        result = simulate(
            listener,
            [one for one in clips if one.clip.speaker in ("01", "02", "03")],
            lambda: RoomAdapter(method, reference, strength=strength, prior=5.0),
            situation,
            seeds=2,
        )
        assert list(result) == ["ravdess"]
        assert (result["ravdess"]["voices"], result["ravdess"]["clips"]) == (3, 48)
        return result["ravdess"]

    none, some = run(0.0), run(1.0)
    assert none["uar"] == [none["uar"][0]] * len(HEARD)
    assert none["gain_20"] == 0.0
    assert some["uar"][0] == none["uar"][0]  # nothing heard, nothing changed
    assert some == run(1.0)  # the same seeds, the same figures


def test_a_clip_is_never_among_what_its_room_has_heard(
    heard: tuple[AdaptableModel, list[ScoredClip]],
) -> None:
    listener, everybody = heard
    clips = [one for one in everybody if one.clip.speaker == "04"]
    remembered: list[list[NDArray[np.float64]]] = []

    class Watched(RoomAdapter):
        def __init__(self) -> None:
            super().__init__("scores", measure_reference(clips), strength=1.0, prior=5.0)
            remembered.append([])

        def add(self, mean: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
            remembered[-1].append(mean)
            super().add(mean, scores)

    for situation in SITUATIONS:
        remembered.clear()
        simulate(listener, clips, Watched, situation, seeds=1)
        assert len(remembered) == 16
        for one, others in zip(clips, remembered, strict=True):
            assert others
            assert not any(np.array_equal(one.mean, other) for other in others)
        if situation == "mostly_neutral":
            plain = {one.mean.tobytes() for one in clips if one.clip.emotion in ("neutral", "calm")}
            share = np.mean([mean.tobytes() in plain for part in remembered for mean in part])
            assert share == pytest.approx(NEUTRAL_SHARE, abs=0.07)
        else:
            assert all(len(part) == 15 for part in remembered)


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

    found = probed(split.side(corpus.clips, "test"))
    other = probed(training[:16])  # other test speakers, same choice
    for method, of_method in found["methods"].items():
        best = max(one["gain"] for one in of_method["tried"])
        chosen = {"strength": of_method["strength"], "prior": of_method["prior"]}
        assert chosen | {"gain": best} in of_method["tried"]
        assert of_method["tried"] == other["methods"][method]["tried"]
        assert of_method["test"] != other["methods"][method]["test"]
        assert of_method["validation"]["speaker"]["ravdess"]["voices"] == 1
        assert of_method["test"]["speaker"]["ravdess"]["voices"] == 2


# --------------------------------------------------------------------------- the command


def test_the_command_measures_what_it_is_asked_for_and_keeps_the_rest(
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
        done = CliRunner().invoke(main, ["probe", *options, *more])
        assert done.exit_code == 0, done.output
        return done.output

    assert "ravdess, telephone: accuracy" in run("--only", "robustness")
    first = json.loads(out.read_text())
    assert set(first) == {"model", "fold", "robustness"}
    assert first["model"]["name"] == "tiny"
    assert first["robustness"]["noise"] == ["3-2-A"]  # of the folds that training may not hear
    speakers = first["robustness"]["corpora"]["ravdess"]["speakers"]
    assert speakers == ["02", "05"]

    run("--only", "adaptation")
    second = json.loads(out.read_text())
    assert second["robustness"] == first["robustness"]
    assert set(second) == {"model", "fold", "robustness", "adaptation"}

    info = ModelFile.load(tiny_model_path).info
    assert second["model"]["version"] == info.version
    wrong = CliRunner().invoke(main, ["probe", "--run", str(tmp_path / "none"), *options])
    assert wrong.exit_code != 0
    assert "--run and --model" in wrong.output
