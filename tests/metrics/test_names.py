"""Names of the metrics, also in the examples."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from serd.histogram import Histogram
from serd.metrics import METRICS

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples" / "prometheus"


def test_names_follow_the_conventions() -> None:
    """https://prometheus.io/docs/practices/naming/"""
    for metric in METRICS:
        assert re.fullmatch(r"serd(_[a-z0-9]+)+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert metric.help.endswith(".")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_examples_use_metrics_that_exist() -> None:
    names = {metric.name for metric in METRICS} | {
        f"{metric.name}_{part}"
        for metric in METRICS
        if metric.kind == "histogram"
        for part in ("bucket", "sum", "count")
    }
    rules = yaml.safe_load((EXAMPLES / "serd-alerts.yml").read_text())
    used = {
        name
        for group in rules["groups"]
        for rule in group["rules"]
        for name in re.findall(r"\bserd_\w+", rule["expr"])
    }
    assert len(used) >= 6
    assert used <= names


@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "serd-alerts.yml"],
        ["test", "rules", "serd-alerts.test.yml"],
    ],
)
def test_promtool_accepts_the_examples(command: list[str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run(
        [promtool, *command], cwd=EXAMPLES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_histogram_bounds_are_inclusive() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        histogram.observe(value)
    counts = histogram.counts()
    assert counts.bounds == (1.0, 2.0)
    assert counts.cumulative == (2, 3, 4)
    assert counts.total == 10.0
