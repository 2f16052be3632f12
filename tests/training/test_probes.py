"""Conditions do what they say, and a probe hears what the daemon hears."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from serd.audio.file import read_mono16k
from serd.config import Config
from serd.recordings import classify_all
from serd.speech import make_vad
from tests.training.synthetic import RATE, voice
from training.corpora import Clip, read_corpus
from training.corpora.esc10 import TEST_FOLDS, TRAINING_FOLDS, read_sounds
from training.evaluate.classification import classify_clips, figures
from training.prepare import file_digest
from training.probes import CONDITIONS, probe
from training.probes.conditions import ClipClassifier, ConditionCache, apply_condition
from training.probes.distortion import (
    BAND_HZ,
    ROOMS,
    add_noise,
    add_room,
    excerpt,
    mu_law,
    opus,
    pink,
    room_response,
    speech_power,
    telephone,
    white,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DIGEST = "a" * 64


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two recordings of noise, one of them half silent."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(5)
    hiss = 0.1 * white(2 * RATE, random)
    hum = 0.2 * np.sin(2 * np.pi * 120 * np.arange(RATE) / RATE)
    paths = [folder / "hiss.wav", folder / "hum.wav"]
    soundfile.write(paths[0], hiss, RATE, subtype="FLOAT")
    soundfile.write(paths[1], np.concatenate([hum, np.zeros(RATE)]), RATE, subtype="FLOAT")
    return paths


@pytest.fixture(scope="module")
def spoken() -> NDArray[np.float32]:
    quiet = np.zeros(RATE // 2, dtype=np.float32)
    return np.concatenate([quiet, voice("05", 1, 1), quiet])


def decibels(power: float | np.floating[Any]) -> float:
    return 10 * math.log10(power)


# --------------------------------------------------------------------------- noise


def test_the_speech_level_leaves_pauses_out(spoken: NDArray[np.float32]) -> None:
    longer = np.concatenate([spoken, np.zeros(5 * RATE, dtype=np.float32)])
    bare = float(np.mean(voice("05", 1, 1).astype(np.float64) ** 2))
    assert decibels(speech_power(spoken)) == pytest.approx(decibels(bare), abs=0.5)
    assert decibels(speech_power(longer)) == pytest.approx(decibels(bare), abs=0.5)
    assert speech_power(np.zeros(RATE, dtype=np.float32)) == 0.0


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0])
def test_the_noise_has_the_stated_distance(snr_db: float, spoken: NDArray[np.float32]) -> None:
    mixed = add_noise(spoken, white(len(spoken), np.random.default_rng(1)), snr_db)
    added = mixed.astype(np.float64) - spoken
    # Measured without the code under test: the voice is where it was put.
    said = spoken[RATE // 2 : -RATE // 2].astype(np.float64)
    assert decibels(np.mean(said**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.5)


def test_silence_stays_silence() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    assert not add_noise(silence, white(RATE, np.random.default_rng(1)), 10.0).any()


def test_an_excerpt_is_never_a_recordings_padding() -> None:
    random = np.random.default_rng(2)
    mostly_silent = np.concatenate([np.zeros(9 * RATE), 0.1 * white(RATE, random)]).astype("f")
    for _ in range(20):
        stretch = excerpt([mostly_silent], RATE // 2, random)
        assert len(stretch) == RATE // 2
        assert decibels(np.mean(stretch**2)) == pytest.approx(-20.0, abs=0.5)
    with pytest.raises(ValueError, match="silence"):
        excerpt([np.zeros(RATE, dtype=np.float32)], RATE, random)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    power = np.abs(np.fft.rfft(pink(1 << 18, np.random.default_rng(3)))) ** 2
    hertz = np.fft.rfftfreq(1 << 18, 1 / RATE)
    low = power[(hertz > 500) & (hertz < 700)].mean()
    high = power[(hertz > 4000) & (hertz < 5600)].mean()
    assert decibels(low / high) == pytest.approx(9.0, abs=0.5)


# --------------------------------------------------------------------------- rooms


def reverberation_s(response: NDArray[np.float32]) -> float:
    """Schroeder's integration, the fall from -5 to -25 dB (T20): not the one the code uses."""
    energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    fall = 10 * np.log10(energy / energy[0])
    return float(3 * (np.argmax(fall < -25) - np.argmax(fall < -5)) / RATE)


@pytest.mark.parametrize("rt60_s", [0.3, 0.6])
def test_rooms_have_the_stated_reverberation(rt60_s: float) -> None:
    for room in ROOMS:
        measured = reverberation_s(room_response(room, rt60_s))
        assert measured == pytest.approx(rt60_s, rel=0.2), room


def test_a_room_begins_with_the_direct_sound_and_keeps_the_peak(
    spoken: NDArray[np.float32],
) -> None:
    response = room_response(ROOMS[0], 0.3)
    assert np.argmax(np.abs(response)) == 0
    wet = add_room(spoken, response)
    assert len(wet) == len(spoken) + len(response) - 1
    assert np.abs(wet).max() == pytest.approx(np.abs(spoken).max(), rel=1e-5)
    assert np.abs(wet[len(spoken) - RATE // 2 :]).max() > 0.01  # what was silent has a tail
    assert not add_room(np.zeros(RATE, dtype=np.float32), response).any()


def test_every_room_holds_its_speaker_and_its_microphone() -> None:
    for room in ROOMS:
        for place in (room.speaker, room.microphone):
            assert all(0.3 < at < end - 0.3 for at, end in zip(place, room.size, strict=True))
        assert 1.0 < room.distance < 3.5


# --------------------------------------------------------------------------- lines and coders


def test_a_telephone_has_the_band_of_a_telephone() -> None:
    sent = 0.2 * white(4 * RATE, np.random.default_rng(4))
    got = telephone(sent)
    assert len(got) == len(sent)
    hertz = np.fft.rfftfreq(len(sent), 1 / RATE)
    ratio = np.abs(np.fft.rfft(got)) ** 2 / np.mean(np.abs(np.fft.rfft(sent)) ** 2)
    inside = ratio[(hertz > BAND_HZ[0] + 50) & (hertz < BAND_HZ[1] - 50)].mean()
    below = ratio[(hertz > 20) & (hertz < BAND_HZ[0] - 100)].mean()
    above = ratio[(hertz > BAND_HZ[1] + 100)].mean()
    assert decibels(inside) == pytest.approx(0.0, abs=0.5)
    assert decibels(below) < -25  # what is left there is the noise of 8 bits
    assert decibels(above) < -25


def test_mu_law_knows_255_steps() -> None:
    every = mu_law(np.linspace(-1.2, 1.2, 100_001))
    assert len(np.unique(every)) == 255
    assert every.min() == pytest.approx(-1.0)
    assert every.max() == pytest.approx(1.0)
    small = np.array([0.01])
    assert abs(mu_law(small) - small)[0] < 0.0004


def test_opus_keeps_length_and_place(spoken: NDArray[np.float32]) -> None:
    decoded = opus(spoken)
    assert len(decoded) == len(spoken)
    shift = np.argmax(np.correlate(decoded, spoken, mode="full")) - (len(spoken) - 1)
    assert abs(shift) < 16
    assert not np.array_equal(decoded, spoken)


def test_quiet_is_30_db_and_16_bits(spoken: NDArray[np.float32]) -> None:
    got = apply_condition("quiet", spoken, clip_digest=DIGEST, seed=0)
    assert decibels(speech_power(got) / speech_power(spoken)) == pytest.approx(-30.0, abs=0.1)
    np.testing.assert_array_equal(got * 32768, np.rint(got * 32768))


# --------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_depends_on_clip_and_seed_alone(
    name: str, spoken: NDArray[np.float32], noises: list[Path]
) -> None:
    recordings = [read_mono16k(path) for path in noises]

    def changed(digest: str, seed: int) -> NDArray[np.float32]:
        return apply_condition(name, spoken, clip_digest=digest, seed=seed, noises=recordings)

    first = changed(DIGEST, 0)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1.0
    np.testing.assert_array_equal(first, changed(DIGEST, 0))
    if name == "clean":
        np.testing.assert_array_equal(first, spoken)
    else:
        assert first.shape != spoken.shape or not np.array_equal(first, spoken)
    if name.startswith(("noise", "white")):
        assert not np.array_equal(first, changed("b" * 64, 0))
        assert not np.array_equal(first, changed(DIGEST, 1))


def test_what_is_too_loud_is_turned_down_as_a_whole(noises: list[Path]) -> None:
    loud = np.clip(5 * voice("05", 1, 1), -1, 1)
    recordings = [read_mono16k(path) for path in noises]
    got = apply_condition("noise-5db", loud, clip_digest=DIGEST, seed=0, noises=recordings)
    assert np.abs(got).max() == pytest.approx(1.0)
    assert (np.abs(got) == 1.0).sum() < 5


@pytest.mark.parametrize("condition", ["clean", "noise-10db", "room-0.3s", "quiet"])
def test_in_memory_is_what_serd_classify_says_of_a_file(
    condition: str,
    synthetic_corpora: Path,
    noises: list[Path],
    tiny_model_path: Path,
    tmp_path: Path,
) -> None:
    clips = read_corpus("ravdess", synthetic_corpora).clips[:6]
    hearing = ConditionCache(
        ClipClassifier(tiny_model_path).features, [condition], noises=noises, cache=tmp_path
    )
    recordings = [read_mono16k(path) for path in noises]
    written = []
    for clip in clips:
        changed = apply_condition(
            condition,
            read_mono16k(clip.path),
            clip_digest=file_digest(clip.path),
            seed=0,
            noises=recordings,
        )
        written.append(tmp_path / clip.path.name)
        soundfile.write(written[-1], changed, RATE, subtype="FLOAT")
    config = Config()
    config = type(config)(model=type(config.model)(path=str(tiny_model_path)))
    judge = ClipClassifier(tiny_model_path)
    for clip, result in zip(clips, classify_all(written, config, whole=True), strict=True):
        prediction = judge.judge(hearing.power(clip, condition))
        # A written file goes through the high-pass once more.
        assert prediction.scores == pytest.approx(result.utterances[0].scores, abs=0.05)


def test_a_probe_counts_each_corpus_and_its_clean_figures_are_those_of_the_card(
    synthetic_corpora: Path, noises: list[Path], tiny_model_path: Path, tmp_path: Path
) -> None:
    clips = list(read_corpus("ravdess", synthetic_corpora).clips)
    steps: list[tuple[str, int, int]] = []
    result = probe(
        tiny_model_path,
        clips,
        noise_clips=noises,
        conditions=["noise-10db", "telephone"],
        cache=tmp_path,
        progress=lambda *step: steps.append(step),
    )
    found = result["corpora"]["ravdess"]
    assert list(found["conditions"]) == ["clean", "noise-10db", "telephone"]
    assert found["clips"] == len(clips)
    card = figures(classify_clips(tiny_model_path, clips), coverage=0.7)
    for key, value in found["conditions"]["clean"].items():
        assert value == card[key]
    assert steps[-1] == ("judge", len(clips), len(clips))
    # From the cache, in another order and by two processes: the same to the last digit.
    again = probe(
        tiny_model_path,
        clips[::-1],
        noise_clips=noises,
        conditions=["telephone", "noise-10db"],
        cache=tmp_path,
        jobs=2,
    )
    other = again["corpora"]["ravdess"]["conditions"]
    for name, of_condition in found["conditions"].items():
        for key in ("accuracy", "uar", "recall"):
            assert other[name][key] == of_condition[key]


def test_digital_silence_is_undecided(tiny_model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "03-01-01-01-01-01-01.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    clip = Clip(path=path, corpus="ravdess", speaker="01", emotion="neutral")
    judge = ClipClassifier(tiny_model_path)
    hearing = ConditionCache(judge.features, ["clean"], cache=tmp_path)
    prediction = judge.judge(hearing.power(clip, "clean"))
    assert prediction.emotion == "uncertain"
    assert len({score for score in prediction.scores.values() if score}) == 1


# --------------------------------------------------------------------------- sounds


def write_sounds(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_no_sound_is_heard_in_training_and_in_a_test(tmp_path: Path) -> None:
    assert not set(TRAINING_FOLDS) & set(TEST_FOLDS)
    assert set(TRAINING_FOLDS) | set(TEST_FOLDS) == {1, 2, 3, 4, 5}
    write_sounds(tmp_path / "ESC-10" / "001 - Dog bark", [f"{n}-100-A.ogg" for n in range(1, 6)])
    write_sounds(tmp_path / "ESC-10" / "rain", [f"{n}-200-B.ogg" for n in range(1, 6)])
    training, test = read_sounds(tmp_path, TRAINING_FOLDS), read_sounds(tmp_path)
    assert not {sound.path for sound in training} & {sound.path for sound in test}
    assert {sound.kind for sound in test} == {"dog_bark", "rain"}
    assert {sound.fold for sound in training} == set(TRAINING_FOLDS)
    assert {sound.fold for sound in test} == set(TEST_FOLDS)


def test_sounds_named_as_in_esc_50(tmp_path: Path) -> None:
    write_sounds(tmp_path / "esc10" / "audio", ["5-9032-A-0.wav", "3-1-A-20.wav", "5-1-A-49.wav"])
    assert {(sound.kind, sound.fold) for sound in read_sounds(tmp_path)} == {
        ("dog_bark", 5),
        ("baby_cry", 3),
    }


def test_the_detector_hears_a_made_up_voice() -> None:
    """What the tests above lean on."""
    vad = make_vad(Config().speech)
    frames = np.rint(voice("05", 1, 1)[: 480 * 25] * 20_000).astype(np.int16).reshape(-1, 480)
    assert sum(vad.is_speech(frame) for frame in frames) > 15
