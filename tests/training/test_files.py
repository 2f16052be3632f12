"""Files that a run writes: a damaged or foreign one is an error, and never a result."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NoReturn

import click
import numpy as np
import pytest
from click.testing import CliRunner

from serd.errors import InputError, UsageError
from tests.training.recipes import tiny_recipe
from training.cli.console import plain_errors
from training.corpora import Clip
from training.corpora.ordinary import Recording
from training.evaluate.predictions import ClipScores, Predictions, RecordingScores
from training.files import read_arrays, read_json, write_json, write_whole
from training.run import Run
from training.run_folder import RunFolder


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"one": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"one": [1, 2]}
    write_whole(tmp_path / "a.npz", lambda file: np.savez(file, one=np.arange(3)))
    assert read_arrays(tmp_path / "a.npz")["one"].tolist() == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.npz"]


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", "before")

    def interrupted(file: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.json", interrupted)
    assert read_json(tmp_path / "a.json") == "before"


@pytest.mark.parametrize("name", ["metrics.json", "recipe.json"])
def test_a_damaged_json_file_is_named(tmp_path: Path, name: str) -> None:
    run = RunFolder(tmp_path, tiny_recipe())
    run.write("metrics.json", {"test": {}})
    text = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(text[: len(text) // 2])
    with pytest.raises((InputError, UsageError), match=name):
        RunFolder.open(tmp_path).read("metrics.json")


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_damaged_weights_are_named(tmp_path: Path, kept: int) -> None:
    run = RunFolder(tmp_path, tiny_recipe())
    write_whole(tmp_path / "weights.npz", lambda file: np.savez(file, np.zeros(100)))
    assert len(run.weights()) == 1
    (tmp_path / "weights.npz").write_bytes((tmp_path / "weights.npz").read_bytes()[:kept])
    with pytest.raises(InputError, match=r"weights\.npz is damaged"):
        run.weights()


def test_a_run_keeps_its_recipe_as_it_was_written(tmp_path: Path) -> None:
    RunFolder(tmp_path, tiny_recipe())
    before = (tmp_path / "recipe.json").stat().st_ino
    RunFolder.open(tmp_path)
    assert (tmp_path / "recipe.json").stat().st_ino == before


def test_predictions_of_another_network_or_of_other_clips_are_not_used(tmp_path: Path) -> None:
    clips = [
        Clip(path=tmp_path / f"{name}.wav", corpus="ravdess", speaker="01", emotion="sad")
        for name in ("a", "b")
    ]
    scores = [
        ClipScores(corpus="ravdess", name=name, speaker="01", emotion="sad", logs=())
        for name in ("a", "b")
    ]
    told = [
        RecordingScores(source="watson", kind="read", language="en", name=name, duration_s=2.0)
        for name in ("1.opus", "2.opus")
    ]
    recordings = [
        Recording(
            path=tmp_path / "watson" / name,
            source="watson",
            kind="read",
            language="en",
            duration_s=2.0,
        )
        for name in ("2.opus", "1.opus")
    ]
    file = tmp_path / "heard.json"

    def check(heard: list[ClipScores], spoken: list[RecordingScores]) -> None:
        predictions = Predictions(labels=(), clips=tuple(heard), recordings=tuple(spoken))
        predictions.check_same(clips, recordings, file)

    check(scores, told)
    for heard, spoken in ((scores[:1], told), (scores[::-1], told), (scores, told[:1])):
        with pytest.raises(UsageError, match=r"heard\.json is of other clips than the corpora"):
            check(heard, spoken)


def test_a_full_disk_and_a_forbidden_folder_give_no_traceback() -> None:
    @click.command()
    @plain_errors
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    @click.command()
    @plain_errors
    def forbidden() -> None:
        Run(Path("/proc/serd"), tiny_recipe())

    for command, told in ((full, "No space left on device"), (forbidden, "/proc/serd: ")):
        result = CliRunner().invoke(command)
        assert result.exit_code == 70
        assert told in result.stderr
        assert isinstance(result.exception, SystemExit)
