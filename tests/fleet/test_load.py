"""A small run of the load test with simulated nodes, and the published results."""

from __future__ import annotations

import copy
import json
import resource
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.fleet import report
from benchmarks.fleet.__main__ import FIGURES, PAGE, nothing_lost
from benchmarks.fleet.processes import allow_files
from benchmarks.fleet.records import percentiles
from benchmarks.fleet.steady import Load, stored
from tests.broker import find_mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.fleet.postgres import Cluster


@pytest.fixture
def published() -> dict[str, Any]:
    """The result that the documentation shows."""
    found: dict[str, Any] = json.loads(FIGURES.read_text())
    return found


@pytest.mark.broker
@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")  # for its skip
def test_thirty_nodes_three_consumers_and_two_tails_lose_nothing(tmp_path: Path) -> None:
    find_mosquitto()
    log: list[str] = []
    found = stored(tmp_path / "load", Load(nodes=30, seconds=4.0, every_s=2.0, tell=log.append))
    assert found["sent"] == found["acknowledged"] > 20
    assert (found["refused"], found["reconnects"]) == (0, 0)
    assert found["observed"]["missing"] == found["stored"]["missing"] == 0
    assert found["stored"]["twice"] == found["stored"]["gaps"] == 0
    assert found["stored"]["rows"] == found["sent"]
    assert found["consumer_exit_codes"] == [0, 0, 0]
    assert "events-2 was killed" in log
    assert "events-2 was started again" in log
    for tail in found["tail"].values():
        assert tail["events"] == found["sent"]
        assert tail["told_missed"] == 0
    # Retained announcements of 30 nodes, too; and the latencies were measured.
    assert found["messages"] > 4 * found["sent"]
    assert 0 < found["observed"]["latency_ms"]["p50"] <= found["observed"]["latency_ms"]["p99"]
    assert found["broker"]["cpu_s"] > 0
    assert found["broker"]["peak_rss_mb"] > 1


def test_the_page_shows_the_published_figures(published: dict[str, Any]) -> None:
    assert f"{report.BEGIN}\n{report.markdown(published)}\n{report.END}" in PAGE.read_text()


def test_the_published_run_has_full_size_and_lost_nothing(published: dict[str, Any]) -> None:
    assert (published["stored"]["nodes"], published["stored"]["seconds"]) == (1000, 600)
    assert nothing_lost(published)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda result: result["stored"]["observed"].update(missing=1),
        lambda result: result["stored"]["stored"].update(missing=1),
        lambda result: result["stored"]["stored"].update(twice=1),
        lambda result: result["stored"].update(acknowledged=1),
        lambda result: result["stored"].update(consumer_exit_codes=[0, 1, 0]),
        lambda result: result["pace"]["observed"].update(missing=1),
        lambda result: result["flood"].update(missing=1),
    ],
)
def test_every_kind_of_loss_is_detected(
    published: dict[str, Any], spoil: Callable[[dict[str, Any]], None]
) -> None:
    spoiled = copy.deepcopy(published)
    spoil(spoiled)
    assert not nothing_lost(spoiled)


def test_percentiles() -> None:
    assert percentiles([float(number) for number in range(101)]) == {
        "p50": 50.0, "p99": 99.0, "max": 100.0
    }  # fmt: skip
    assert percentiles([]) == {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_too_low_a_file_limit_is_reported_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (256, 1024))
    with pytest.raises(SystemExit, match=r"needs 1200 open files.*allows 1024.*--nodes"):
        allow_files(1000)


def test_the_file_limit_is_raised_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (256, 20_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, limits: asked.append(limits))
    allow_files(50)
    allow_files(1000)
    assert asked == [(1200, 20_000)]


@pytest.mark.postgres
def test_the_folder_of_the_cluster_is_private(cluster: Cluster) -> None:
    """Nobody else can connect while it runs."""
    assert cluster.folder.stat().st_mode & 0o077 == 0
