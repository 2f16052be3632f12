from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from serd.audio.file import read_mono16k
from serd.config import SpeechConfig
from serd.errors import InputError
from serd.model.metadata import FeatureParameters
from serd.model.mfcc import MfccFrontEnd
from serd.speech import make_vad, trim_to_speech
from training.batches import clean_features
from training.corpora import Clip, read_corpus
from training.prepare import preparation_key, prepare, usable
from training.recipe.corpora import Preparation

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("joblib")

FEATURES = FeatureParameters()
SETTINGS = Preparation(speeds=(1.0, 0.88, 1.12))


def test_training_features_match_the_daemons(synthetic_corpora: Path, tmp_path: Path) -> None:
    clips = read_corpus("ravdess", synthetic_corpora).clips[:6]
    ready = prepare(clips, SETTINGS, FEATURES, cache=tmp_path, jobs=1)
    front_end = MfccFrontEnd(FEATURES)
    speech = SpeechConfig()
    for clip, actual in zip(clips, clean_features(ready, FEATURES), strict=True):
        _, voice = trim_to_speech(read_mono16k(clip.path), speech, make_vad(speech))
        # Mel power is cached in half precision, an error of a few thousandths of a dB.
        np.testing.assert_allclose(actual, front_end.features(voice), atol=0.3)
        assert np.abs(actual - front_end.features(voice)).mean() < 0.01


def test_speed_copies_have_the_expected_lengths(synthetic_corpora: Path, tmp_path: Path) -> None:
    clips = read_corpus("ravdess", synthetic_corpora).clips[:1]
    (ready,) = prepare(clips, SETTINGS, FEATURES, cache=tmp_path, jobs=1)
    plain, slow, fast = (len(copy) for copy in ready.copies)
    assert slow == pytest.approx(plain / 0.88, abs=1.5)
    assert fast == pytest.approx(plain / 1.12, abs=1.5)


def test_the_cache_is_keyed_by_content(synthetic_corpora: Path, tmp_path: Path) -> None:
    corpus = read_corpus("ravdess", synthetic_corpora)
    clips = corpus.clips[:3]
    steps: list[int] = []
    first = prepare(clips, SETTINGS, FEATURES, cache=tmp_path, jobs=1, progress=steps.append)
    assert steps == [0, 3]
    moved = tmp_path / "moved.wav"
    shutil.copyfile(clips[1].path, moved)
    renamed = [Clip(path=moved, corpus="ravdess", speaker="01", emotion="sad")]
    steps.clear()
    again = prepare(renamed, SETTINGS, FEATURES, cache=tmp_path, jobs=1, progress=steps.append)
    assert steps == [1]
    assert again[0].digest == first[1].digest
    np.testing.assert_array_equal(again[0].power(), first[1].power())


def test_the_cache_key_depends_on_the_settings() -> None:
    keys = {
        preparation_key(SETTINGS, FEATURES),
        preparation_key(Preparation(), FEATURES),
        preparation_key(SETTINGS, FeatureParameters(mel_bands=40, coefficients=40)),
    }
    assert len(keys) == 3
    normalised = FeatureParameters(mean=(1.0,) * 64, sd=(2.0,) * 64)
    assert preparation_key(SETTINGS, normalised) in keys


def test_silent_and_duplicate_clips_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "ravdess"
    folder.mkdir()
    noise = 0.1 * np.random.default_rng(0).normal(size=8000)
    for name, samples in (
        ("03-01-01-01-01-01-01", noise),
        ("03-01-01-01-01-02-01", noise),
        ("03-01-02-01-01-01-01", np.zeros(8000)),
        ("03-01-03-01-01-01-01", noise[::-1]),
        ("03-01-04-01-01-01-01", noise[::-1]),
    ):
        soundfile.write(folder / f"{name}.wav", samples, 16_000)
    corpus = read_corpus("ravdess", tmp_path)
    ready = prepare(corpus.clips, Preparation(), FEATURES, cache=tmp_path / "cache", jobs=1)
    kept, usable_clips = usable(corpus, ready)
    assert [clip.name for clip in kept.clips] == ["03-01-01-01-01-01-01"]
    assert [one.clip.name for one in usable_clips] == ["03-01-01-01-01-01-01"]
    assert kept.left_out == {
        "same audio as another clip": 1,
        "silent": 1,
        "same audio under different labels": 2,
    }


def test_unreadable_and_missing_clips_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    clip = Clip(path=tmp_path / "broken.wav", corpus="ravdess", speaker="01", emotion="sad")
    with pytest.raises(InputError, match=r"broken\.wav"):
        prepare([clip], Preparation(), FEATURES, cache=tmp_path, jobs=1)
    missing = Clip(path=tmp_path / "gone.wav", corpus="ravdess", speaker="01", emotion="sad")
    with pytest.raises(InputError, match=r"gone\.wav"):
        prepare([missing], Preparation(), FEATURES, cache=tmp_path, jobs=1)
