"""From a user's recordings to a personal model; espeak-ng's voices stand in for the family."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serd import Classifier
from serd.model.metadata import SENSITIVITIES
from training.cli.main import main
from training.evaluate.predictions import ClipScores, RecordingScores, UtteranceScores
from training.network import load_start_model
from training.own.tune import calibrate_tuned
from training.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from click.testing import Result

pytest.importorskip("tensorflow")
pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng"),
]

ROOT = Path(__file__).parents[2]
VOICES = {"anna": "en-us+f3", "bert": "en-gb+m3", "jürgen": "de+m2"}
STYLES = {
    "angry": ("-p", "75", "-s", "220", "-a", "180"),
    "wütend": ("-p", "75", "-s", "220", "-a", "180"),
    "sad": ("-p", "15", "-s", "95", "-a", "60"),
    "neutral": ("-p", "45", "-s", "150"),
}
SENTENCES = ("the kids are talking by the door", "I will be back in the evening", "it is late")


def speak(file: Path, voice: str, emotion: str, text: str) -> Path:
    """Speak a sentence into a WAV file, 22 050 Hz."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = ["espeak-ng", "-v", VOICES[voice], *STYLES[emotion], "-w", str(file), text]
    subprocess.run(command, check=True, timeout=60)
    return file


def make_recordings(
    folder: Path,
    speakers: Iterable[str] = ("anna", "bert"),
    emotions: Iterable[str] = ("angry", "sad", "neutral"),
    takes: int = 2,
) -> Path:
    """Recordings in ``speaker/emotion`` folders."""
    for speaker in speakers:
        for emotion in emotions:
            for take in range(takes):
                text = f"{SENTENCES[take % 3]} {'now ' * (take // 3)}"
                speak(folder / speaker / emotion / f"{take}.wav", speaker, emotion, text)
    return folder


def run(*arguments: object) -> Result:
    """Run ``serd-train`` in this process; an unexpected exception fails the test."""
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def run_new(tmp_path: Path, recordings: Path, *more: object) -> Result:
    return run("new", "mine", recordings, "--into", tmp_path / "mine", "--jobs", 1, *more)


def commands_of_the_page() -> list[str]:
    """The commands of docs/training.md that make and try a personal model."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = page.split("## A model of your own\n")[1].split("\n## ")[0]
    commands = re.findall(r"(?:^\.venv/bin/|`)(serd(?:-train)? [^`#\n]+)", section, re.MULTILINE)
    return [command.strip() for command in commands if len(command.split()) > 2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_documented_commands_give_a_model_that_serd_can_use(tmp_path: Path) -> None:
    make_recordings(tmp_path / "recordings", takes=3)
    make_recordings(tmp_path / "everyday", emotions=["neutral"], takes=2)
    shutil.copyfile(tmp_path / "recordings/anna/sad/0.wav", tmp_path / "recording.wav")
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def execute(command: str) -> str:
        program, *arguments = command.replace("~", str(tmp_path)).split()
        module = {"serd-train": "training", "serd": "serd"}[program]
        steps = ["--steps", "4"] if "tune" in arguments else []
        result = subprocess.run(
            [sys.executable, "-m", module, *arguments, *steps],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout

    commands = commands_of_the_page()
    verbs = [command.split()[:2] for command in commands]
    assert verbs == [
        ["serd-train", "new"], ["serd-train", "tune"], ["serd", "model"], ["serd", "classify"],
        ["serd-train", "tune"],
    ]  # fmt: skip
    new, tune, info, classify, everyday = commands
    assert "2 speakers (anna, bert)" in execute(new)
    output = execute(tune)
    # The results of both models, where to put the new one, and a single file.
    assert re.search(r"Of 18 utterances by people whom it had not heard, it got \d+ right", output)
    assert "with which it began, gets" in output
    model = tmp_path / "mine" / "mine.tflite"
    assert f"model.path: {model}" in output
    assert [file.name for file in tmp_path.rglob("*.tflite") if "work" not in file.parts] == [
        "mine.tflite"
    ]
    report = (tmp_path / "mine" / "report.md").read_text(encoding="utf-8")
    assert "goal" not in report.lower()
    assert "| anna |" in report
    assert "mine 1" in execute(info)
    assert "an unmeasured number of false emotional events" in execute(info)
    assert "recording.wav" in execute(classify)
    # The daemon finds the model through the configuration.
    config = tmp_path / "serd.yaml"
    config.write_text(f"model:\n  path: {model}\n")
    scored = execute(f"serd classify --config {config} --json {tmp_path / 'recording.wav'}")
    assert json.loads(scored.splitlines()[0])["scores"]
    classifier = Classifier.load(model)
    base = load_start_model("default").info
    assert classifier.info.home is not None
    assert base.home is not None
    assert classifier.info.home.gathering == base.home.gathering
    assert {one.name for one in base.corpora} < {one.name for one in classifier.info.corpora}
    # Less than fifteen minutes choose no thresholds, but their events are counted.
    output = execute(everyday)
    assert "too few to choose them by" in output
    measured = Classifier.load(model).info.home
    assert measured is not None
    assert measured.sensitivity["normal"].events_per_hour is not None
    assert measured.sensitivity["normal"].threshold == base.home.sensitivity["normal"].threshold


def test_a_single_speaker_gets_held_out_clips_and_a_warning(tmp_path: Path) -> None:
    result = run_new(tmp_path, make_recordings(tmp_path / "rec", ["anna"], takes=3))
    assert result.exit_code == 0
    assert "1 speaker (anna)" in result.stdout
    assert "of voices that it was" in result.stdout
    assert "all recordings are of one speaker (anna)" in result.stdout
    folds = json.loads((tmp_path / "mine" / "folds.json").read_text())
    held_out = [name for fold in folds["test_clips"] for name in fold]
    assert len(held_out) == len(set(held_out)) == 9
    assert all(len({name.split("/")[1] for name in fold}) > 1 for fold in folds["test_clips"])


def test_classes_without_recordings_are_masked(tmp_path: Path) -> None:
    result = run_new(tmp_path, make_recordings(tmp_path / "rec", emotions=["angry", "sad"]))
    assert result.exit_code == 0
    assert (
        "Anything new about neutral, calm, happy, fearful, disgust and surprised" in result.stdout
    )
    assert "no neutral or calm recordings" in result.stdout
    assert "angry (4)" in result.stdout
    recipe = load_recipe(tmp_path / "mine")
    masked = recipe.corpora["recordings"].masked
    assert set(masked) == {"angry", "sad"}
    assert len(masked["sad"]) == 6
    assert len(recipe.labels) == 8


def test_other_formats_sample_rates_and_long_recordings_are_read(tmp_path: Path) -> None:
    recordings = make_recordings(tmp_path / "rec", emotions=["angry", "sad"])
    pieces = []
    for number, file in enumerate(sorted(recordings.rglob("*.wav"))):
        samples, rate = soundfile.read(file, dtype="float32")
        stereo = np.stack([samples, samples], axis=1)
        suffix = ("flac", "mp3")[number % 2]
        soundfile.write(file.with_suffix(f".{suffix}"), stereo, 44_100)
        pieces += [samples, np.zeros(rate, np.float32)]
        file.unlink()
    long_recording = recordings / "anna" / "neutral" / "evening.ogg"
    long_recording.parent.mkdir()
    soundfile.write(long_recording, np.concatenate(pieces), 22_050)
    (recordings / "anna" / "neutral" / "notes.txt").write_text("nothing")
    (recordings / "anna" / "neutral" / "broken.wav").write_bytes(b"RIFF nothing")
    result = run_new(tmp_path, recordings)
    assert result.exit_code == 0, result.stderr
    assert "9 recordings" in result.stdout
    # The long recording is cut into several utterances.
    count = re.search(r"neutral (\d+)", result.stdout)
    assert count is not None
    assert int(count[1]) >= 4
    assert "1 cannot be read" in result.stdout
    assert "cannot be read: anna/neutral/broken" in result.stdout
    assert "passed over: 1 other file" in result.stdout


def test_decomposed_unicode_names_as_on_macos_are_supported(tmp_path: Path) -> None:
    for speaker in ("anna", "jürgen"):
        for emotion in ("wütend", "neutral"):
            for take in range(2):
                path = unicodedata.normalize("NFD", f"{speaker}/{emotion}/{take}.wav")
                speak(tmp_path / "rec" / path, speaker, emotion, SENTENCES[take])
    result = run_new(tmp_path, tmp_path / "rec")
    assert result.exit_code == 0, result.stderr
    assert "angry 4, neutral 4" in result.stdout or "neutral 4, angry 4" in result.stdout
    folds = json.loads((tmp_path / "mine" / "folds.json").read_text(encoding="utf-8"))
    assert folds["test_speakers"] == [["anna"], ["jürgen"]]
    (tmp_path / "rec" / "corpus.yaml").write_text("emotions: {wütend: sad}\nsex: {jürgen: m}\n")
    assert "sad 4" in run_new(tmp_path, tmp_path / "rec", "--again").stdout


def test_copies_count_once_and_a_speaker_without_clips_is_reported(tmp_path: Path) -> None:
    recordings = make_recordings(tmp_path / "rec")
    shutil.copytree(recordings / "anna", recordings / "zoe")  # the same voice under another name
    for file in (recordings / "bert" / "sad").glob("*.wav"):
        samples, rate = soundfile.read(file)
        soundfile.write(file.with_suffix(".flac"), samples, rate)
    result = run_new(tmp_path, recordings)
    assert result.exit_code == 0
    assert "12 recordings" in result.stdout
    assert "2 same name as another clip" in result.stdout
    assert "6 same audio as another clip" in result.stdout
    assert "no recording is left: zoe" in result.stdout


@pytest.mark.parametrize(
    ("speakers", "emotions", "takes", "complaint"),
    [
        (["anna"], ["sad"], 3, "nothing to tell apart"),
        (["anna"], ["sad", "angry"], 1, "none can be held out"),
        ([], [], 0, "folders such as"),
    ],
)
def test_recordings_with_nothing_to_learn_from_are_rejected(
    tmp_path: Path, speakers: Sequence[str], emotions: Sequence[str], takes: int, complaint: str
) -> None:
    recordings = tmp_path / "rec"
    recordings.mkdir()
    result = run_new(tmp_path, make_recordings(recordings, speakers, emotions, takes))
    assert result.exit_code in {2, 66}
    assert complaint in result.stderr
    assert not (tmp_path / "mine" / "recipe.yaml").exists()


def test_command_line_mistakes_are_reported(tmp_path: Path) -> None:
    recordings = make_recordings(tmp_path / "rec", takes=1)
    for arguments, code, complaint in (
        (("new", "default", recordings), 2, "comes with serd"),
        (("new", "My Voices", recordings), 2, "small letters"),
        (("new", "mine", tmp_path / "nowhere"), 66, "nowhere"),
        (("new", "mine", recordings, "--base", "best"), 78, "best"),
        (("tune", tmp_path / "nowhere"), 2, "serd-train new"),
        (("tune", ROOT / "training" / "recipes" / "default.yaml"), 2, "one's own recordings"),
    ):
        result = run(*arguments)
        assert result.exit_code == code, result.stderr
        assert complaint in result.stderr
    assert run_new(tmp_path, recordings).exit_code == 0
    release = run("release", "--recipe", tmp_path / "mine")
    assert release.exit_code == 2
    assert "serd-train tune" in release.stderr
    again = run_new(tmp_path, recordings)
    assert again.exit_code == 2
    assert "--again" in again.stderr
    recipe = tmp_path / "mine" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("peak_rate", "peek_rate"))
    wrong = run("tune", tmp_path / "mine")
    assert wrong.exit_code == 78
    assert "recipe.yaml, line" in wrong.stderr
    assert "optimiser.peek_rate" in wrong.stderr
    assert "did you mean peak_rate?" in wrong.stderr


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("tensorflow", ["new", "mine", "rec"]),
        ("joblib", ["tune", "mine"]),
        ("joblib", ["prepare", "--recipe", "mine"]),
        ("matplotlib", ["inspect", "rec/anna/sad/0.wav", "--out", "drawn"]),
    ],
)
def test_a_missing_package_is_reported_with_the_remedy(
    tmp_path: Path, missing: str, arguments: list[str]
) -> None:
    assert run_new(tmp_path, make_recordings(tmp_path / "rec", takes=1)).exit_code == 0
    # A module that is None in sys.modules cannot be imported.
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from training.cli.main import main; main({arguments!r})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 69, result.stderr
    assert "Traceback" not in result.stderr
    assert f"This needs {missing}, which is not installed" in result.stderr
    assert "pip install -e '.[train]'" in result.stderr


def test_the_recipe_page_matches_the_schema() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert run("schema").stdout == page
    assert page.count("\n| `") > 90


def clips(
    labels: Sequence[str], emotions: Sequence[str], confidence: float, *, wrong: int = 0
) -> list[ClipScores]:
    """A network's scores for twelve clips of each emotion, ``wrong`` of them misclassified."""
    rest = np.log((1.0 - confidence) / (len(labels) - 1))
    return [
        ClipScores(
            corpus="recordings", name=f"{emotion}/{number}", speaker="anna", emotion=emotion,
            logs=tuple(
                np.log(confidence)
                if label == emotions[(place + (number < wrong)) % len(emotions)]
                else rest
                for label in labels
            ),
        )
        for place, emotion in enumerate(emotions)
        for number in range(12)
    ]  # fmt: skip


def test_household_settings_are_carried_over_and_only_measured_figures_are_stated() -> None:
    base = load_start_model("default")
    assert base.info.home is not None
    recipe = msgspec.structs.replace(load_recipe("default"), labels=base.labels)
    few = calibrate_tuned(recipe, base, clips(base.labels, ["sad"], 0.9), [], strangers=True)
    assert not few.fitted
    assert few.temperature == base.info.temperature
    assert few.thresholds == "carried over"
    assert few.home is not None
    for name in SENSITIVITIES:
        point = few.home.sensitivity[name]
        assert point.threshold == base.info.home.sensitivity[name].threshold
        assert point.events_per_hour is None
        assert point.recall is not None
    # Thresholds that are carried over keep the calibration for which they were chosen.
    scored = clips(base.labels, ["sad", "angry", "neutral"], 0.9)
    many = calibrate_tuned(recipe, base, scored, [], strangers=True)
    assert not many.fitted
    assert many.home is not None
    assert many.home.bias == base.info.home.bias


def test_thresholds_are_chosen_on_everyday_speech_if_there_is_enough() -> None:
    base = load_start_model("default")
    recipe = msgspec.structs.replace(load_recipe("default"), labels=base.labels)
    scored = clips(base.labels, ["sad", "angry", "neutral"], 0.6, wrong=3)

    def talk(confidence: float) -> RecordingScores:
        angry = clips(base.labels, ["angry"], confidence)[0].logs
        said = UtteranceScores(start_s=0.0, end_s=2.0, logs=angry)
        return RecordingScores(
            source="tv", kind="talk", language="-", name=str(confidence), duration_s=120.0,
            utterances=(said,),
        )  # fmt: skip

    # Everything sounds angry, with increasing confidence.
    speech = [talk(0.6 + 0.013 * more) for more in range(30)]
    assert base.info.home is not None
    base_threshold = base.info.home.sensitivity["normal"].threshold
    some = calibrate_tuned(recipe, base, scored, [talk(0.999)] * 5, strangers=True)
    assert some.thresholds == "carried over"
    assert some.home is not None
    assert some.home.sensitivity["normal"].threshold == base_threshold
    assert some.home.sensitivity["normal"].events_per_hour == 30.0
    much = calibrate_tuned(recipe, base, scored, speech, strangers=True)
    assert much.thresholds == "chosen"
    assert much.fitted
    # For known voices it must not become more confident than the base model.
    certain = clips(base.labels, ["sad", "angry", "neutral"], 0.9)
    known = calibrate_tuned(recipe, base, certain, speech, strangers=False)
    assert known.temperature == base.info.temperature
    unknown = calibrate_tuned(recipe, base, certain, speech, strangers=True)
    assert unknown.temperature < base.info.temperature
    assert much.home is not None
    for name, limit in zip(SENSITIVITIES, (2.0, 5.0, 15.0), strict=True):
        rate = much.home.sensitivity[name].events_per_hour
        assert rate is not None
        assert rate <= limit


def test_a_base_model_without_household_settings_gives_a_model_without_them() -> None:
    base = load_start_model("default-1.4")
    assert base.info.home is None
    recipe = msgspec.structs.replace(load_recipe("default"), labels=base.labels)
    calibrated = calibrate_tuned(recipe, base, clips(base.labels, ["sad"], 0.9), [], strangers=True)
    assert calibrated.home is None
    assert calibrated.thresholds == "one"
    assert calibrated.abstain_threshold == base.info.abstain_threshold
