"""The examples in docs/api.md, extracted from the page and run unchanged."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import serd
from serd import Classifier, Prediction, SamplesError, Stream

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
SAMPLE = ROOT / "serd" / "audio" / "data" / "sample.ogg"


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_examples_run_in_order_as_one_program(tmp_path: Path) -> None:
    shutil.copyfile(SAMPLE, tmp_path / "recording.ogg")
    found = examples()
    assert len(found) >= 7
    # Block by block, the results are the same as for the whole file.
    check = """
of_file = classifier.classify_file("recording.ogg")
assert [one.emotion for one in heard] == [one.emotion for one in of_file]
assert len(heard) > 2
"""
    program = tmp_path / "program.py"
    program.write_text("\n".join([*found, check]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.match(r"\d+\.\d to \d+\.\d s: \w+ \(\d+%\)", lines[0])
    assert json.loads(next(line for line in lines if line.startswith("{")))["emotion"]
    info = Classifier.load().info
    assert f"{info.name} {info.version} (" in done.stdout
    assert "nothing.wav" in done.stdout
    assert "no-such-model.tflite" in done.stdout


def test_the_table_of_exceptions_matches_the_exports() -> None:
    listed = set(re.findall(r"^\| `(\w+Error)` \|", PAGE.read_text(), re.MULTILINE))
    exported = {name for name in serd.__all__ if name.endswith("Error")}
    assert listed == exported
    for name in exported:
        assert issubclass(getattr(serd, name), serd.SerdError)


def test_the_table_of_a_prediction_lists_all_fields() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", PAGE.read_text(), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(Prediction.__struct_fields__)


def test_stream_results_do_not_depend_on_block_size_or_sample_type() -> None:
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    classifier = Classifier.load()
    stream = classifier.stream(rate)
    assert isinstance(stream, Stream)

    def predict(size: int, sound: object) -> list[Prediction]:
        predictions: list[Prediction] = []
        for first in range(0, len(samples), size):
            predictions += stream.feed(sound[first : first + size])  # type: ignore[index]
        return predictions + stream.finish()

    once = predict(1024, samples)
    assert len(once) > 2
    assert once == predict(len(samples), samples)
    # The same stream again: time restarts at zero.
    assert once == predict(999, samples[:, np.newaxis])
    words = [one.emotion for one in predict(4096, np.round(samples * 32767).astype(np.int16))]
    assert words == [one.emotion for one in once]
    starts = [one.start_s for one in once]
    assert starts == sorted(starts, key=lambda start: start or 0.0)
    assert all(one.end_s is not None and one.end_s <= len(samples) / rate for one in once)
    assert stream.feed(np.zeros(0, dtype=np.float32)) == []


def test_a_stream_rejects_unsupported_rates_shapes_and_types() -> None:
    classifier = Classifier.load()
    with pytest.raises(SamplesError, match="1000 Hz"):
        classifier.stream(1000)
    stream = classifier.stream(16_000)
    with pytest.raises(SamplesError, match="mono"):
        stream.feed(np.zeros((160, 2), dtype=np.float32))
    with pytest.raises(SamplesError, match="int32"):
        stream.feed(np.zeros(160, dtype=np.int32))


def test_a_corrected_prediction_includes_the_models_own_result() -> None:
    classifier = Classifier.load()
    own = classifier.decision.decide(np.arange(8, dtype=np.float32))
    plain = own.to_dict()
    assert "model_emotion" not in plain
    assert "start_s" not in plain
    corrected = Prediction(
        emotion="sad", confidence=0.5, scores=own.scores, valence=0.0, arousal=0.0,
        own=own, adapted=3, start_s=1.0, end_s=2.0,
    )  # fmt: skip
    values = json.loads(corrected.to_json())
    assert values["model_emotion"] == own.emotion
    assert values["model_confidence"] == own.confidence
    assert (values["adapted"], values["start_s"], values["end_s"]) == (3, 1.0, 2.0)


def test_importing_serd_and_its_exceptions_does_not_load_numpy() -> None:
    code = (
        "import sys, serd\n"
        "serd.SerdError, serd.InputError, serd.ModelError, serd.__version__\n"
        "print(sorted({'numpy', 'msgspec', 'soundfile', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
