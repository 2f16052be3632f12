"""``serd-train evaluate --model``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.training.synthetic import write_ravdess
from tests.training.test_corpora import touch
from training.cli.main import evaluate_model
from training.recipe import load_recipe

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_fold_without_test_speakers_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ravdess(tmp_path / "ravdess", actors=range(1, 25))
    recipe = msgspec.structs.replace(load_recipe("ravdess-alone"), cross_corpora=())
    assert evaluate_model("default", msgspec.structs.replace(recipe, fold=0), tmp_path) == {}
    assert "ravdess: fold 0 of ravdess-alone holds no speaker out" in capsys.readouterr().err


def test_a_model_is_not_measured_on_speakers_that_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ravdess(tmp_path / "ravdess", actors=range(1, 25))
    recipe = msgspec.structs.replace(load_recipe("ravdess-alone"), cross_corpora=())
    # Of the shipped models, the default one is trained on all 24 actors, the other on none.
    assert evaluate_model("default", recipe, tmp_path) == {}
    assert "ravdess: default was trained on 24 of its speakers" in capsys.readouterr().err
    assert evaluate_model("permissive", recipe, tmp_path)["ravdess"]["clips"] > 0
    # The permissive recipe only tests on RAVDESS.
    touch(tmp_path / "crema_d", "1001_DFA_ANG_XX.wav")
    other = load_recipe("permissive")
    foreign = msgspec.structs.replace(
        other, corpora={"crema_d": other.corpora["crema_d"]}, cross_corpora=("ravdess",)
    )
    assert evaluate_model("default", foreign, tmp_path) == {}
    assert "ravdess: default was trained on 24 of its speakers, some" in capsys.readouterr().err
    assert evaluate_model("permissive", foreign, tmp_path)["ravdess"]["clips"] > 0
    assert "trained" not in capsys.readouterr().err


def test_speakers_that_a_model_may_not_know_are_measured_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Two actors: the file does not say whether they are among the 24 that it was trained on.
    write_ravdess(tmp_path / "ravdess", actors=(1, 2))
    touch(tmp_path / "crema_d", "1001_DFA_ANG_XX.wav")
    other = load_recipe("permissive")
    recipe = msgspec.structs.replace(
        other, corpora={"crema_d": other.corpora["crema_d"]}, cross_corpora=("ravdess",)
    )
    assert evaluate_model("default", recipe, tmp_path)["ravdess"]["clips"] > 0
    warning = "ravdess: default was trained on 24 of its speakers; make sure that these are others"
    assert warning in capsys.readouterr().err
