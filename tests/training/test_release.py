"""From audio files to a packed model that serd loads, on a synthetic corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serd import Classifier
from tests.training.recipes import tiny_recipe
from tests.training.synthetic import RATE, voice
from training.report import card, load_sources

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def released(synthetic_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that ``serd-train release`` writes into a repository."""
    home = tmp_path_factory.mktemp("release")
    release(home, synthetic_corpora, cache=home / "cache")
    return home


def release(home: Path, corpora: Path, *, cache: Path) -> None:
    """Run ``serd-train release``, with a folder in place of the repository."""
    recipe = home / "tiny.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe(steps=80)))
    command = [sys.executable, "-m", "training", "release", "--recipe", str(recipe)]
    command += ["--corpora", str(corpora), "--cache", str(cache)]
    command += ["--run", str(home / "run"), "--into", str(home), "--jobs", "1"]
    result = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert [Path(line).name for line in result.stdout.splitlines()] == [
        "tiny.tflite",
        "tiny.json",
        "model-card-tiny.md",
    ]


def test_the_model_loads_and_recognises_unseen_voices(released: Path) -> None:
    classifier = Classifier.load(released / "serd" / "model" / "data" / "tiny.tflite")
    assert classifier.info.corpora[0].name == "RAVDESS (speech)"
    # Includes the validation speaker: refit trains on all but the test speakers.
    assert classifier.info.corpora[0].speakers == 4
    assert classifier.info.evaluation["ravdess"]["speakers"] == 2
    angry = classifier.classify(voice("05", 20, 1), RATE)
    assert max(angry.scores, key=lambda name: angry.scores[name]) == "angry"
    assert sum(angry.scores.values()) == pytest.approx(1.0)


def test_the_figures_are_better_than_chance_and_consistent(released: Path) -> None:
    figures = json.loads((released / "training" / "results" / "tiny.json").read_text())
    one = figures["test"]["ravdess"]
    matrix = np.array(one["confusion"])
    assert matrix.sum() == one["clips"] == 32
    assert one["accuracy"] == pytest.approx(matrix.trace() / matrix.sum())
    assert one["uar"] == pytest.approx(np.mean(list(one["recall"].values())))
    assert one["accuracy"] > 0.3
    assert abs(figures["float32"]["ravdess"]["accuracy"] - one["accuracy"]) < 0.15
    split, last = figures["run"]["split"], figures["refit"]["split"]
    assert split["test"] == last["test"] == ["ravdess/02", "ravdess/05"]
    assert not set(split["test"]) & {*split["train"], *split["validation"], *last["train"]}
    assert {*split["train"], *split["validation"]} == {*last["train"]}


def test_the_card_matches_the_figures(released: Path) -> None:
    text = (released / "docs" / "model-card-tiny.md").read_text(encoding="utf-8")
    sources = load_sources(released / "training" / "results" / "tiny.json")
    assert text == card(sources)
    assert f"| {sources.release['test']['ravdess']['uar']:.4f} |" in text
    assert "Apache-2.0" in text
    # Only the models that ship with serd have goals.
    assert "## Goals" not in text
    assert "Not measured yet (`serd-train folds`)." in text
    drawn = released / "docs" / "figures" / "model-tiny"
    assert sorted(file.name for file in drawn.glob("*.png")) == [
        "confusion.png",
        "reliability.png",
        "risk-coverage.png",
    ]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_and_figures(
    released: Path, synthetic_corpora: Path, tmp_path: Path
) -> None:
    release(tmp_path, synthetic_corpora, cache=tmp_path / "cache")
    one, other = (
        json.loads((home / "training" / "results" / "tiny.json").read_text(encoding="utf-8"))
        for home in (released, tmp_path)
    )
    # Revision and date may differ between the two.
    assert one["run"].pop("seed") == other["run"].pop("seed")
    assert one["run"].pop("split") == other["run"].pop("split")
    del one["run"], other["run"]
    assert one == other
    files = ("network.tflite", "weights.npz", "calibration.json", "curves.json")
    for name in (*files, "refit/weights.npz", "refit/curves.json"):
        assert (released / "run" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_a_run_is_not_evaluated_before_refit(synthetic_corpora: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe(steps=4)))
    options = ["--recipe", str(recipe), "--corpora", str(synthetic_corpora), "--jobs", "1"]
    options += ["--cache", str(tmp_path / "cache"), "--run", str(tmp_path / "run")]
    output = ""
    stages = (("train", 0), ("quantise", 0), ("evaluate", 2), ("refit", 0), ("quantise", 0))
    for stage, code in stages:
        command = [sys.executable, "-m", "training", stage, *options]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
        assert result.returncode == code, result.stderr
        output += result.stderr
    assert "serd-train refit" in output
    assert "Traceback" not in output
    calibrated = (tmp_path / "run" / "calibration.json").read_bytes()
    # Quantising again keeps the refitted network, trained on all four speakers.
    info = Classifier.load(tmp_path / "run" / "model.tflite").info
    assert info.corpora[0].speakers == 4
    assert info.temperature == json.loads(calibrated)["temperature"]


def test_a_run_folder_is_not_reused_for_another_recipe(
    released: Path, synthetic_corpora: Path
) -> None:
    command = [sys.executable, "-m", "training", "train", "--recipe", str(released / "tiny.yaml")]
    command += ["--corpora", str(synthetic_corpora), "--run", str(released / "run"), "--seed", "9"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 2
    assert "another recipe" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_key_in_a_recipe_is_reported(tmp_path: Path) -> None:
    recipe = tmp_path / "odd.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe()).replace(b"dropout:", b"dropuot:"))
    command = [sys.executable, "-m", "training", "train", "--recipe", str(recipe)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 78
    assert "dropuot" in result.stderr
    assert "network" in result.stderr
