"""From somebody's own recordings to a model of their own: espeak-ng's voices are the family."""

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
MANNERS = {
    "angry": ("-p", "75", "-s", "220", "-a", "180"),
    "wütend": ("-p", "75", "-s", "220", "-a", "180"),
    "sad": ("-p", "15", "-s", "95", "-a", "60"),
    "neutral": ("-p", "45", "-s", "150"),
}
SENTENCES = ("the kids are talking by the door", "I will be back in the evening", "it is late")


def speak(file: Path, voice: str, manner: str, text: str) -> Path:
    """A sentence as a WAV file, 22 050 Hz."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = ["espeak-ng", "-v", VOICES[voice], *MANNERS[manner], "-w", str(file), text]
    subprocess.run(command, check=True, timeout=60)
    return file


def family(
    folder: Path,
    speakers: Iterable[str] = ("anna", "bert"),
    manners: Iterable[str] = ("angry", "sad", "neutral"),
    takes: int = 2,
) -> Path:
    """Recordings in ``speaker/emotion`` folders."""
    for speaker in speakers:
        for manner in manners:
            for take in range(takes):
                text = f"{SENTENCES[take % 3]} {'now ' * (take // 3)}"
                speak(folder / speaker / manner / f"{take}.wav", speaker, manner, text)
    return folder


def run(*arguments: object) -> Result:
    """``serd-train`` in this process; never a traceback."""
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def begin(tmp_path: Path, recordings: Path, *more: object) -> Result:
    return run("new", "mine", recordings, "--into", tmp_path / "mine", "--jobs", 1, *more)


def commands_of_the_page() -> list[str]:
    """The commands of docs/training.md by which a model of one's own is made and tried."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = page.split("## A model of your own\n")[1].split("\n## ")[0]
    found = re.findall(r"(?:^\.venv/bin/|`)(serd(?:-train)? [^`#\n]+)", section, re.MULTILINE)
    return [command.strip() for command in found if len(command.split()) > 2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_walk_of_the_page_gives_a_model_that_serd_uses(tmp_path: Path) -> None:
    family(tmp_path / "recordings", takes=3)
    family(tmp_path / "everyday", manners=["neutral"], takes=2)
    shutil.copyfile(tmp_path / "recordings/anna/sad/0.wav", tmp_path / "recording.wav")
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def walk(command: str) -> str:
        program, *arguments = command.replace("~", str(tmp_path)).split()
        module = {"serd-train": "training", "serd": "serd"}[program]
        steps = ["--steps", "4"] if "tune" in arguments else []
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments, *steps],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    commands = commands_of_the_page()
    verbs = [command.split()[:2] for command in commands]
    assert verbs == [
        ["serd-train", "new"], ["serd-train", "tune"], ["serd", "model"], ["serd", "classify"],
        ["serd-train", "tune"],
    ]  # fmt: skip
    new, tune, info, classify, everyday = commands
    assert "2 speakers (anna, bert)" in walk(new)
    said = walk(tune)
    # Both beside each other, in words; where to put it; one file.
    assert re.search(r"Of 18 utterances by people whom it had not heard, it got \d+ right", said)
    assert "with which it began, gets" in said
    model = tmp_path / "mine" / "mine.tflite"
    assert f"model.path: {model}" in said
    assert [file.name for file in tmp_path.rglob("*.tflite") if "work" not in file.parts] == [
        "mine.tflite"
    ]
    report = (tmp_path / "mine" / "report.md").read_text(encoding="utf-8")
    assert "goal" not in report.lower()
    assert "| anna |" in report
    assert "mine 1" in walk(info)
    assert "an unmeasured number of false emotional events" in walk(info)
    assert "recording.wav" in walk(classify)
    # The daemon's own way to a model: the configuration.
    config = tmp_path / "serd.yaml"
    config.write_text(f"model:\n  path: {model}\n")
    heard = walk(f"serd classify --config {config} --json {tmp_path / 'recording.wav'}")
    assert json.loads(heard.splitlines()[0])["scores"]
    classifier = Classifier.load(model)
    base = load_start_model("default").info
    assert classifier.info.home is not None
    assert base.home is not None
    assert classifier.info.home.gathering == base.home.gathering
    assert {one.name for one in base.corpora} < {one.name for one in classifier.info.corpora}
    # Fifteen minutes are not there, but the events of what is there are counted.
    said = walk(everyday)
    assert "too few to choose them by" in said
    measured = Classifier.load(model).info.home
    assert measured is not None
    assert measured.sensitivity["normal"].events_per_hour is not None
    assert measured.sensitivity["normal"].threshold == base.home.sensitivity["normal"].threshold


def test_one_speaker_gets_clips_held_out_and_is_told(tmp_path: Path) -> None:
    done = begin(tmp_path, family(tmp_path / "rec", ["anna"], takes=3))
    assert done.exit_code == 0
    assert "1 speaker (anna)" in done.stdout
    assert "of voices that it has" in done.stdout
    assert "all recordings are of one speaker (anna)" in done.stdout
    folds = json.loads((tmp_path / "mine" / "folds.json").read_text())
    held_out = [name for fold in folds["test_clips"] for name in fold]
    assert len(held_out) == len(set(held_out)) == 9
    assert all(len({name.split("/")[1] for name in fold}) > 1 for fold in folds["test_clips"])


def test_two_classes_leave_the_others_as_they_were(tmp_path: Path) -> None:
    done = begin(tmp_path, family(tmp_path / "rec", manners=["angry", "sad"]))
    assert done.exit_code == 0
    assert "Anything new about neutral, calm, happy, fearful, disgust and surprised" in done.stdout
    assert "no neutral or calm recordings" in done.stdout
    assert "angry (4)" in done.stdout
    recipe = load_recipe(tmp_path / "mine")
    masked = recipe.corpora["recordings"].masked
    assert set(masked) == {"angry", "sad"}
    assert len(masked["sad"]) == 6
    assert len(recipe.labels) == 8


def test_other_formats_rates_and_long_recordings(tmp_path: Path) -> None:
    recordings = family(tmp_path / "rec", manners=["angry", "sad"])
    pieces = []
    for number, file in enumerate(sorted(recordings.rglob("*.wav"))):
        samples, rate = soundfile.read(file, dtype="float32")
        stereo = np.stack([samples, samples], axis=1)
        ending = ("flac", "mp3")[number % 2]
        soundfile.write(file.with_suffix(f".{ending}"), stereo, 44_100)
        pieces += [samples, np.zeros(rate, np.float32)]
        file.unlink()
    long = recordings / "anna" / "neutral" / "evening.ogg"
    long.parent.mkdir()
    soundfile.write(long, np.concatenate(pieces), 22_050)
    (recordings / "anna" / "neutral" / "notes.txt").write_text("nothing")
    (recordings / "anna" / "neutral" / "broken.wav").write_bytes(b"RIFF nothing")
    done = begin(tmp_path, recordings)
    assert done.exit_code == 0, done.stderr
    assert "9 recordings" in done.stdout
    # The evening is several utterances.
    count = re.search(r"neutral (\d+)", done.stdout)
    assert count is not None
    assert int(count[1]) >= 4
    assert "1 cannot be read" in done.stdout
    assert "cannot be read: anna/neutral/broken" in done.stdout
    assert "passed over: 1 other file" in done.stdout


def test_names_as_macos_writes_them(tmp_path: Path) -> None:
    for speaker in ("anna", "jürgen"):
        for manner in ("wütend", "neutral"):
            for take in range(2):
                path = unicodedata.normalize("NFD", f"{speaker}/{manner}/{take}.wav")
                speak(tmp_path / "rec" / path, speaker, manner, SENTENCES[take])
    done = begin(tmp_path, tmp_path / "rec")
    assert done.exit_code == 0, done.stderr
    assert "angry 4, neutral 4" in done.stdout or "neutral 4, angry 4" in done.stdout
    folds = json.loads((tmp_path / "mine" / "folds.json").read_text(encoding="utf-8"))
    assert folds["test_speakers"] == [["anna"], ["jürgen"]]
    (tmp_path / "rec" / "corpus.yaml").write_text("emotions: {wütend: sad}\nsex: {jürgen: m}\n")
    assert "sad 4" in begin(tmp_path, tmp_path / "rec", "--again").stdout


def test_copies_count_once_and_a_lost_speaker_is_told(tmp_path: Path) -> None:
    recordings = family(tmp_path / "rec")
    shutil.copytree(recordings / "anna", recordings / "zoe")  # the same voice by another name
    for file in (recordings / "bert" / "sad").glob("*.wav"):
        samples, rate = soundfile.read(file)
        soundfile.write(file.with_suffix(".flac"), samples, rate)
    done = begin(tmp_path, recordings)
    assert done.exit_code == 0
    assert "12 recordings" in done.stdout
    assert "2 same name as another clip" in done.stdout
    assert "6 same audio as another clip" in done.stdout
    assert "no recording is left: zoe" in done.stdout


@pytest.mark.parametrize(
    ("speakers", "manners", "takes", "complaint"),
    [
        (["anna"], ["sad"], 3, "nothing to tell apart"),
        (["anna"], ["sad", "angry"], 1, "none can be held out"),
        ([], [], 0, "folders such as"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(
    tmp_path: Path, speakers: Sequence[str], manners: Sequence[str], takes: int, complaint: str
) -> None:
    recordings = tmp_path / "rec"
    recordings.mkdir()
    done = begin(tmp_path, family(recordings, speakers, manners, takes))
    assert done.exit_code in {2, 66}
    assert complaint in done.stderr
    assert not (tmp_path / "mine" / "recipe.yaml").exists()


def test_mistakes_of_the_command_line_are_told(tmp_path: Path) -> None:
    recordings = family(tmp_path / "rec", takes=1)
    for arguments, code, complaint in (
        (("new", "default", recordings), 2, "comes with serd"),
        (("new", "My Voices", recordings), 2, "small letters"),
        (("new", "mine", tmp_path / "nowhere"), 66, "nowhere"),
        (("new", "mine", recordings, "--base", "best"), 78, "best"),
        (("tune", tmp_path / "nowhere"), 2, "serd-train new"),
        (("tune", ROOT / "training" / "recipes" / "default.yaml"), 2, "one's own recordings"),
    ):
        done = run(*arguments)
        assert done.exit_code == code, done.stderr
        assert complaint in done.stderr
    assert begin(tmp_path, recordings).exit_code == 0
    release = run("release", "--recipe", tmp_path / "mine")
    assert release.exit_code == 2
    assert "serd-train tune" in release.stderr
    again = begin(tmp_path, recordings)
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
def test_a_missing_package_is_a_sentence_with_the_remedy(
    tmp_path: Path, missing: str, arguments: list[str]
) -> None:
    assert begin(tmp_path, family(tmp_path / "rec", takes=1)).exit_code == 0
    # What is None in sys.modules cannot be imported.
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from training.cli.main import main; main({arguments!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 69, done.stderr
    assert "Traceback" not in done.stderr
    assert f"This needs {missing}, which is not installed" in done.stderr
    assert "pip install -e '.[train]'" in done.stderr


def test_the_page_about_recipes_is_that_of_the_schema() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert run("schema").stdout == page
    assert page.count("\n| `") > 90


def clips(
    labels: Sequence[str], emotions: Sequence[str], sure: float, *, wrong: int = 0
) -> list[ClipScores]:
    """What a network heard, twelve of each emotion: how sure it is, and how often wrong."""
    rest = np.log((1.0 - sure) / (len(labels) - 1))
    return [
        ClipScores(
            corpus="recordings", name=f"{emotion}/{number}", speaker="anna", emotion=emotion,
            logs=tuple(
                np.log(sure)
                if label == emotions[(place + (number < wrong)) % len(emotions)]
                else rest
                for label in labels
            ),
        )
        for place, emotion in enumerate(emotions)
        for number in range(12)
    ]  # fmt: skip


def test_what_is_known_of_homes_is_carried_over_and_only_measured_figures_are_stated() -> None:
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
    # Thresholds that are carried over stay with the calibration that they were chosen with.
    heard = clips(base.labels, ["sad", "angry", "neutral"], 0.9)
    many = calibrate_tuned(recipe, base, heard, [], strangers=True)
    assert not many.fitted
    assert many.home is not None
    assert many.home.bias == base.info.home.bias


def test_everyday_speech_chooses_the_thresholds_if_there_is_enough_of_it() -> None:
    base = load_start_model("default")
    recipe = msgspec.structs.replace(load_recipe("default"), labels=base.labels)
    heard = clips(base.labels, ["sad", "angry", "neutral"], 0.6, wrong=3)
    # Everything that is said sounds angry to it, one thing more than the other.
    loud = [clips(base.labels, ["angry"], 0.6 + 0.013 * more)[0].logs for more in range(30)]
    speech = [
        RecordingScores(
            source="tv", kind="talk", language="-", name=str(number), duration_s=120.0,
            utterances=(UtteranceScores(start_s=0.0, end_s=2.0, logs=loud[number]),),
        )
        for number in range(30)
    ]  # fmt: skip
    assert base.info.home is not None
    usual = base.info.home.sensitivity["normal"].threshold
    some = calibrate_tuned(recipe, base, heard, speech[-5:], strangers=True)
    assert some.thresholds == "carried over"
    assert some.home is not None
    assert some.home.sensitivity["normal"].threshold == usual
    assert some.home.sensitivity["normal"].events_per_hour == 30.0
    much = calibrate_tuned(recipe, base, heard, speech, strangers=True)
    assert much.thresholds == "chosen"
    assert much.fitted
    # Of voices that it knows it may not become surer than the first model was.
    certain = clips(base.labels, ["sad", "angry", "neutral"], 0.9)
    known = calibrate_tuned(recipe, base, certain, speech, strangers=False)
    assert known.temperature == base.info.temperature
    strange = calibrate_tuned(recipe, base, certain, speech, strangers=True)
    assert strange.temperature < base.info.temperature
    assert much.home is not None
    for name, most in zip(SENSITIVITIES, (2.0, 5.0, 15.0), strict=True):
        rate = much.home.sensitivity[name].events_per_hour
        assert rate is not None
        assert rate <= most


def test_a_base_without_a_home_gives_a_model_without_one() -> None:
    base = load_start_model("default-1.4")
    assert base.info.home is None
    recipe = msgspec.structs.replace(load_recipe("default"), labels=base.labels)
    settled = calibrate_tuned(recipe, base, clips(base.labels, ["sad"], 0.9), [], strangers=True)
    assert settled.home is None
    assert settled.thresholds == "one"
    assert settled.abstain_threshold == base.info.abstain_threshold
