"""The report: means before single runs, goals judged by the means, reproducible pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serd.errors import InputError
from training.crossval_summary import SCALARS, spread, spread_tree
from training.report import Sources, card, load_sources, write_card
from training.report.goals import verdicts
from training.report.readme import quote

RESULTS = Path(__file__).parents[2] / "training" / "results"
HEARD = [0, 5, 20, 50]


def of_runs(*values: float) -> dict[str, Any]:
    """The spread of a figure over folds, with one seed."""
    return spread((fold, 1, value) for fold, value in enumerate(values, start=1))


def corpus_summary(uar: float) -> dict[str, Any]:
    """A corpus in the summary of two folds."""
    return {
        "place": "test",
        "classes": ["happy", "sad"],
        "figures": {key: of_runs(uar - 0.02, uar + 0.02) for key in SCALARS},
        "recall": {"happy": of_runs(uar, uar), "sad": of_runs(uar, uar)},
        "speakers": {
            "count": 3,
            "mean": 0.5,
            "sd": 0.1,
            "lowest": 0.4,
            "highest": 0.6,
            "accuracy": {"1": 0.4, "2": 0.5, "3": 0.6},
        },
        "float32": {key: of_runs(uar, uar + 0.02) for key in ("accuracy", "uar")},
        "int8_less_float32": {key: of_runs(-0.004, 0.0) for key in ("accuracy", "uar")},
        "labels": ["happy", "sad"],
        "confusion": [[3, 1], [0, 4]],
        "reliability": {"clips": [0] * 8 + [4, 4], "right": [0] * 8 + [3, 4],
                        "confidence": [0.0] * 8 + [3.4, 3.8]},
        "ece_pooled": {"mean": 0.0755, "folds_sd": None, "seeds_sd": 0.01, "by_chance": 0.02},
        "ece_by_chance": 0.03,
        "risk_coverage": [place / 100 for place in range(1, 51)],
    }  # fmt: skip


def probe_results() -> dict[str, Any]:
    counted = {"seconds": 360.0, "events_per_hour": 30.0}
    curve = {"uar": [0.5, 0.51, 0.52, 0.53], "gain_20": 0.021}
    names = ("clean", "noise-20db", "noise-10db", "noise-5db", "room-0.6s", "telephone")
    return {
        "robustness": {
            "about": {name: f"words on {name}" for name in names},
            "corpora": {
                "ravdess": {"conditions": {name: {"accuracy": 0.6, "uar": 0.61} for name in names}}
            },
        },
        "environment": {
            "engines": {
                "webrtc": {
                    "held_out": {"sounds": counted, "human": counted},
                    "all": {"sounds": counted},
                    "silence": {"digital": counted},
                }
            }
        },
        "adaptation": {
            "heard": HEARD,
            "methods": {"features": {"test": {"speaker": {"ravdess": curve}}}},
        },
    }


def household() -> dict[str, Any]:
    """The household part of the summary."""

    def point(rate: float) -> dict[str, Any]:
        shares = {"right": of_runs(0.4, 0.5), "wrong": of_runs(0.1, 0.1)}
        emodb = {"right": of_runs(0.36, 0.38), "wrong": of_runs(0.1, 0.1)}
        return {
            "per_hour": of_runs(rate, rate + 2.0),
            "ordinary_share": of_runs(0.84, 0.86),
            "told": {"crema_d": shares, "emodb": emodb},
            "told_in_a_row": {"crema_d": [of_runs(0.4, 0.4), of_runs(0.6, 0.6)]},
            "pooled": {"per_hour": rate, "events": 6, "hours": 1.0},
            "groups": {
                "household": {"recordings": 3, "utterances": 9, "hours": 0.5, "events": 3.5,
                              "per_hour": 7.0}
            },
        }  # fmt: skip

    points = {"low": point(2.0), "normal": point(6.0), "high": point(15.0)}
    return {"points": points, "curve": {"2": point(2.0), "10": point(11.0)}}


@pytest.fixture
def release_only() -> Sources:
    """The figures of the shipped model only."""
    return Sources(release=load_sources(RESULTS / "default.json").release)


@pytest.fixture
def sources(release_only: Sources) -> Sources:
    """The same with two folds, probes and baselines."""
    recipe = {k: v for k, v in release_only.release["recipe"].items() if k not in {"fold", "seed"}}
    folds = {
        "recipe": recipe,
        "folds": [1, 2],
        "seeds": [1],
        "planned": 3,
        "done": 2,
        "probed": 2,
        "inference_ms": of_runs(0.3, 0.5),
        "corpora": {"ravdess": corpus_summary(0.7), "crema_d": corpus_summary(0.66),
                    "emodb": corpus_summary(0.5)},
        "probes": spread_tree([(1, 1, probe_results()), (2, 1, probe_results())]),
        "household": household(),
        "runs": [
            {"fold": fold, "seed": 1, "figures": {
                name: {"uar": 0.6} for name in ("ravdess", "crema_d", "emodb")
            }}
            for fold in (1, 2)
        ],
    }  # fmt: skip
    results = [
        {"task": {"system": "serd", "protocol": "random"}, "accuracy": value}
        for value in (0.86, 0.88)
    ]
    return msgspec.structs.replace(
        release_only,
        folds=folds,
        baselines={"results": results},
        tried={"crema-uar": "Longer training."},
    )


def test_means_over_folds_precede_the_figures_of_the_shipped_file(
    sources: Sources, release_only: Sources
) -> None:
    figure = sources.figure("ravdess", "uar")
    assert figure is not None
    assert figure.value == pytest.approx(0.7)
    assert figure.folds_sd == pytest.approx(0.02 * 2**0.5)
    text = card(sources)
    assert "**0.700 ± 0.028**" in text
    assert "not used in training: 2 folds, 1 seed, 2 runs." in text
    assert f"| {release_only.release['test']['ravdess']['uar']:.4f} |" in text
    assert " 1 of the planned runs is not finished yet." in " ".join(text.split())
    assert "| RAVDESS | 3 | 8 | **70.0%** ± 2.8 |" in quote(sources)


def test_goals_are_judged_by_the_mean(sources: Sources) -> None:
    release = sources.release | {"model": sources.release["model"] | {"bytes": 290_000}}
    sources = msgspec.structs.replace(sources, release=release)
    words = {one.goal.key: one.words for one in verdicts(sources)}
    assert words["ravdess-uar"] == "minimum met; aim missed by 4.0"
    assert words["crema-uar"] == "minimum missed by 2.0"
    assert words["emodb-uar"] == "minimum missed by 10.0"
    assert words["int8"] == "aim met"
    assert words["size"] == "aim met"
    assert words["inference"] == "aim met"
    assert words["ordinary-events"] == "minimum met; aim missed by 4.0"
    assert words["crema-told"] == "minimum missed by 5.0"
    assert words["emodb-told"] == "aim met"
    assert words["ordinary-neutral"] == "minimum met; aim missed by 5.0"
    assert words["household-events"] == "minimum missed by 2.0"
    assert words["random-split"] == "minimum met; aim missed by 3.0"
    text = card(sources)
    assert "| 66.0 ± 2.8 % | minimum missed by 2.0 |" in text
    assert "minimum missed by 2.0: Longer training." in text
    assert "minimum missed by 10.0: nothing is written down yet." in text


def test_goals_of_a_corpus_apply_only_to_models_tested_on_it(sources: Sources) -> None:
    test = {"crema_d": sources.release["test"]["crema_d"]}
    without = msgspec.structs.replace(sources, release=sources.release | {"test": test})
    keys = {one.goal.key for one in verdicts(without)}
    assert {"crema-uar", "emodb-uar", "size", "ordinary-events"} <= keys
    assert not {"ravdess-uar", "nemo-uar", "random-split"} & keys


def test_missing_measurements_are_reported_as_not_measured(release_only: Sources) -> None:
    text = card(release_only)
    for command in ("folds", "probe", "baselines"):
        assert f"Not measured yet (`serd-train {command}`)." in text
    assert "1 fold, 1 seed" in text
    words = {one.goal.key: one.words for one in verdicts(release_only)}
    assert words["ordinary-events"] == words["random-split"] == "not measured yet"
    assert words["ravdess-uar"] != "not measured yet"


def test_the_card_has_a_table_for_each_probe(sources: Sources) -> None:
    text = card(sources)
    assert "| words on noise-10db | 0.600 ± 0.000 | 0.610 ± 0.000 |" in text
    assert "| everyday sounds that training never heard | webrtc | 6 | 30.0 ± 0.0 |" in text
    assert "| one speaker | RAVDESS | 0.500 | 0.510 | 0.520 | 0.530 | +2.1 |" in text
    assert "UAR after 50" in text


def test_probes_of_the_shipped_file_are_shown_without_folds(release_only: Sources) -> None:
    text = card(msgspec.structs.replace(release_only, probes=probe_results()))
    assert "| words on noise-10db | 0.600 | 0.610 |" in text
    words = "those of the shipped file, with clips and sounds that it was not trained on."
    assert words in " ".join(text.split())


def test_the_card_says_which_events_sounds_without_speech_caused(release_only: Sources) -> None:
    def words(kinds: dict[str, Any]) -> str:
        results = probe_results()
        engine = results["environment"]["engines"]["webrtc"]
        engine["all"]["kinds"] = {"rain": {"emotions": kinds}}
        engine["segmenter"] = {"unconfirmed": 3}
        text = card(msgspec.structs.replace(release_only, probes=results))
        assert "| all everyday sounds | webrtc, confirmed by silero | 6 | 30.0 |" in text
        return " ".join(text.split())

    neutral = "All of these events were `neutral`; no emotion was reported."
    assert neutral in words({"neutral": 2})
    assert "Among these events were `angry` and `neutral`." in words({"neutral": 2, "angry": 1})
    assert "These events were `angry`." in words({"angry": 1})
    assert "of these events were" not in words({})


def test_clips_of_all_seeds_are_shown_as_clips(sources: Sources) -> None:
    before = sources.folds
    assert before is not None
    clips = sources.release["test"]["crema_d"]["clips"]

    def words(seeds: list[int]) -> str:
        changed = msgspec.structs.replace(sources, folds={**before, "seeds": seeds})
        return " ".join(card(changed).split())

    assert f"CREMA-D 75 speakers, {clips} clips;" in words([1])
    both = words([1, 2])
    assert f"CREMA-D 75 speakers, {clips // 2} clips;" in both
    assert "is tested once per seed" in both
    assert "counted once per fold and seed" in both
    # What cannot be divided is not made to look exact.
    assert f"{clips} clips, those of all 5 seeds together" in words([1, 2, 3, 4, 5])


@pytest.mark.slow
def test_the_same_figures_give_identical_files(sources: Sources, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = (write_card(sources, tmp_path / name / "card.md") for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    drawn = sorted((tmp_path / "a" / "figures" / "model").iterdir())
    assert {file.stem for file in drawn} == {
        "operating", "folds", "speakers", "confusion", "reliability", "risk-coverage", "noise",
        "adaptation",
    }  # fmt: skip
    assert len(drawn) == 16
    for file in drawn:
        assert file.read_bytes() == (second.parent / "figures" / "model" / file.name).read_bytes()
        assert f"figures/model/{file.stem}.png" in first.read_text(encoding="utf-8")


def test_sources_are_read_from_their_files(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "default.json").write_text(json.dumps(sources.release))
    (tmp_path / "default-folds.json").write_text(json.dumps(sources.folds))
    probed = {"model": {"network_sha256": sources.release["model"]["network_sha256"]}}
    (tmp_path / "default-probes.json").write_text(json.dumps(probe_results() | probed))
    (tmp_path / "default-tried.yaml").write_text("crema-uar: Longer training.\n")
    loaded = load_sources(tmp_path / "default.json")
    assert loaded.folds == sources.folds
    assert loaded.tried == sources.tried
    assert loaded.probes == probe_results() | probed
    # Those of an earlier network say nothing about this one.
    earlier = {"model": {"network_sha256": "0" * 64}}
    (tmp_path / "default-probes.json").write_text(json.dumps(probe_results() | earlier))
    assert load_sources(tmp_path / "default.json").probes is None
    (tmp_path / "default-tried.yaml").write_text("- a list\n")
    with pytest.raises(InputError, match="default-tried"):
        load_sources(tmp_path / "default.json")
    with pytest.raises(InputError, match="No figures"):
        load_sources(tmp_path / "nothing.json")
