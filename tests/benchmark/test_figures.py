"""The figures of ``serd bench``: how they are derived, and that measuring them works."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from serd.benchmark import figures, material
from serd.benchmark.daemon import StubBroker, run_daemon
from serd.benchmark.figures import Figures, Percentiles, describe, measure, one_line, percentiles
from serd.config import Config, DecisionConfig, ModelConfig, MqttConfig, SpeechConfig
from serd.config.loading import load
from serd.errors import UnavailableError
from serd.speech import End, Segmenter, make_vad


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


def test_the_daemon_is_told_of_the_model_and_the_speech_and_of_nothing_else() -> None:
    assert figures.daemon_settings(Config()) == []
    config = Config(
        model=ModelConfig(path="/a b/ü: 'x' #1.tflite", threads=2, min_confidence=0.5),
        speech=SpeechConfig(engine="silero", window_s=2.0),
        decision=DecisionConfig(habituation=False),
        mqtt=MqttConfig(host="elsewhere"),
    )
    again = load(Path("/dev/null"), env={}, overrides=figures.daemon_settings(config)).config
    assert again.model == config.model
    assert again.speech == config.speech
    assert again.decision == config.decision
    assert again.mqtt == MqttConfig()


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
    config = Config(model=ModelConfig(path="permissive"), speech=SpeechConfig(window_s=2.0))
    found = measure(config, latency_s=6.0, progress=lambda what, share: steps.append((what, share)))
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
        figures.measure(Config(), latency_s=1.0)


def test_a_recording_on_standard_input_gives_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The configuration found here is not that of the daemon under measurement.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("sources: [{node: a}, {node: b}]")
    recording = material.write(tmp_path / "speech.wav", material.speech(9.0))
    with StubBroker() as broker:
        cost = run_daemon(recording, port=broker.port, home=tmp_path, pace="piped")
        assert "READY=1" in cost.marks
        assert broker.events
