"""``serd bench --ordinary``: counts the events that would be published, and stores nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from serd.audio.file import FileSource
from serd.benchmark.ordinary import OrdinarySpeech, listen, page
from serd.config import Config, DecisionConfig, ModelConfig
from serd.model.metadata import SENSITIVITIES
from tests.models import HOME, at_home
from tests.system.node import json_lines, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def run_ordinary(model: Path | str, path: Path = SAMPLE, **more: object) -> OrdinarySpeech:
    config = Config(model=ModelConfig(path=str(model), **more))  # type: ignore[arg-type]
    with FileSource(path, pace="fast") as source:
        return listen(config, source)


def is_descending(values: Iterable[float]) -> bool:
    listed = list(values)
    return listed == sorted(listed, reverse=True)


def test_events_are_counted_for_each_sensitivity(home_model_path: Path, tmp_path: Path) -> None:
    result = run_ordinary(home_model_path)
    classified = json_lines(
        run_serd(
            *("classify", "--json", str(SAMPLE), "--set", f"model.path={home_model_path}"),
            home=tmp_path,
        ).stdout
    )
    assert list(result.told) == list(SENSITIVITIES)
    assert result.utterances == len(classified)
    assert result.speech_s == pytest.approx(
        sum(row["end_s"] - row["start_s"] for row in classified), abs=0.1
    )
    assert is_descending(-one.events for one in result.told.values())
    for one in result.told.values():
        assert one.per_hour_of_speech == pytest.approx(
            one.events * 3600 / result.speech_s, rel=0.01
        )
        assert one.events == sum(one.emotions.values())
    assert page(result).count("\n") == 3


def test_without_sensitivities_there_is_one_count(home_model_path: Path) -> None:
    assert list(run_ordinary("default", min_confidence=0.2).told) == ["normal"]
    everything = run_ordinary(home_model_path, min_confidence=0.0).told["normal"]
    assert (
        everything.events >= run_ordinary(home_model_path, min_confidence=0.9).told["normal"].events
    )


def test_without_speech_there_is_no_result(home_model_path: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "silence.wav", np.zeros(32_000, np.float32), 16_000)
    result = run_ordinary(home_model_path, tmp_path / "silence.wav")
    assert (result.utterances, result.told["high"].per_hour_of_speech) == (0, None)
    assert result.told["high"].per_hour_of_recording == 0.0
    assert "no speech, so no result" in page(result)


def test_requiring_agreement_gives_fewer_events(tmp_path: Path) -> None:
    # A low share of ordinary speech, so that the synthesised sample gives events.
    path = tmp_path / "lively.tflite"
    path.write_bytes(at_home(home=msgspec.structs.replace(HOME, ordinary_share=0.1)))
    counts = []
    for agree in (1, 5):
        config = Config(model=ModelConfig(path=str(path)), decision=DecisionConfig(agree=agree))
        with FileSource(SAMPLE, pace="fast") as source:
            counts.append(listen(config, source).told["high"].events)
    assert counts[1] < counts[0]


def test_the_command_prints_counts_and_stores_nothing(
    home_model_path: Path, tmp_path: Path
) -> None:
    settings = ("--set", f"model.path={home_model_path}")
    done = run_serd("bench", "--ordinary", "--json", "--source", str(SAMPLE), "--minutes", "0.2",
                    *settings, home=tmp_path)  # fmt: skip
    report = json.loads(done.stdout)
    assert 12 <= report["recording_s"] < 13
    assert report["told"].keys() == set(SENSITIVITIES)
    assert not list(tmp_path.rglob("*.db"))  # no journal, nothing stored
    text = run_serd("bench", "--ordinary", "--source", str(SAMPLE), *settings, home=tmp_path).stdout
    assert [line.split()[0] for line in text.splitlines()[1:]] == list(SENSITIVITIES)
    wrong = run_serd("bench", "--minutes", "3", home=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--minutes goes with --ordinary" in wrong.stderr
