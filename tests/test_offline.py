"""Recordings on several processes, and one after the other."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import msgspec
import pytest

import serd
from serd.config import Config
from serd.errors import InputError
from serd.model.decision import Prediction
from serd.offline import Examiner, describe, examine_all, recordings, sensible_jobs
from serd.speech import Utterance

SAMPLE = Path(serd.__file__).parent / "audio" / "data" / "sample.ogg"


def test_processes_give_the_same_in_the_same_order(tmp_path: Path) -> None:
    paths = []
    for number in range(11):
        paths.append(tmp_path / f"{number}.ogg")
        if number not in (0, 4, 10):
            shutil.copy(SAMPLE, paths[-1])
    alone, together = (list(examine_all(paths, Config(), jobs=jobs)) for jobs in (1, 3))
    assert [examination.path for examination in together] == paths
    assert [examination.findings for examination in together] == [
        examination.findings for examination in alone
    ]
    missing = [examination for examination in together if examination.error]
    assert [examination.path.name for examination in missing] == ["0.ogg", "4.ogg", "10.ogg"]
    assert str(missing[0].error) == f"{tmp_path}/0.ogg does not exist"


def test_a_recording_is_judged_alike_whatever_came_before(tmp_path: Path) -> None:
    used = Examiner(Config())
    used.examine(SAMPLE)
    used.examine(tmp_path / "gone.wav")
    assert used.examine(SAMPLE) == Examiner(Config()).examine(SAMPLE)


def test_leaving_early_ends_the_processes() -> None:
    examinations = examine_all([SAMPLE] * 100, Config(), whole=True, jobs=2)
    assert next(iter(examinations)).findings
    assert len(multiprocessing.active_children()) == 2
    examinations.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:  # root, as which tests may run, is refused nothing
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        recordings(tmp_path)


def test_few_files_are_not_worth_a_process() -> None:
    assert sensible_jobs(0) == sensible_jobs(1) == sensible_jobs(40) == 1
    assert sensible_jobs(10**6) == len(os.sched_getaffinity(0))


def test_a_name_that_is_not_utf_8_is_kept_in_json() -> None:
    path = Path(os.fsdecode(b"s\xff.ogg"))
    prediction = Prediction(emotion="sad", confidence=1, scores={"sad": 1}, valence=0, arousal=0)
    utterance = Utterance(start=0, end=8000, level_dbfs=-20, voiced_share=1, cut=False)
    finding = describe(path, utterance, prediction)
    line = json.dumps(msgspec.to_builtins(finding))
    line.encode("utf-8")
    assert os.fsencode(json.loads(line)["path"]) == b"s\xff.ogg"
