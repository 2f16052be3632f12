"""Probe conditions change audio as documented, and probes classify as the daemon does."""

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
    """Two noise recordings, one of them half silent."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(5)
    hiss = 0.1 * white(2 * RATE, random)
    hum = 0.2 * np.sin(2 * np.pi * 120 * np.arange(RATE) / RATE)
    paths = [folder / "hiss.wav", folder / "hum.wav"]
    soundfile.write(paths[0], hiss, RATE, subtype="FLOAT")
    soundfile.write(paths[1], np.concatenate([hum, np.zeros(RATE)]), RATE, subtype="FLOAT")
    return paths


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    quiet = np.zeros(RATE // 2, dtype=np.float32)
    return np.concatenate([quiet, voice("05", 1, 1), quiet])


def decibels(power: float | np.floating[Any]) -> float:
    return 10 * math.log10(power)


# --------------------------------------------------------------------------- noise


def test_speech_power_ignores_pauses(speech: NDArray[np.float32]) -> None:
    longer = np.concatenate([speech, np.zeros(5 * RATE, dtype=np.float32)])
    bare = float(np.mean(voice("05", 1, 1).astype(np.float64) ** 2))
    assert decibels(speech_power(speech)) == pytest.approx(decibels(bare), abs=0.5)
    assert decibels(speech_power(longer)) == pytest.approx(decibels(bare), abs=0.5)
    assert speech_power(np.zeros(RATE, dtype=np.float32)) == 0.0


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0])
def test_noise_is_added_at_the_requested_snr(snr_db: float, speech: NDArray[np.float32]) -> None:
    mixed = add_noise(speech, white(len(speech), np.random.default_rng(1)), snr_db)
    added = mixed.astype(np.float64) - speech
    # Measured independently of the code under test: the position of the voice is known.
    voiced = speech[RATE // 2 : -RATE // 2].astype(np.float64)
    assert decibels(np.mean(voiced**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.5)


def test_no_noise_is_added_to_silence() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    assert not add_noise(silence, white(RATE, np.random.default_rng(1)), 10.0).any()


def test_excerpts_avoid_silent_parts_of_a_recording() -> None:
    random = np.random.default_rng(2)
    mostly_silent = np.concatenate([np.zeros(9 * RATE), 0.1 * white(RATE, random)]).astype("f")
    for _ in range(20):
        piece = excerpt([mostly_silent], RATE // 2, random)
        assert len(piece) == RATE // 2
        assert decibels(np.mean(piece**2)) == pytest.approx(-20.0, abs=0.5)
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
    """RT60 by Schroeder integration from -5 to -25 dB (T20), which the code does not use."""
    energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    fall = 10 * np.log10(energy / energy[0])
    return float(3 * (np.argmax(fall < -25) - np.argmax(fall < -5)) / RATE)


@pytest.mark.parametrize("rt60_s", [0.3, 0.6])
def test_rooms_have_the_requested_reverberation_time(rt60_s: float) -> None:
    for room in ROOMS:
        measured = reverberation_s(room_response(room, rt60_s))
        assert measured == pytest.approx(rt60_s, rel=0.2), room


def test_a_room_response_starts_with_the_direct_sound_and_keeps_the_peak(
    speech: NDArray[np.float32],
) -> None:
    response = room_response(ROOMS[0], 0.3)
    assert np.argmax(np.abs(response)) == 0
    wet = add_room(speech, response)
    assert len(wet) == len(speech) + len(response) - 1
    assert np.abs(wet).max() == pytest.approx(np.abs(speech).max(), rel=1e-5)
    assert np.abs(wet[len(speech) - RATE // 2 :]).max() > 0.01  # a tail after the voice
    assert not add_room(np.zeros(RATE, dtype=np.float32), response).any()


def test_speaker_and_microphone_are_inside_every_room() -> None:
    for room in ROOMS:
        for place in (room.speaker, room.microphone):
            assert all(0.3 < at < end - 0.3 for at, end in zip(place, room.size, strict=True))
        assert 1.0 < room.distance < 3.5


# --------------------------------------------------------------------------- lines and coders


def test_telephone_passes_only_the_telephone_band() -> None:
    source = 0.2 * white(4 * RATE, np.random.default_rng(4))
    received = telephone(source)
    assert len(received) == len(source)
    hertz = np.fft.rfftfreq(len(source), 1 / RATE)
    ratio = np.abs(np.fft.rfft(received)) ** 2 / np.mean(np.abs(np.fft.rfft(source)) ** 2)
    inside = ratio[(hertz > BAND_HZ[0] + 50) & (hertz < BAND_HZ[1] - 50)].mean()
    below = ratio[(hertz > 20) & (hertz < BAND_HZ[0] - 100)].mean()
    above = ratio[(hertz > BAND_HZ[1] + 100)].mean()
    assert decibels(inside) == pytest.approx(0.0, abs=0.5)
    assert decibels(below) < -25  # only the 8-bit quantisation noise is left
    assert decibels(above) < -25


def test_mu_law_has_255_levels() -> None:
    levels = mu_law(np.linspace(-1.2, 1.2, 100_001))
    assert len(np.unique(levels)) == 255
    assert levels.min() == pytest.approx(-1.0)
    assert levels.max() == pytest.approx(1.0)
    small = np.array([0.01])
    assert abs(mu_law(small) - small)[0] < 0.0004


def test_opus_keeps_length_and_alignment(speech: NDArray[np.float32]) -> None:
    decoded = opus(speech)
    assert len(decoded) == len(speech)
    shift = np.argmax(np.correlate(decoded, speech, mode="full")) - (len(speech) - 1)
    assert abs(shift) < 16
    assert not np.array_equal(decoded, speech)


def test_quiet_is_30_db_lower_in_16_bits(speech: NDArray[np.float32]) -> None:
    changed = apply_condition("quiet", speech, clip_digest=DIGEST, seed=0)
    assert decibels(speech_power(changed) / speech_power(speech)) == pytest.approx(-30.0, abs=0.1)
    np.testing.assert_array_equal(changed * 32768, np.rint(changed * 32768))


# --------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_depends_only_on_clip_and_seed(
    name: str, speech: NDArray[np.float32], noises: list[Path]
) -> None:
    recordings = [read_mono16k(path) for path in noises]

    def changed(digest: str, seed: int) -> NDArray[np.float32]:
        return apply_condition(name, speech, clip_digest=digest, seed=seed, noises=recordings)

    first = changed(DIGEST, 0)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1.0
    np.testing.assert_array_equal(first, changed(DIGEST, 0))
    if name == "clean":
        np.testing.assert_array_equal(first, speech)
    else:
        assert first.shape != speech.shape or not np.array_equal(first, speech)
    if name.startswith(("noise", "white")):
        assert not np.array_equal(first, changed("b" * 64, 0))
        assert not np.array_equal(first, changed(DIGEST, 1))


def test_audio_that_would_clip_is_scaled_down_as_a_whole(noises: list[Path]) -> None:
    loud = np.clip(5 * voice("05", 1, 1), -1, 1)
    recordings = [read_mono16k(path) for path in noises]
    changed = apply_condition("noise-5db", loud, clip_digest=DIGEST, seed=0, noises=recordings)
    assert np.abs(changed).max() == pytest.approx(1.0)
    assert (np.abs(changed) == 1.0).sum() < 5


@pytest.mark.parametrize("condition", ["clean", "noise-10db", "room-0.3s", "quiet"])
def test_scores_in_memory_match_serd_classify_on_files(
    condition: str,
    synthetic_corpora: Path,
    noises: list[Path],
    tiny_model_path: Path,
    tmp_path: Path,
) -> None:
    clips = read_corpus("ravdess", synthetic_corpora).clips[:6]
    condition_cache = ConditionCache(
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
    classifier = ClipClassifier(tiny_model_path)
    for clip, result in zip(clips, classify_all(written, config, whole=True), strict=True):
        prediction = classifier.judge(condition_cache.power(clip, condition))
        # A written file passes through the high-pass filter a second time.
        assert prediction.scores == pytest.approx(result.utterances[0].scores, abs=0.05)


def test_a_probe_measures_each_corpus_and_its_clean_figures_match_the_card(
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
    of_corpus = result["corpora"]["ravdess"]
    assert list(of_corpus["conditions"]) == ["clean", "noise-10db", "telephone"]
    assert of_corpus["clips"] == len(clips)
    card = figures(classify_clips(tiny_model_path, clips), coverage=0.7)
    for key, value in of_corpus["conditions"]["clean"].items():
        assert value == card[key]
    assert steps[-1] == ("judge", len(clips), len(clips))
    # From the cache, in another order and with two processes: exactly the same figures.
    again = probe(
        tiny_model_path,
        clips[::-1],
        noise_clips=noises,
        conditions=["telephone", "noise-10db"],
        cache=tmp_path,
        jobs=2,
    )
    other = again["corpora"]["ravdess"]["conditions"]
    for name, of_condition in of_corpus["conditions"].items():
        for key in ("accuracy", "uar", "recall"):
            assert other[name][key] == of_condition[key]


def test_digital_silence_is_uncertain(tiny_model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "03-01-01-01-01-01-01.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    clip = Clip(path=path, corpus="ravdess", speaker="01", emotion="neutral")
    classifier = ClipClassifier(tiny_model_path)
    condition_cache = ConditionCache(classifier.features, ["clean"], cache=tmp_path)
    prediction = classifier.judge(condition_cache.power(clip, "clean"))
    assert prediction.emotion == "uncertain"
    assert len({score for score in prediction.scores.values() if score}) == 1


# --------------------------------------------------------------------------- sounds


def write_sounds(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_training_and_test_sounds_are_disjoint(tmp_path: Path) -> None:
    assert not set(TRAINING_FOLDS) & set(TEST_FOLDS)
    assert set(TRAINING_FOLDS) | set(TEST_FOLDS) == {1, 2, 3, 4, 5}
    write_sounds(tmp_path / "ESC-10" / "001 - Dog bark", [f"{n}-100-A.ogg" for n in range(1, 6)])
    write_sounds(tmp_path / "ESC-10" / "rain", [f"{n}-200-B.ogg" for n in range(1, 6)])
    training, test = read_sounds(tmp_path, TRAINING_FOLDS), read_sounds(tmp_path)
    assert not {sound.path for sound in training} & {sound.path for sound in test}
    assert {sound.kind for sound in test} == {"dog_bark", "rain"}
    assert {sound.fold for sound in training} == set(TRAINING_FOLDS)
    assert {sound.fold for sound in test} == set(TEST_FOLDS)


def test_esc_50_file_names_are_supported(tmp_path: Path) -> None:
    write_sounds(tmp_path / "esc10" / "audio", ["5-9032-A-0.wav", "3-1-A-20.wav", "5-1-A-49.wav"])
    assert {(sound.kind, sound.fold) for sound in read_sounds(tmp_path)} == {
        ("dog_bark", 5),
        ("baby_cry", 3),
    }


def test_the_voice_activity_detector_detects_synthetic_voices() -> None:
    """The tests above rely on this."""
    vad = make_vad(Config().speech)
    frames = np.rint(voice("05", 1, 1)[: 480 * 25] * 20_000).astype(np.int16).reshape(-1, 480)
    assert sum(vad.is_speech(frame) for frame in frames) > 15
