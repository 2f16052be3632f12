"""Offline classification, of the bundled sample and of bad input."""

from __future__ import annotations

import json
import os
import shutil
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

import serd as package
from serd.events.corrections import Correction, CorrectionStore
from serd.events.event import model_ref, round_scores, uuid7
from serd.events.journal import Journal
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.model.model_file import ModelFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]

SAMPLE = Path(package.__file__).parent / "audio" / "data" / "sample.ogg"


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_json_has_an_object_for_each_utterance(serd: Serd) -> None:
    code, out, err = serd("classify", "--json", SAMPLE)
    assert (code, err) == (0, "")
    found = objects(out)
    assert len(found) >= 5
    spans = [(utterance["start_s"], utterance["end_s"]) for utterance in found]
    assert all(start < end <= start + 3.0 for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    for utterance in found:
        assert list(utterance)[:6] == [
            "path", "start_s", "end_s", "emotion", "confidence", "scores",
        ]  # fmt: skip
        assert utterance["path"] == str(SAMPLE)
        scores = utterance["scores"]
        assert tuple(scores) == EMOTIONS
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
        assert utterance["confidence"] == max(scores.values())
        assert utterance["emotion"] in (*EMOTIONS, UNCERTAIN)


def test_text_output_matches_the_json(serd: Serd) -> None:
    found = objects(serd("classify", "--json", SAMPLE).out)
    lines = serd("classify", SAMPLE).out.splitlines()
    assert len(lines) == len(found)
    for line, utterance in zip(lines, found, strict=True):
        path, start, end, emotion, confidence, *scores = line.split()
        assert (path, emotion) == (str(SAMPLE), utterance["emotion"])
        assert float(start) == pytest.approx(utterance["start_s"], abs=0.006)
        assert float(end) == pytest.approx(utterance["end_s"], abs=0.006)
        assert float(confidence) == pytest.approx(utterance["confidence"], abs=0.006)
        assert [score.split("=")[0] for score in scores] == list(EMOTIONS)


def test_whole_gives_one_utterance_as_the_python_interface_does(serd: Serd) -> None:
    (utterance,) = objects(serd("classify", "--whole", "--json", SAMPLE).out)
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    prediction = package.Classifier.load().classify(samples, rate)
    assert utterance["emotion"] == prediction.emotion
    assert utterance["scores"] == {
        name: round(score, 6) for name, score in prediction.scores.items()
    }
    assert 0 < utterance["end_s"] - utterance["start_s"] <= 3.0


def test_min_confidence_applies(serd: Serd) -> None:
    certain = serd("classify", "--json", SAMPLE, "--set", "model.min_confidence=0").out
    unsure = serd("classify", "--json", SAMPLE, "--set", "model.min_confidence=1").out
    assert UNCERTAIN not in {utterance["emotion"] for utterance in objects(certain)}
    assert {utterance["emotion"] for utterance in objects(unsure)} <= {"neutral", "calm", UNCERTAIN}


def test_bad_files_do_not_stop_the_others(serd: Serd, home: Path) -> None:
    (home / "notes.wav").write_text("not audio at all, just words")
    (home / "empty.wav").touch()
    (home / "folder").mkdir()
    shutil.copy(SAMPLE, home / "a.ogg")
    shutil.copy(SAMPLE, home / "b.ogg")
    alone = serd("classify", "a.ogg").out
    code, out, err = serd(
        "classify", "gone.wav", "a.ogg", "notes.wav", "empty.wav", "folder", "b.ogg"
    )
    assert code == 66
    assert out == alone + alone.replace("a.ogg", "b.ogg")
    lines = err.splitlines()
    # A folder without recordings is reported first, the others in order.
    assert lines[0] == "serd: there are no recordings in folder"
    assert lines[1] == "serd: gone.wav does not exist"
    assert lines[2].startswith("serd: notes.wav is not audio that serd can read: ")
    assert lines[3] == "serd: empty.wav is empty (0 bytes)"
    assert len(lines) == 4


def test_folders_are_walked_in_order(serd: Serd, home: Path) -> None:
    for name in ("b/2.OGG", "b/10.ogg", "a/x/1.ogg", "a/.hidden.ogg", "a/notes.txt", "c.ogg"):
        (home / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLE, home / "in" / name)
    code, out, err = serd("classify", "--whole", "--json", "in")
    assert (code, err) == (0, "")
    assert [utterance["path"] for utterance in objects(out)] == [
        "in/c.ogg", "in/a/x/1.ogg", "in/b/10.ogg", "in/b/2.OGG",
    ]  # fmt: skip


def test_an_empty_path_is_a_usage_error(serd: Serd, home: Path) -> None:
    shutil.copy(SAMPLE, home / "here.ogg")  # Path("") is the current folder
    code, out, err = serd("classify", "")
    assert (code, out) == (2, "")
    assert err.startswith("serd: a PATH is empty\n")


def test_silence_is_reported(serd: Serd, home: Path) -> None:
    soundfile.write(home / "silence.wav", np.zeros(16_000, np.float32), 16_000)
    assert serd("classify", "silence.wav") == (0, "", "serd: silence.wav: nothing spoken\n")


def test_an_empty_model_file_is_rejected(serd: Serd, home: Path) -> None:
    (home / "m.tflite").write_bytes(b"")
    code, out, err = serd("classify", SAMPLE, "--set", "model.path=m.tflite", "--jobs", "2")
    assert (code, out) == (78, "")
    assert err.startswith("serd: the model m.tflite is empty\n")


def test_personal_applies_the_corrections_of_this_machine(serd: Serd, tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal_setting = ("--set", f"journal.path={journal}")
    code, _, err = serd("classify", "--personal", *journal_setting, SAMPLE)
    assert (code, "there is no journal" in err) == (69, True)
    with Journal(journal):
        pass
    _, plain, _ = serd("classify", "--json", SAMPLE)
    assert serd("classify", "--json", "--personal", *journal_setting, SAMPLE)[1] == plain
    before = objects(plain)
    model = ModelFile.load()
    CorrectionStore(journal).put(
        Correction(
            id=str(uuid7()),
            node="attic",
            seq=number,
            heard_at="2026-03-01T08:15:00.250Z",
            told=utterance["emotion"],
            emotion="calm",
            scores=dict(
                zip(EMOTIONS, (n / 1e4 for n in round_scores(utterance["scores"])), strict=True)
            ),
            corrected_at="2026-03-01T08:15:00.250Z",
            model=model_ref(model.info.name, model.info.version, model.sha256),
        )
        for number, utterance in enumerate(before, 1)
    )
    code, out, err = serd(
        "classify", "--json", "--personal", *journal_setting, "--jobs", "2", SAMPLE, SAMPLE
    )
    assert (code, err) == (0, "")
    for first, after in zip(before + before, objects(out), strict=True):
        assert after["adapted"] == len(before)
        assert after["model_emotion"] == first["emotion"]
        assert after["model_confidence"] == first["confidence"]
        assert after["scores"]["calm"] > first["scores"]["calm"]
    code, _, err = serd(
        "classify", "--personal", *journal_setting, "--set", "personal.enabled=false", SAMPLE
    )
    assert (code, "switched off" in err) == (2, True)


def test_standard_input(serd: Serd, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = soundfile.read(SAMPLE, dtype="int16")[0]
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writing, samples))
    feeder.start()
    with open(reading, encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr("sys.stdin", pipe)
        rate = soundfile.info(SAMPLE).samplerate
        code, out, err = serd("classify", "--json", "-", "--set", f"audio.rate_hz={rate}")
    feeder.join()
    assert code == 0
    assert "standard input has ended after" in err
    found = objects(out)
    assert {utterance["path"] for utterance in found} == {"-"}
    assert len(found) == len(objects(serd("classify", "--json", SAMPLE).out))
    assert serd("classify", "-", "-") == (2, "", "serd: standard input (-) can be read only once\n")


def _feed(descriptor: int, samples: Any) -> None:
    with open(descriptor, "wb") as pipe:
        pipe.write(samples.tobytes())


def test_a_file_name_that_is_not_utf_8_survives_json(serd: Serd, home: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.ogg")
    shutil.copy(SAMPLE, home / name)
    code, out, err = serd("classify", "--whole", "--json", name)
    assert (code, err) == (0, "")
    assert os.fsencode(objects(out)[0]["path"]) == b"caf\xe9\n.ogg"
    line = serd("classify", "--whole", name).out
    assert line.startswith("caf\\udce9\\u000a.ogg  ")
    assert line.count("\n") == 1


def test_a_file_named_dash_can_be_given_by_path(serd: Serd, home: Path) -> None:
    shutil.copy(SAMPLE, home / "-")
    code, out, _ = serd("classify", "--whole", "--json", "./-")
    assert code == 0
    assert objects(out)[0]["path"] == str(home / "-")


def test_files_unreadable_without_ffmpeg_are_counted(
    serd: Serd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serd.audio.recording.installed", lambda: False)
    (home / "in").mkdir()
    (home / "in" / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(999))
    shutil.copy(SAMPLE, home / "in" / "b.ogg")
    code, out, err = serd("classify", "--whole", "--jobs", "1", "in")
    assert (code, len(out.splitlines())) == (66, 1)
    lines = err.splitlines()
    assert "ffmpeg, which is not installed (sudo apt install ffmpeg)" in lines[0]
    assert lines[1] == "serd: 1 of 2 recordings were not read"


def test_a_truncated_recording_is_reported(serd: Serd, home: Path) -> None:
    samples, rate = soundfile.read(SAMPLE, dtype="int16")
    soundfile.write(home / "a.wav", samples, rate)
    data = (home / "a.wav").read_bytes()
    (home / "a.wav").write_bytes(data[: len(data) // 2])
    code, out, err = serd("classify", "a.wav")
    assert code == 0
    assert out
    assert err.startswith("serd: a.wav ends early, after ")
    assert err.endswith(" s are missing\n")


def test_the_python_interface_finds_the_same_utterances(serd: Serd) -> None:
    found = objects(serd("classify", "--json", SAMPLE).out)
    predictions = package.Classifier.load().classify_file(SAMPLE)
    assert [p.emotion for p in predictions] == [u["emotion"] for u in found]
    for end in ("start_s", "end_s"):
        expected = [u[end] for u in found]
        assert [getattr(p, end) for p in predictions] == pytest.approx(expected, abs=1e-4)


def test_the_python_interface_also_asks_the_second_detector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Rejecting:
        def begin(self) -> None:
            pass

        def push(self, samples: object) -> None:
            pass

        def confirms(self, length: int) -> bool:
            return False

    monkeypatch.setattr("serd.speech.segmenter.make_confirmer", lambda _settings: Rejecting())
    classifier = package.Classifier.load()
    assert classifier.classify_file(SAMPLE) == []
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    stream = classifier.stream(rate)
    assert [*stream.feed(samples), *stream.finish()] == []
