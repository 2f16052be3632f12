"""Classifying recordings in several processes, and one after another."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from serd.audio import SAMPLE
from serd.config import Config
from serd.errors import InputError
from serd.model.decision import Prediction
from serd.recordings import (
    ClassifiedUtterance,
    RecordingClassifier,
    classify_all,
    default_jobs,
    find_recordings,
)
from serd.speech import Utterance


@pytest.mark.slow
def test_several_processes_give_the_same_results_in_order(tmp_path: Path) -> None:
    paths = []
    for number in range(11):
        paths.append(tmp_path / f"{number}.ogg")
        if number not in (0, 4, 10):
            shutil.copy(SAMPLE, paths[-1])
    alone, together = (list(classify_all(paths, Config(), jobs=jobs)) for jobs in (1, 3))
    assert [result.path for result in together] == paths
    assert [result.utterances for result in together] == [result.utterances for result in alone]
    missing = [result for result in together if result.error]
    assert [result.path.name for result in missing] == ["0.ogg", "4.ogg", "10.ogg"]
    assert str(missing[0].error) == f"{tmp_path}/0.ogg does not exist"


def test_a_result_does_not_depend_on_earlier_recordings(tmp_path: Path) -> None:
    used = RecordingClassifier(Config())
    used.classify(SAMPLE)
    used.classify(tmp_path / "gone.wav")
    assert used.classify(SAMPLE) == RecordingClassifier(Config()).classify(SAMPLE)


@pytest.mark.slow
def test_stopping_early_ends_the_processes() -> None:
    results = classify_all([SAMPLE] * 100, Config(), whole=True, jobs=2)
    assert next(iter(results)).utterances
    assert len(multiprocessing.active_children()) == 2
    results.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:  # tests may run as root, which may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        find_recordings(tmp_path)


def test_few_files_use_one_process_and_many_use_all_cores() -> None:
    assert default_jobs(0) == default_jobs(1) == default_jobs(40) == 1
    assert default_jobs(10**6) == len(os.sched_getaffinity(0))


def test_a_file_name_that_is_not_utf_8_survives_json() -> None:
    path = Path(os.fsdecode(b"s\xff.ogg"))
    prediction = Prediction(emotion="sad", confidence=1, scores={"sad": 1}, valence=0, arousal=0)
    utterance = Utterance(start=0, end=8000, level_dbfs=-20, voiced_share=1, cut=False)
    classified = ClassifiedUtterance.of(path, utterance, prediction)
    line = json.dumps(msgspec.to_builtins(classified))
    line.encode("utf-8")
    assert os.fsencode(json.loads(line)["path"]) == b"s\xff.ogg"


def test_pipes_in_a_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    os.mkfifo(tmp_path / "b.wav")
    assert find_recordings(tmp_path) == [tmp_path / "a.wav"]
