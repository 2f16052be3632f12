"""From raw audio to a packed model that serd loads, on a corpus made by the test."""

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
    """What ``serd-train release`` puts into a repository."""
    home = tmp_path_factory.mktemp("release")
    release(home, synthetic_corpora, cache=home / "cache")
    return home


def release(home: Path, corpora: Path, *, cache: Path) -> None:
    """All of it, by the command, into an empty folder."""
    recipe = home / "tiny.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe(steps=80)))
    command = [sys.executable, "-m", "training", "release", "--recipe", str(recipe)]
    command += ["--corpora", str(corpora), "--cache", str(cache)]
    command += ["--run", str(home / "run"), "--into", str(home), "--jobs", "1"]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert [Path(line).name for line in done.stdout.splitlines()] == [
        "tiny.tflite",
        "tiny.json",
        "model-card-tiny.md",
    ]


def test_the_model_loads_and_recognises_voices_it_never_heard(released: Path) -> None:
    classifier = Classifier.load(released / "serd" / "model" / "data" / "tiny.tflite")
    assert classifier.info.corpora[0].name == "RAVDESS (speech)"
    # The validation speaker too: the refit stage heard everybody but the test speakers.
    assert classifier.info.corpora[0].speakers == 4
    assert classifier.info.evaluation["ravdess"]["speakers"] == 2
    angry = classifier.classify(voice("05", 20, 1), RATE)
    assert max(angry.scores, key=lambda name: angry.scores[name]) == "angry"
    assert sum(angry.scores.values()) == pytest.approx(1.0)


def test_the_figures_are_better_than_chance_and_agree_with_each_other(released: Path) -> None:
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


def test_the_card_is_made_of_the_figures(released: Path) -> None:
    text = (released / "docs" / "model-card-tiny.md").read_text(encoding="utf-8")
    sources = load_sources(released / "training" / "results" / "tiny.json")
    assert text == card(sources)
    assert f"| {sources.release['test']['ravdess']['uar']:.4f} |" in text
    assert "Apache-2.0" in text
    # The goals are those of the models that come with serd.
    assert "## Goals" not in text
    assert "Not measured yet (`serd-train folds`)." in text
    drawn = released / "docs" / "figures" / "model-tiny"
    assert sorted(file.name for file in drawn.glob("*.png")) == [
        "confusion.png",
        "reliability.png",
        "risk-coverage.png",
    ]


@pytest.mark.slow
def test_twice_the_same_seed_gives_the_same_model_and_figures(
    released: Path, synthetic_corpora: Path, tmp_path: Path
) -> None:
    release(tmp_path, synthetic_corpora, cache=tmp_path / "cache")
    one, other = (
        json.loads((home / "training" / "results" / "tiny.json").read_text(encoding="utf-8"))
        for home in (released, tmp_path)
    )
    # The revision and the day may have changed between the two.
    assert one["run"].pop("seed") == other["run"].pop("seed")
    assert one["run"].pop("split") == other["run"].pop("split")
    del one["run"], other["run"]
    assert one == other
    files = ("network.tflite", "weights.npz", "calibration.json", "curves.json")
    for name in (*files, "refit/weights.npz", "refit/curves.json"):
        assert (released / "run" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_a_run_without_its_last_stretch_is_not_measured(
    synthetic_corpora: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe(steps=4)))
    options = ["--recipe", str(recipe), "--corpora", str(synthetic_corpora), "--jobs", "1"]
    options += ["--cache", str(tmp_path / "cache"), "--run", str(tmp_path / "run")]
    said = ""
    stages = (("train", 0), ("quantise", 0), ("evaluate", 2), ("refit", 0), ("quantise", 0))
    for stage, code in stages:
        command = [sys.executable, "-m", "training", stage, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
        assert done.returncode == code, done.stderr
        said += done.stderr
    assert "serd-train refit" in said
    assert "Traceback" not in said
    calibrated = (tmp_path / "run" / "calibration.json").read_bytes()
    # Quantised again, it is still the refitted network, which heard all four.
    info = Classifier.load(tmp_path / "run" / "model.tflite").info
    assert info.corpora[0].speakers == 4
    assert info.temperature == json.loads(calibrated)["temperature"]


def test_a_run_is_not_mistaken_for_another(released: Path, synthetic_corpora: Path) -> None:
    command = [sys.executable, "-m", "training", "train", "--recipe", str(released / "tiny.yaml")]
    command += ["--corpora", str(synthetic_corpora), "--run", str(released / "run"), "--seed", "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "another recipe" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_recipe_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "odd.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe()).replace(b"dropout:", b"dropuot:"))
    command = [sys.executable, "-m", "training", "train", "--recipe", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 78
    assert "dropuot" in done.stderr
    assert "network" in done.stderr
