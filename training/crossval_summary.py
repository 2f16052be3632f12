"""What the runs of a cross-validation say together: means, and how far apart they are.

Three spreads, which answer three questions:

- ``folds_sd``: other people. Of the folds' figures, each the mean of its seeds.
- ``seeds_sd``: luck. Of the seeds' figures, each the mean of its folds; of those seeds only that
  every fold has been trained with.
- ``speakers``: one person or another. Of the accuracies of the test speakers, each the mean of the
  runs that were tested on them.

They are standard deviations of a sample (n - 1). A mean is always that of the folds' means, so that
a fold with more seeds than others counts no more than they do.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from training.crossval import folder_of
from training.evaluate import metrics
from training.files import read_json, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from training.recipe import Recipe

SCALARS = (
    "accuracy",
    "uar",
    "accuracy_own_classes",
    "uar_own_classes",
    "four_groups_accuracy",
    "four_groups_accuracy_at_coverage",
    "valence_sign_accuracy",
    "valence_sign_uar",
    "arousal_sign_accuracy",
    "arousal_sign_uar",
    "ece",
    "accuracy_at_coverage",
    "decided_share",
    "decided_accuracy",
    "speaker_accuracy_sd",
)
"""Figures of one corpus in one run that have a mean and spreads."""
_KEPT = (*SCALARS, "clips", "classes", "recall", "speaker_accuracy", "labels", "confusion")
_PLACES = ("test", "cross_corpus")
_DETAILS = ("kinds", "recall", "tried", "segmenter", "validation", "noise", "human_kinds")
"""Of the probes; they stay in the runs' folders."""


def summarise(
    planned: Sequence[Recipe], home: Path, settled: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Collect what the finished ones of some runs have measured.

    Args:
        planned: The recipe of each run.
        home: Folder of the runs.
        settled: What :func:`training.crossval.calibrate_all` gave, kept as it is.

    Returns:
        What is kept as ``training/results/NAME-folds.json``.
    """
    found = []
    for recipe in planned:
        folder = folder_of(home, recipe)
        if (folder / "metrics.json").is_file():
            found.append((_read(folder / "metrics.json"), _read(folder / "times.json")))
    first = planned[0]
    recipe = msgspec.to_builtins(first)
    del recipe["fold"], recipe["seed"]
    runs = [_one_run(result, times) for result, times in found]
    probed = [
        (recipe.fold, recipe.seed, _read(folder_of(home, recipe) / "probes.json"))
        for recipe in planned
    ]
    probed = [(fold, seed, tree) for fold, seed, tree in probed if tree]
    places = {name: place for result, _ in found for place in _PLACES for name in result[place]}
    summary = {
        "model": {"name": first.name, "version": first.version},
        "folds": sorted({one.fold for one in planned}),
        "seeds": sorted({one.seed for one in planned}),
        "planned": len(planned),
        "done": len(runs),
        "calibration": {
            key: spread((run["fold"], run["seed"], run["calibration"][key]) for run in runs)
            for key in ("temperature", "abstain_threshold")
        },
        "inference_ms": spread(
            (run["fold"], run["seed"], run["inference_ms"]) for run in runs if run["inference_ms"]
        ),
        "bytes": max((run["bytes"] for run in runs), default=None),
        "corpora": {
            name: _corpus(name, place, [result for result, _ in found])
            for name, place in places.items()
        },
        "household": _household([result for result, _ in found]),
        "probed": len(probed),
        "probes": spread_tree(probed) if probed else None,
        "runs": runs,
    }
    return {"recipe": recipe, **_rounded(summary | {"settled": settled or None})}


def spread(values: Iterable[tuple[int, int, float | None]]) -> dict[str, Any]:
    """Mean and spreads of one figure.

    Args:
        values: Fold, seed and figure of each run; None where a run has no such figure.

    Returns:
        ``mean``, ``folds_sd``, ``seeds_sd``, ``runs_sd``, ``lowest``, ``highest``, and the means
        of each fold (``folds``) and each complete seed (``seeds``); empty if there is no value.
    """
    known = [(fold, seed, value) for fold, seed, value in values if value is not None]
    if not known:
        return {}
    by_fold: dict[int, list[float]] = defaultdict(list)
    by_seed: dict[int, list[float]] = defaultdict(list)
    for fold, seed, value in known:
        by_fold[fold].append(value)
        by_seed[seed].append(value)
    folds = {str(fold): float(np.mean(some)) for fold, some in sorted(by_fold.items())}
    seeds = {
        str(seed): float(np.mean(some))
        for seed, some in sorted(by_seed.items())
        if len(some) == len(folds)
    }
    each = [value for _, _, value in known]
    return {
        "mean": float(np.mean(list(folds.values()))),
        "folds_sd": _sd(folds.values()),
        "seeds_sd": _sd(seeds.values()),
        "runs_sd": _sd(each),
        "lowest": min(each),
        "highest": max(each),
        "folds": folds,
        "seeds": seeds,
    }


def spread_tree(trees: Sequence[tuple[int, int, Any]]) -> Any:
    """:func:`spread` of every number of nested tables, without its lists of folds and seeds.

    Args:
        trees: Fold, seed and table of each run; what is not in the first one is left out.

    Returns:
        A table of the same shape. Text is kept as it is, of lists those of as many numbers in every
        run; what is neither, and what :data:`_DETAILS` names, is left out.
    """
    _, _, first = trees[0]
    if isinstance(first, dict):
        branches = {
            key: spread_tree([(fold, seed, tree.get(key)) for fold, seed, tree in trees if tree])
            for key in first
            if key not in _DETAILS
        }
        return {key: branch for key, branch in branches.items() if branch is not None}
    if isinstance(first, list):
        alike = all(isinstance(tree, list) and len(tree) == len(first) for _, _, tree in trees)
        if not alike or not all(isinstance(one, int | float) for one in first):
            return None
        return [
            spread_tree([(fold, seed, tree[place]) for fold, seed, tree in trees])
            for place in range(len(first))
        ]
    if isinstance(first, bool | str):
        return first
    if isinstance(first, int | float):
        found = spread(trees)
        del found["folds"], found["seeds"]
        return found
    return None


def _one_run(result: Mapping[str, Any], times: Mapping[str, Any]) -> dict[str, Any]:
    teaching = result["teaching"] or (result.get("pretraining") or {}).get("teaching")
    return {
        "fold": result["recipe"]["fold"],
        "seed": result["recipe"]["seed"],
        "date": result["run"]["date"],
        "git": result["run"]["git"],
        "git_clean": result["run"]["git_clean"],
        "bytes": result["model"]["bytes"],
        "calibration": result["calibration"],
        "teaching": {side: teaching.get(side) for side in ("training", "validation")}
        if teaching
        else None,
        "seconds": times.get("seconds", {}),
        "inference_ms": times.get("inference_ms"),
        "float32": result["float32"],
        "figures": {
            name: {key: one[key] for key in _KEPT if key in one}
            for place in _PLACES
            for name, one in result[place].items()
        },
    }


def _corpus(name: str, place: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All runs on one corpus."""
    runs = [
        (result["recipe"]["fold"], result["recipe"]["seed"], result[place][name])
        for result in results
        if name in result[place]
    ]
    each = [one for _, _, one in runs]
    summary: dict[str, Any] = {
        "place": place,
        "classes": each[0]["classes"],
        "figures": {
            key: spread((fold, seed, one.get(key)) for fold, seed, one in runs)
            for key in SCALARS
            if any(key in one for one in each)
        },
        "recall": {
            label: spread((fold, seed, one["recall"].get(label)) for fold, seed, one in runs)
            for label in each[0]["classes"]
        },
        "speakers": _speakers(each),
    }
    float32 = [
        (result["recipe"]["fold"], result["recipe"]["seed"], result["float32"][name])
        for result in results
        if name in result["float32"]
    ]
    if float32:
        ours = {(fold, seed): one for fold, seed, one in runs}
        summary["float32"] = {
            key: spread((fold, seed, one[key]) for fold, seed, one in float32)
            for key in ("accuracy", "uar")
        }
        summary["int8_less_float32"] = {
            key: spread(
                (fold, seed, ours[fold, seed][key] - one[key]) for fold, seed, one in float32
            )
            for key in ("accuracy", "uar")
        }
    labels = sorted({label for one in each for label in one["labels"]})
    summary["labels"] = labels
    summary["confusion"] = _add_confusions(each, labels)
    if all("reliability" in one for one in each):
        summary |= _confidence(runs)
    return summary


def _household(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the runs do in homes: spreads, and the events of all runs together by group."""
    runs = [result for result in results if "household" in result]
    if not runs:
        return None
    trees = [
        (result["recipe"]["fold"], result["recipe"]["seed"], result["household"]) for result in runs
    ]
    found: dict[str, Any] = spread_tree(trees)
    seeds = len({seed for _, seed, _ in trees})
    for name, point in found["points"].items():
        groups: dict[str, dict[str, float]] = {}
        emotions: Counter[str] = Counter()
        for _, _, tree in trees:
            emotions.update(tree["points"][name]["by_emotion"])
            for group, counts in tree["points"][name]["groups"].items():
                kept = groups.setdefault(group, dict.fromkeys(counts, 0))
                for key, value in counts.items():
                    kept[key] += value
        for counts in groups.values():
            counts["per_hour"] = counts["events"] / counts["hours"] if counts["hours"] else 0.0
        point["groups"] = dict(sorted(groups.items()))
        point["by_emotion"] = dict(emotions.most_common())
        events = sum(tree["points"][name]["events"] for _, _, tree in trees)
        length = sum(tree["points"][name]["hours"] for _, _, tree in trees)
        point["pooled"] = {
            "events": events / seeds,
            "hours": length / seeds,
            "per_hour": events / length if length else 0.0,
        }
    return found


def _confidence(runs: Sequence[tuple[int, int, Mapping[str, Any]]]) -> dict[str, Any]:
    """Reliability and risk of all runs together.

    ``ece_pooled`` puts the folds of a seed together, so that every test clip counts once, and is
    the spread of that over seeds. Of one fold's few clips chance alone makes an error
    (``ece_by_chance``), and a mean over folds keeps all of it.
    """
    tables: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for _, seed, one in runs:
        tables[seed].append(one["reliability"])
    pooled = {seed: _add_tables(some) for seed, some in sorted(tables.items())}
    errors = [metrics.error_of_reliability(table) for table in pooled.values()]
    return {
        "reliability": _add_tables([one["reliability"] for _, _, one in runs]),
        "ece_pooled": {
            "mean": float(np.mean(errors)),
            "folds_sd": None,
            "seeds_sd": _sd(errors),
            "by_chance": float(np.mean([metrics.error_by_chance(one) for one in pooled.values()])),
        },
        "ece_by_chance": float(
            np.mean([metrics.error_by_chance(one["reliability"]) for _, _, one in runs])
        ),
        "risk_coverage": np.mean([one["risk_coverage"] for _, _, one in runs], axis=0).tolist(),
    }


def _add_tables(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: np.sum([table[key] for table in tables], axis=0).tolist() for key in tables[0]}


def _speakers(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_speaker: dict[str, list[float]] = defaultdict(list)
    for one in each:
        for speaker, accuracy in one["speaker_accuracy"].items():
            by_speaker[speaker].append(accuracy)
    accuracy = {speaker: float(np.mean(some)) for speaker, some in sorted(by_speaker.items())}
    return {
        "count": len(accuracy),
        "mean": float(np.mean(list(accuracy.values()))),
        "sd": _sd(accuracy.values()),
        "lowest": min(accuracy.values()),
        "highest": max(accuracy.values()),
        "accuracy": accuracy,
    }


def _add_confusions(each: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[list[int]]:
    """Counts of all runs together, over all labels that any of them said."""
    total = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for one in each:
        places = [labels.index(label) for label in one["labels"]]
        total[np.ix_(places, places)] += np.array(one["confusion"])
    return [[int(count) for count in row] for row in total]


def _sd(values: Iterable[float]) -> float | None:
    some = list(values)
    return float(np.std(some, ddof=1)) if len(some) > 1 else None


def _rounded(value: Any) -> Any:
    """To five digits behind the point: a clip more or less is seen in the fourth."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    return dict(read_json(file))


def write_summary(summary: Mapping[str, Any], file: Path) -> None:
    """Write a summary as JSON, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(summary)).decode()
    # A line for each row of a table instead of one for each number.
    flat = re.sub(r"\[[\s\d.,eE+-]*\]", lambda row: re.sub(r"\s+", " ", row.group()), text)
    write_whole(file, lambda opened: opened.write(f"{flat}\n".encode()))
