"""Calibration, prior and thresholds of a household, fitted on other folds than those measured."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import soundfile

from serd.model.emotions import EMOTIONS
from serd.model.metadata import Gathering
from serd.model.model_file import ModelFile
from tests.training.recipes import tiny_recipe
from tests.training.synthetic import RATE, voice, write_ravdess
from training.evaluate.calibration import fit_temperature_and_bias
from training.evaluate.household import (
    answer_of,
    decision_of,
    events_of,
    fit_household,
    hours,
    measure_household,
    rooms_of,
    sentences,
    threshold_for,
    unmeasured_home,
    usual_sound,
)
from training.evaluate.predictions import ClipScores, Predictions, RecordingScores, UtteranceScores
from training.recipe.augmentation import Sounds
from training.recipe.corpora import CorpusUse
from training.recipe.home import HabituationUse, HomeUse

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytest.importorskip("scipy")

USE = HomeUse(
    corpora=("acted",),
    ordinary_share=0.6,
    rates={"low": 10, "normal": 30, "high": 90},
    gathering=Gathering(half_life_s=15.0, weight=0.5, pause_s=60.0),
)


def acted(count: int, *, sharpness: float, seed: int) -> list[ClipScores]:
    """Clips of eight classes whose logits are ``sharpness`` times the calibrated ones."""
    random = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        truth = number % len(EMOTIONS)
        calibrated = random.normal(size=len(EMOTIONS))
        calibrated[truth] += 1.5
        # For unit normals shifted by 1.5, the log odds of the true class are 1.5 times the value.
        logits = 1.5 * calibrated * sharpness
        logs = logits - np.log(np.exp(logits).sum())
        clips.append(
            ClipScores(
                corpus="acted",
                name=str(number),
                speaker=str(number % 4),
                emotion=EMOTIONS[truth],
                logs=tuple(float(value) for value in logs),
            )
        )
    return clips


def ordinary(count: int, *, seed: int) -> list[RecordingScores]:
    """Recordings of three utterances each, mostly neutral."""
    random = np.random.default_rng(seed)
    recordings = []
    for number in range(count):
        utterances = []
        for place in range(3):
            logits = random.normal(size=len(EMOTIONS))
            logits[0] += 2.0
            logs = logits - np.log(np.exp(logits).sum())
            utterances.append(
                UtteranceScores(
                    start_s=4.0 * place,
                    end_s=4.0 * place + 3.0,
                    logs=tuple(float(value) for value in logs),
                )
            )
        recordings.append(
            RecordingScores(
                source=f"source{number % 2}",
                kind="read",
                language="en",
                name=str(number),
                duration_s=12.0,
                utterances=tuple(utterances),
            )
        )
    return recordings


def predictions(seed: int) -> Predictions:
    return Predictions(
        labels=EMOTIONS,
        clips=tuple(acted(240, sharpness=1.0, seed=seed)),
        recordings=tuple(ordinary(120, seed=seed + 100)),
    )


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_the_temperature_corrects_over_and_underconfidence(sharpness: float) -> None:
    calibration = fit_temperature_and_bias(acted(4000, sharpness=sharpness, seed=1), EMOTIONS)
    assert calibration.temperature == pytest.approx(sharpness, rel=0.12)
    assert max(abs(odds) for odds in calibration.bias.values()) < 0.3


def test_a_class_predicted_too_rarely_gets_a_positive_bias() -> None:
    clips = acted(2000, sharpness=1.0, seed=2)
    place = EMOTIONS.index("sad")

    def less_sad(clip: ClipScores) -> ClipScores:
        logs = np.array(clip.logs)
        logs[place] -= 1.0
        return msgspec.structs.replace(clip, logs=tuple(logs.tolist()))

    calibration = fit_temperature_and_bias([less_sad(clip) for clip in clips], EMOTIONS)
    assert calibration.bias["sad"] == pytest.approx(0.875, abs=0.3)


@pytest.mark.parametrize("rate", [0.0, 1.0, 5.0, 30.0, 1e9])
def test_a_threshold_allows_the_given_event_rate(rate: float) -> None:
    strengths: NDArray[np.float64] = np.random.default_rng(0).random(200)
    events = (strengths >= threshold_for(strengths, 2.0, rate)).sum()
    # The highest of these strengths is 0.998, and no threshold is above 0.999.
    assert events == min((strengths >= 0.01).sum(), int(2.0 * rate))


def test_thresholds_hold_on_unseen_recordings() -> None:
    others = [predictions(seed) for seed in (1, 2, 3)]
    fitted = fit_household(others, USE)
    thresholds = [fitted.home.sensitivity[name].threshold for name in ("low", "normal", "high")]
    assert thresholds == sorted(thresholds, reverse=True)
    measured = measure_household(predictions(4), fitted, others, 1)
    points = measured["points"]
    assert points["low"]["events"] <= points["normal"]["events"] <= points["high"]["events"]
    for name, rate in USE.rates.items():
        assert points[name]["per_hour"] <= 2.0 * rate
    assert points["normal"]["told"]["acted"]["right"] <= points["high"]["told"]["acted"]["right"]
    assert points["normal"]["ordinary_share"] > 0.5
    groups = points["normal"]["groups"]
    assert sum(groups[f"source source{n}"]["events"] for n in (0, 1)) == points["normal"]["events"]
    rates = [one["per_hour"] for one in measured["curve"].values()]
    assert rates == sorted(rates)


def test_an_emotion_that_causes_most_false_alarms_gets_a_lower_bias() -> None:
    often = EMOTIONS.index("surprised")

    def with_surprise(one: Predictions) -> Predictions:
        """Every tenth recording sounds surprised."""
        recordings = [
            msgspec.structs.replace(
                recording,
                utterances=[
                    msgspec.structs.replace(
                        utterance,
                        logs=[
                            log + 6.0 * (place == often) for place, log in enumerate(utterance.logs)
                        ],
                    )
                    for utterance in recording.utterances
                ]
                if number % 10 == 0
                else recording.utterances,
            )
            for number, recording in enumerate(one.recordings)
        ]
        return msgspec.structs.replace(one, recordings=recordings)

    folds = [predictions(seed) for seed in (1, 2, 3)]
    before, after = (
        fit_household(folds, USE).home,
        fit_household([with_surprise(one) for one in folds], USE).home,
    )
    assert after.bias["surprised"] < before.bias["surprised"] - 0.2
    others = set(EMOTIONS) - {"surprised"}
    assert {name: after.bias[name] for name in others} == {
        name: before.bias[name] for name in others
    }


def test_fitted_thresholds_do_not_depend_on_the_measured_fold() -> None:
    others = [predictions(1), predictions(2)]
    first, second = (
        measure_household(predictions(n), fit_household(others, USE), others, 1) for n in (5, 6)
    )
    for name in ("low", "normal", "high"):
        assert first["points"][name]["threshold"] == second["points"][name]["threshold"]


def test_even_scores_omit_the_home_prior_but_the_decision_applies_it() -> None:
    home = unmeasured_home(
        fit_temperature_and_bias(predictions(1).clips, EMOTIONS), USE, [0.9, 0.5, 0.3]
    )
    clip = ClipScores(
        corpus="acted",
        name="x",
        speaker="1",
        emotion="angry",
        logs=tuple(np.log([0.2, 0.05, 0.05, 0.05, 0.5, 0.05, 0.05, 0.05]).tolist()),
    )
    even = answer_of(clip, decision_of(EMOTIONS, 1.0, home, stated="even", min_confidence=0.9))
    at_home = answer_of(clip, decision_of(EMOTIONS, 1.0, home, min_confidence=0.9))
    assert even.emotion == at_home.emotion == "neutral"
    assert max(even.scores, key=even.scores.__getitem__) == "angry"
    assert even.scores["neutral"] < at_home.scores["neutral"]
    assert even.confidence == max(even.scores.values())
    assert sum(even.scores.values()) == pytest.approx(1.0)


def test_earlier_utterances_weaken_or_strengthen_an_event() -> None:
    home = unmeasured_home(
        fit_temperature_and_bias(predictions(1).clips, EMOTIONS), USE, [0.9, 0.5, 0.3]
    )
    decision = decision_of(EMOTIONS, 1.0, home)
    calm = tuple(np.log([0.65, *[0.05] * 7]).tolist())
    angry = tuple(np.log([0.05] * 4 + [0.65] + [0.05] * 3).tolist())

    def strength(*logs: tuple[float, ...]) -> float:
        recording = RecordingScores(
            source="s",
            kind="read",
            language="en",
            name="n",
            duration_s=30.0,
            utterances=tuple(
                UtteranceScores(start_s=4.0 * n, end_s=4.0 * n + 3.0, logs=one)
                for n, one in enumerate(logs)
            ),
        )
        return float(events_of([[recording]], decision, 1).strengths[-1])

    assert strength(calm, calm, angry) < strength(angry)
    assert strength(angry, angry) > strength(angry)


def lively(count: int, source: str, *, surprised: float) -> list[RecordingScores]:
    """Recordings of one voice that sounds a little surprised whatever it says."""
    return [
        msgspec.structs.replace(
            one,
            source=source,
            utterances=tuple(
                msgspec.structs.replace(heard, logs=(*heard.logs[:-1], heard.logs[-1] + surprised))
                for heard in one.utterances
            ),
        )
        for one in ordinary(count, seed=7)
    ]


def test_a_room_gets_used_to_a_lively_voice_and_the_thresholds_of_others_fall() -> None:
    assert EMOTIONS[-1] == "surprised"
    heard = predictions(1)
    heard = msgspec.structs.replace(
        heard, recordings=(*heard.recordings, *lively(60, "lively", surprised=2.5))
    )
    others = [predictions(2), predictions(3)]
    told = {}
    for habituation in (None, HabituationUse(remembered=200, half_after=10)):
        fitted = fit_household(others, msgspec.structs.replace(USE, habituation=habituation))
        assert (fitted.home.usual is None) is (habituation is None)
        measured = measure_household(heard, fitted, others, 1)
        groups = measured["points"]["high"]["groups"]
        told[habituation is not None] = groups["source lively"]["events"]
        if fitted.home.usual is not None:
            # What is typical is that of the lively voice's neighbours, not its own.
            assert set(fitted.home.usual.odds) == set(EMOTIONS) - {"neutral", "calm"}
    assert told[True] < 0.7 * told[False]


def test_each_source_of_each_network_is_a_room_of_its_own() -> None:
    rooms = rooms_of([predictions(1), predictions(2)])
    assert [room[0].source for room in rooms] == ["source0", "source1"] * 2
    assert [len(room) for room in rooms] == [60] * 4
    assert [one.name for one in rooms[1]][:2] == ["1", "3"]
    assert hours(rooms) == pytest.approx(240 * 12.0 / 3600)
    assert sentences([predictions(1)]) == rooms_of([predictions(1)])


def test_a_source_with_few_utterances_says_nothing_about_ordinary_speech() -> None:
    home = unmeasured_home(
        fit_temperature_and_bias(predictions(1).clips, EMOTIONS), USE, [0.9, 0.5, 0.3]
    )
    decision = decision_of(EMOTIONS, 1.0, home)
    use = HabituationUse(remembered=200, half_after=30)
    few, many = lively(9, "few", surprised=9.0), ordinary(60, seed=1)
    assert usual_sound([few], decision, use) is None
    assert usual_sound([few, many], decision, use) == usual_sound([many], decision, use)


@pytest.mark.slow
def test_a_cross_validated_release_has_household_settings(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    corpora = tmp_path / "corpora"
    write_ravdess(corpora / "ravdess", actors=range(1, 7), repetitions=1)
    rows = []
    for number, source in enumerate(("watson", "speechocean762")):
        for clip in range(2):
            file = corpora / "ordinary" / source / f"{clip}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            samples = np.tile(voice("01", 10 + number, clip), 2)
            soundfile.write(file, samples, RATE)
            row = [f"{source}/{clip}.wav", "read", "en", str(number), "CC0", "made up"]
            rows.append([*row, f"{len(samples) / RATE:.2f}"])
    with (corpora / "ordinary" / "manifest.csv").open("w", newline="") as manifest:
        writer = csv.writer(manifest)
        writer.writerow(["path", "kind", "language", "speaker", "licence", "origin", "duration_s"])
        writer.writerows(rows)
    sounds = corpora / "esc10" / "001 - Dog bark"
    sounds.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    for fold in (1, 2, 3):
        soundfile.write(sounds / f"{fold}-30226-A.wav", noise, RATE)
    recipe = msgspec.structs.replace(
        tiny_recipe(steps=6),
        refit=None,
        sounds=Sounds(share=0.1, as_noise=0.5),
        corpora={
            "ravdess": CorpusUse(share=0.8),
            "ordinary": CorpusUse(
                share=0.2,
                target={"neutral": 0.8},
                speakers={"watson": 1.0, "speechocean762": 1.0},
            ),
        },
        home=msgspec.structs.replace(USE, corpora=("ravdess",)),
        fold=0,
    )
    (tmp_path / "tiny.yaml").write_bytes(msgspec.yaml.encode(recipe))

    def run(*arguments: str) -> str:
        command = [
            sys.executable,
            "-m",
            "training",
            *arguments,
            "--recipe",
            str(tmp_path / "tiny.yaml"),
        ]
        command += ["--corpora", str(corpora), "--cache", str(tmp_path / "cache"), "--jobs", "1"]
        result = subprocess.run(
            [*command, "--into", str(tmp_path)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    run("folds", "--folds", "1,2", "--seeds", "1", "--runs", str(tmp_path / "folds"))
    results = tmp_path / "training" / "results"
    summary = json.loads((results / "tiny-folds.json").read_text())
    assert summary["settled"]["home"]["ordinary_share"] == 0.6
    tested = [set(one["figures"]["ravdess"]["speaker_accuracy"]) for one in summary["runs"]]
    assert not tested[0] & tested[1]
    groups = summary["household"]["points"]["normal"]["groups"]
    assert {"source watson", "source speechocean762", "household"} <= set(groups)
    run("release", "--run", str(tmp_path / "run"))
    model = ModelFile.load(tmp_path / "serd" / "model" / "data" / "tiny.tflite")
    assert model.info.home is not None
    assert model.info.temperature == summary["settled"]["temperature"]
    figures = json.loads((results / "tiny.json").read_text())
    assert figures["run"]["split"]["test"] == []
    assert figures["test"]["ravdess"]["clips"] == summary["settled"]["pooled"]["ravdess"]["clips"]
    card = (tmp_path / "docs" / "model-card-tiny.md").read_text()
    assert "## In a household" in card
    assert "The shipped file is trained on all speakers." in card
