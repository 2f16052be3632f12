"""``serd bench --ordinary``: counts what would be told, and keeps nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import soundfile as sf

from serd.audio.file import FileSource
from serd.benchmark.material import SAMPLE
from serd.benchmark.ordinary import OrdinarySpeech, listen, page
from serd.config import Config, DecisionConfig, ModelConfig
from serd.model.metadata import SENSITIVITIES
from tests.models import HOME, at_home
from tests.system.node import json_lines, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def evening(model: Path | str, path: Path = SAMPLE, **more: object) -> OrdinarySpeech:
    config = Config(model=ModelConfig(path=str(model), **more))  # type: ignore[arg-type]
    with FileSource(path, pace="fast") as source:
        return listen(config, source)


def falling(values: Iterable[float]) -> bool:
    listed = list(values)
    return listed == sorted(listed, reverse=True)


def test_each_sensitivity_is_counted(home_model_path: Path, tmp_path: Path) -> None:
    told = evening(home_model_path)
    classified = json_lines(
        run_serd(
            *("classify", "--json", str(SAMPLE), "--set", f"model.path={home_model_path}"),
            home=tmp_path,
        ).stdout
    )
    assert list(told.told) == list(SENSITIVITIES)
    assert told.utterances == len(classified)
    assert told.speech_s == pytest.approx(
        sum(row["end_s"] - row["start_s"] for row in classified), abs=0.1
    )
    assert falling(-one.events for one in told.told.values())
    for one in told.told.values():
        assert one.per_hour_of_speech == pytest.approx(one.events * 3600 / told.speech_s, rel=0.01)
        assert one.events == sum(one.emotions.values())
    assert page(told).count("\n") == 3


def test_without_sensitivities_there_is_one_count(home_model_path: Path) -> None:
    assert list(evening("default", min_confidence=0.2).told) == ["normal"]
    everything = evening(home_model_path, min_confidence=0.0).told["normal"]
    assert everything.events >= evening(home_model_path, min_confidence=0.9).told["normal"].events


def test_where_nobody_speaks_nothing_is_said(home_model_path: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "silence.wav", np.zeros(32_000, np.float32), 16_000)
    told = evening(home_model_path, tmp_path / "silence.wav")
    assert (told.utterances, told.told["high"].per_hour_of_speech) == (0, None)
    assert told.told["high"].per_hour_of_recording == 0.0
    assert "no speech, so no result" in page(told)


def test_utterances_that_must_agree_are_fewer(tmp_path: Path) -> None:
    # A home in which little is neutral, so that something is told of a synthesiser.
    path = tmp_path / "lively.tflite"
    path.write_bytes(at_home(home=msgspec.structs.replace(HOME, ordinary_share=0.1)))
    counts = []
    for agree in (1, 5):
        config = Config(model=ModelConfig(path=str(path)), decision=DecisionConfig(agree=agree))
        with FileSource(SAMPLE, pace="fast") as source:
            counts.append(listen(config, source).told["high"].events)
    assert counts[1] < counts[0]


def test_the_command(home_model_path: Path, tmp_path: Path) -> None:
    settings = ("--set", f"model.path={home_model_path}")
    done = run_serd("bench", "--ordinary", "--json", "--source", str(SAMPLE), "--minutes", "0.2",
                    *settings, home=tmp_path)  # fmt: skip
    said = json.loads(done.stdout)
    assert 12 <= said["recording_s"] < 13
    assert said["told"].keys() == set(SENSITIVITIES)
    assert not list(tmp_path.rglob("*.db"))  # no journal, nothing kept
    text = run_serd("bench", "--ordinary", "--source", str(SAMPLE), *settings, home=tmp_path).stdout
    assert [line.split()[0] for line in text.splitlines()[1:]] == list(SENSITIVITIES)
    wrong = run_serd("bench", "--minutes", "3", home=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--minutes goes with --ordinary" in wrong.stderr
