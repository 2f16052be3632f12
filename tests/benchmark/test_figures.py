"""The figures of ``serd bench``: how they are derived, and that measuring them works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from serd.benchmark import figures, material
from serd.benchmark.daemon import StubBroker, run_daemon
from serd.benchmark.figures import Figures, Percentiles, describe, measure, one_line, percentiles
from serd.config import SpeechConfig
from serd.errors import UnavailableError
from serd.speech import End, Segmenter, make_vad

if TYPE_CHECKING:
    from pathlib import Path


def test_percentiles_are_measured_values() -> None:
    assert percentiles([float(n) for n in range(100, 0, -1)]) == Percentiles(
        p50=50.0, p95=95.0, p99=99.0
    )
    assert percentiles([3.0, 1.0, 2.0]) == Percentiles(p50=2.0, p95=3.0, p99=3.0)
    assert percentiles([7.0]) == Percentiles(p50=7.0, p95=7.0, p99=7.0)


@pytest.mark.parametrize(
    ("sound", "least", "most"),
    [(material.speech, 19, 30), (material.phrases, 30, 48), (material.silence, 0, 0)],
    ids=["speech", "phrases", "silence"],
)
def test_the_material_is_segmented_as_intended(sound: object, least: int, most: int) -> None:
    """A minute of speech gives full windows, phrases give more and shorter ones, silence none."""
    samples = sound(60.0)  # type: ignore[operator] # one of three functions
    assert len(samples) == 60 * 16_000
    settings = SpeechConfig()
    segmenter = Segmenter(settings, make_vad(settings))
    ends = [
        event.utterance
        for event in [*segmenter.feed(samples), *segmenter.flush()]
        if isinstance(event, End)
    ]
    assert least <= len(ends) <= most


def test_the_machine_is_described() -> None:
    machine = describe()
    assert machine.cores >= 1
    assert machine.memory_mb > 100
    assert machine.model
    assert machine.runtime


@pytest.mark.slow
def test_everything_is_measured() -> None:
    """With little material: whatever the figures are, they must be complete and plausible."""
    steps: list[tuple[str, float]] = []
    found = measure(latency_s=6.0, progress=lambda what, share: steps.append((what, share)))
    for name in ("features_ms", "inference_ms", "latency_ms"):
        measured = getattr(found, name)
        assert 0 < measured.p50 <= measured.p95 <= measured.p99
    assert found.realtime_factor > 0
    assert 0 < found.startup_s < 60
    assert 20 < found.peak_rss_mb < 500
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    line = one_line(found)
    assert "\n" not in line
    assert found.machine.model in line
    again = msgspec.json.decode(msgspec.json.encode(found), type=Figures)
    assert again == found


@pytest.mark.slow
def test_a_daemon_that_fails_to_run_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(UnavailableError, match="failed with 1"):
        figures.measure(latency_s=1.0)


def test_a_recording_on_standard_input_gives_events(tmp_path: Path) -> None:
    recording = material.write(tmp_path / "speech.wav", material.speech(9.0))
    with StubBroker() as broker:
        cost = run_daemon(recording, port=broker.port, home=tmp_path, pace="piped")
        assert "READY=1" in cost.marks
        assert broker.events
