"""The output of ``serd bench``; the measurements are tested in tests/benchmark."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from serd.benchmark.figures import Figures, Percentiles, describe
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serd.config import Config
    from tests.cli.conftest import Outcome


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Replace the benchmark run by fixed figures; returns what was to be measured."""
    some = Percentiles(p50=1.25, p95=2.5, p99=3.75)
    figures = Figures(
        features_ms=some,
        inference_ms=some,
        latency_ms=some,
        realtime_factor=321.0,
        startup_s=0.4,
        peak_rss_mb=61.5,
        machine=describe(),
    )
    measured: list[Config] = []

    def measure(config: Config, **_: object) -> Figures:
        measured.append(config)
        return figures

    monkeypatch.setattr("serd.benchmark.figures.measure", measure)
    return measured


def test_json_has_the_expected_fields(serd: Callable[..., Outcome]) -> None:
    done = serd("bench", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert list(found) == [
        "features_ms",
        "inference_ms",
        "latency_ms",
        "realtime_factor",
        "startup_s",
        "peak_rss_mb",
        "machine",
    ]
    for name in ("features_ms", "inference_ms", "latency_ms"):
        assert found[name] == {"p50": 1.25, "p95": 2.5, "p99": 3.75}


def test_text_output_explains_the_figures(serd: Callable[..., Outcome]) -> None:
    done = serd("bench")
    assert (done.code, done.err) == (0, "")
    line, rooms, latency = done.out.splitlines()
    assert "can process 160 rooms of continuous speech" in rooms
    assert "1 ms after the end of an utterance" in latency
    assert line.startswith("serd ")
    for figure in ("1.2 ms", "p99 3.8", "321x", "0.40 s", "62 MB"):
        assert figure in line


def test_the_configured_model_is_measured(
    serd: Callable[..., Outcome], measured: list[Config]
) -> None:
    assert serd("bench", "--set", "model.path=permissive", "--set", "speech.window_s=2").code == 0
    (config,) = measured
    assert (config.model.path, config.speech.window_s) == ("permissive", 2.0)


def test_a_broken_configuration_is_an_error(serd: Callable[..., Outcome], home: Path) -> None:
    (home / "config.yaml").write_text("mqtt: {prot: 1}")
    assert serd("bench").code == 78


def test_the_login_of_a_camera_is_masked(
    serd: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_: object) -> None:
        raise UnavailableError("there is no camera")

    monkeypatch.setattr("serd.audio.process.NetworkSource.open", absent)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    done = serd("bench", "--ordinary", "--source", "rtsp://admin:s3cr3t@cam/live")
    assert done.code == 69
    assert "listening to rtsp://********@cam/live;" in done.err
    assert "s3cr3t" not in done.err
