"""Comparing two results of the benchmark suite."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import pairs, text, within
from benchmarks.goals import Value

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "figures" / "benchmark.json"


@pytest.fixture
def result() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    return found


def test_a_result_agrees_with_itself(result: dict[str, Any]) -> None:
    found = pairs(result, result)
    assert len(found) > 30
    assert all(pair.inside for pair in found)
    assert f"{len(found)} of {len(found)} rows" in text(found)


def test_only_rows_that_moved_are_outside(result: dict[str, Any]) -> None:
    moved = copy.deepcopy(result)
    for one in moved["rounds"]:
        one["serd_rss_mb"] *= 2
    outside = {pair.first.what for pair in pairs(result, moved) if not pair.inside}
    assert outside == {"peak RSS after an hour of speech", "serd's RSS is below Keras's by"}
    assert "OUTSIDE" in text(pairs(result, moved))


def test_rows_missing_from_one_result_are_left_out(result: dict[str, Any]) -> None:
    older = copy.deepcopy(result)
    older["size_mb"] = None
    assert len(pairs(result, older)) == len(pairs(older, result)) == len(pairs(result, result)) - 1


@pytest.mark.parametrize(
    ("figure", "inside"), [(9.0, False), (10.0, True), (12.0, True), (13.05, True), (14.0, False)]
)
def test_which_figures_lie_within_a_spread(figure: float, inside: bool) -> None:
    assert within(figure, Value(median=11.0, low=10.0, high=13.0)) is inside


def test_the_exit_code_of_the_command_gives_the_outcome(
    result: dict[str, Any], tmp_path: Path
) -> None:
    for one in result["rounds"]:
        one["serd_ready_s"] *= 10
    other = tmp_path / "other.json"
    other.write_text(json.dumps(result), encoding="utf-8")
    codes = [
        subprocess.run(
            [sys.executable, "-m", "benchmarks", "compare", REFERENCE, second],
            cwd=ROOT, capture_output=True, check=False,
        ).returncode
        for second in (REFERENCE, other)
    ]  # fmt: skip
    assert codes == [0, 1]
