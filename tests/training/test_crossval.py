"""Cross-validation: folds and seeds are ordinary runs on any machine, averaged in a summary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from serd.errors import UsageError
from tests.training.recipes import tiny_recipe
from training.cli.main import main
from training.crossval import Task, folder_of, plan, run_all
from training.crossval_summary import SCALARS, spread, spread_tree, summarise, write_summary
from training.run import Run

if TYPE_CHECKING:
    from training.crossval import Outcome

REPOSITORY = Path(__file__).parents[2]


def test_all_folds_of_a_seed_are_planned_before_the_next_seed(tmp_path: Path) -> None:
    planned = plan(tiny_recipe(), folds=[1, 2], seeds=[7, 8], home=tmp_path)
    assert [(one.seed, one.fold) for one in planned] == [(7, 1), (7, 2), (8, 1), (8, 2)]
    assert [folder_of(tmp_path, one).name for one in planned[:2]] == ["fold1-seed7", "fold2-seed7"]


def test_unknown_folds_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folds 1 to 5, not 6"):
        plan(tiny_recipe(), folds=[1, 6], seeds=[1], home=tmp_path)


def test_runs_of_another_recipe_are_not_resumed(tmp_path: Path) -> None:
    (first,) = plan(tiny_recipe(steps=9), folds=[2], seeds=[1], home=tmp_path)
    Run(folder_of(tmp_path, first), first)
    with pytest.raises(UsageError, match="another recipe"):
        plan(tiny_recipe(steps=8), folds=[1, 2], seeds=[1], home=tmp_path)


def test_a_task_is_done_once_it_is_measured_and_probed(tmp_path: Path) -> None:
    (recipe,) = plan(tiny_recipe(), folds=[1], seeds=[1], home=tmp_path)
    task = Task(
        recipe=recipe,
        folder=str(tmp_path),
        root="",
        cache="",
        probes=("robustness", "environment"),
    )
    assert [task.trained, task.done] == [False, False]
    (tmp_path / "metrics.json").write_text("{}")
    assert [task.trained, task.done] == [True, False]
    (tmp_path / "probes.json").write_text('{"environment": {}}')
    assert task.unprobed == ("robustness",)
    (tmp_path / "probes.json").write_text('{"environment": {}, "robustness": {}}')
    assert task.done


@pytest.mark.parametrize("wrong", ["one", "1-", "3-1", ""])
def test_invalid_fold_numbers_are_rejected(wrong: str) -> None:
    result = CliRunner().invoke(main, ["folds", "--recipe", "no such", "--folds", wrong])
    assert result.exit_code == 2
    assert "--folds" in result.output


def test_folds_count_equally_however_many_seeds_they_have() -> None:
    result = spread([(1, 1, 0.4), (1, 2, 0.6), (2, 1, 0.9), (3, 1, None)])
    assert result["folds"] == {"1": 0.5, "2": 0.9}
    assert result["mean"] == pytest.approx(0.7)
    assert result["folds_sd"] == pytest.approx(np.std([0.5, 0.9], ddof=1))
    assert result["seeds"] == {"1": pytest.approx(0.65)}  # seed 2 lacks a fold
    assert result["seeds_sd"] is None
    assert (result["lowest"], result["highest"]) == (0.4, 0.9)
    assert spread([(1, 1, None)]) == {}


def test_nested_tables_are_averaged_value_by_value() -> None:
    trees = [(1, 1, {"a": {"b": 1.0, "c": "words", "d": [1]}}), (2, 1, {"a": {"b": 3.0}})]
    result = spread_tree(trees)
    assert result["a"]["b"]["mean"] == 2.0
    assert result["a"]["c"] == "words"
    assert "d" not in result["a"]


def fake_metrics(recipe: Any, uar: float, speakers: dict[str, float]) -> dict[str, Any]:
    """The parts of a run's ``metrics.json`` that the summary reads."""
    figures = dict.fromkeys(SCALARS, 0.5) | {
        "uar": uar,
        "clips": 4,
        "classes": ["happy", "sad"],
        "recall": {"happy": uar, "sad": uar},
        "speaker_accuracy": speakers,
        "labels": ["happy", "sad"] if uar > 0.5 else ["calm", "happy", "sad"],
        "confusion": [[1, 1], [0, 2]] if uar > 0.5 else [[0, 0, 0], [1, 1, 0], [0, 0, 2]],
        "reliability": {"clips": [2, 2], "right": [1, 2], "confidence": [0.5, 1.5]},
        "risk_coverage": [0.0, uar],
    }
    return {
        "model": {"bytes": 1000},
        "recipe": msgspec.to_builtins(recipe),
        "run": {"date": "2026-01-01", "git": "abc", "git_clean": True},
        "teaching": None,
        "calibration": {"temperature": 1.0, "abstain_threshold": uar},
        "test": {"ravdess": figures},
        "cross_corpus": {},
        "float32": {"ravdess": {"clips": 4, "accuracy": 0.5, "uar": uar + 0.01}},
    }


def test_the_summary_aggregates_the_finished_runs(tmp_path: Path) -> None:
    planned = plan(tiny_recipe(), folds=[1, 2, 3], seeds=[1], home=tmp_path)
    for recipe, uar, speakers in (
        (planned[0], 0.4, {"02": 0.2, "05": 0.4}),
        (planned[1], 0.6, {"03": 0.9}),
    ):
        folder = folder_of(tmp_path, recipe)
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps(fake_metrics(recipe, uar, speakers)))
        (folder / "probes.json").write_text(json.dumps({"room": {"accuracy": uar}}))
    (folder / "times.json").write_text(json.dumps({"seconds": {"train": 3.0}, "inference_ms": 0.5}))
    summary = summarise(planned, tmp_path)
    assert (summary["planned"], summary["done"], summary["probed"]) == (3, 2, 2)
    of_corpus = summary["corpora"]["ravdess"]
    assert of_corpus["figures"]["uar"]["mean"] == 0.5
    assert of_corpus["int8_less_float32"]["uar"]["mean"] == -0.01
    assert of_corpus["speakers"]["count"] == 3
    assert of_corpus["speakers"]["mean"] == 0.5
    assert of_corpus["labels"] == ["calm", "happy", "sad"]
    assert of_corpus["confusion"] == [[0, 0, 0], [1, 2, 1], [0, 0, 4]]
    assert of_corpus["reliability"] == {"clips": [4, 4], "right": [2, 4], "confidence": [1.0, 3.0]}
    assert of_corpus["ece_pooled"]["mean"] == pytest.approx((1 + 1) / 8)
    # Two bins of four clips each, with confidences of 1/4 and 3/4, which have the same variance.
    assert of_corpus["ece_pooled"]["by_chance"] == pytest.approx(
        2 * np.sqrt(2 * 4 * 3 / 16 / np.pi) / 8, abs=1e-5
    )
    assert of_corpus["ece_by_chance"] > of_corpus["ece_pooled"]["by_chance"]
    assert of_corpus["risk_coverage"] == [0.0, 0.5]
    assert summary["probes"]["room"]["accuracy"]["mean"] == 0.5
    assert summary["inference_ms"]["mean"] == 0.5
    assert summary["recipe"]["features"]["amin"] == tiny_recipe().features.amin
    assert not {"fold", "seed"} & set(summary["recipe"])

    write_summary(summary, tmp_path / "deep" / "summary.json")
    text = (tmp_path / "deep" / "summary.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(summary))
    assert "[ 1, 2, 1 ]" in text


def figures_of(folder: Path) -> dict[str, Any]:
    """``metrics.json`` without revision and date, which may have changed meanwhile."""
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    del metrics["run"]["git"], metrics["run"]["git_clean"], metrics["run"]["date"]
    return metrics


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


def cross_validate(
    home: Path, corpora: Path, runs: str, *more: str
) -> subprocess.CompletedProcess[str]:
    recipe = home / "tiny.yaml"
    recipe.write_bytes(msgspec.yaml.encode(tiny_recipe(steps=20)))
    command = [sys.executable, "-m", "training", "folds", "--recipe", str(recipe)]
    command += ["--corpora", str(corpora), "--cache", str(home / "cache")]
    command += ["--runs", str(home / runs), "--into", str(home / f"{runs}-into")]
    command += ["--folds", "1-2", "--seeds", "1", *more]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=280
    )


@pytest.fixture(scope="module")
def local(home: Path, synthetic_corpora: Path) -> Path:
    """A cross-validation of two folds on this machine."""
    pytest.importorskip("tensorflow")
    result = cross_validate(home, synthetic_corpora, "local")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "2 of 2 done" in result.stderr
    return home / "local"


@pytest.mark.slow
def test_every_fold_is_an_ordinary_run(local: Path) -> None:
    text = (local.parent / "local-into/training/results/tiny-folds.json").read_text()
    summary = json.loads(text)
    assert summary["done"] == 2
    for run in summary["runs"]:
        folder = local / f"fold{run['fold']}-seed1"
        one = figures_of(folder)["test"]["ravdess"]
        kept = run["figures"]["ravdess"]
        assert kept["uar"] == pytest.approx(one["uar"], abs=1e-5)
        assert kept["confusion"] == one["confusion"]
        assert run["seconds"]["train"] > 0
        assert run["inference_ms"] > 0
        assert "quantise" in (folder / "log.txt").read_text()
        assert (folder / "model.tflite").is_file()
    tested = [set(run["figures"]["ravdess"]["speaker_accuracy"]) for run in summary["runs"]]
    assert tested == [{"02", "05"}, {"03", "06"}]


@pytest.mark.slow
def test_a_cluster_gives_the_same_figures(local: Path, synthetic_corpora: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        result = cross_validate(
            local.parent, synthetic_corpora, "cluster", "--cluster", cluster.scheduler_address
        )
    assert result.returncode == 0, result.stderr
    for fold in (1, 2):
        local_run = local / f"fold{fold}-seed1"
        cluster_run = local.parent / "cluster" / f"fold{fold}-seed1"
        assert figures_of(cluster_run) == figures_of(local_run)
        first, second = ((run / "network.tflite").read_bytes() for run in (local_run, cluster_run))
        assert first == second


@pytest.mark.slow
def test_finished_folds_are_not_repeated_and_a_failed_fold_can_be_retried(
    local: Path, synthetic_corpora: Path
) -> None:
    kept = local / "fold1-seed1" / "metrics.json"
    before = kept.stat().st_mtime_ns
    broken = local / "fold2-seed1"
    (broken / "metrics.json").unlink()
    weights = (broken / "weights.npz").read_bytes()
    (broken / "weights.npz").write_bytes(b"spoilt")
    result = cross_validate(local.parent, synthetic_corpora, "local")
    assert result.returncode == 70
    assert "1 of 1 runs failed: fold2-seed1" in result.stderr
    assert "weights.npz is damaged" in result.stderr
    assert "Traceback" not in (broken / "log.txt").read_text()
    # Something that nobody has thought of: the log has where it happened.
    np.savez(broken / "weights.npz", np.zeros(3))
    result = cross_validate(local.parent, synthetic_corpora, "local")
    assert result.returncode == 70
    assert "Traceback" not in result.stderr
    assert "Traceback" in (broken / "log.txt").read_text()
    (broken / "weights.npz").write_bytes(weights)
    result = cross_validate(local.parent, synthetic_corpora, "local")
    assert result.returncode == 0, result.stderr
    assert (broken / "metrics.json").is_file()
    assert kept.stat().st_mtime_ns == before


@pytest.mark.slow
def test_an_unreachable_cluster_is_reported_with_its_address() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:1"):
        run_all([], cluster="tcp://127.0.0.1:1", finished=lambda _: None)


def test_a_run_that_cannot_start_reports_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    (recipe,) = plan(tiny_recipe(), folds=[1], seeds=[1], home=tmp_path)
    task = Task(
        recipe=recipe,
        folder=str(tmp_path / "run"),
        root=str(tmp_path / "nowhere"),
        cache=str(tmp_path / "cache"),
    )
    outcomes: list[Outcome] = []
    run_all([task], jobs=1, finished=outcomes.append)
    assert "nowhere" in (outcomes[0].error or "")
