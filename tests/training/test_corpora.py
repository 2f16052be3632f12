from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.errors import InputError, UsageError
from training.corpora import content_duplicates, corpora_root, read_corpus

if TYPE_CHECKING:
    from pathlib import Path


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_ravdess_file_names_become_clips_and_other_files_are_counted(tmp_path: Path) -> None:
    touch(
        tmp_path / "RAVDESS",
        "Actor_01/03-01-05-02-01-01-01.wav",
        "Actor_02/03-01-08-01-02-02-02.flac",
        "Actor_02/03-02-05-01-01-01-02.wav",  # song
        "Actor_02/01-01-05-01-01-01-02.wav",  # with video
        "Actor_07/03-01-03-01-02-01-07.wav",
        "Actor_07/03-01-03-01-02-02-07.wav",  # the same recording again
        "Actor_07/take two.wav",
        "Actor_07/notes.txt",
    )
    corpus = read_corpus("ravdess", tmp_path)
    found = {clip.name: (clip.speaker, clip.sex, clip.emotion) for clip in corpus.clips}
    assert found == {
        "03-01-05-02-01-01-01": ("01", "m", "angry"),
        "03-01-08-01-02-02-02": ("02", "f", "surprised"),
        "03-01-03-01-02-01-07": ("07", "m", "happy"),
    }
    assert corpus.left_out == {
        "song or video, not speech": 2,
        "same audio as another clip": 1,
        "not named as RAVDESS names its files": 1,
    }


def test_crema_d_has_sexes_and_votes_and_mislabelled_clips_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "CREMA-D"
    touch(
        root,
        "1001_IEO_ANG_HI.opus",
        "1002_DFA_NEU_XX.opus",
        "1006_TIE_HAP_XX.opus",
        "1006_TIE_NEU_XX.opus",
        "1002_DFA_BOR_XX.opus",
    )
    (root / "speakers.csv").write_text("speaker,age,sex\n1001,51,Male\n1002,21,Female\n")
    (root / "voice_votes.csv").write_text(
        "clip,anger,disgust,fear,happy,neutral,sad,raters\n1001_IEO_ANG_HI,6,0,0,0,2,0,8\n"
    )
    corpus = read_corpus("crema_d", tmp_path)
    angry, neutral = corpus.clips
    assert (angry.speaker, angry.sex, angry.emotion) == ("1001", "m", "angry")
    assert angry.votes is not None
    assert angry.votes["angry"] == 0.75
    assert sum(angry.votes.values()) == 1.0
    assert (neutral.sex, neutral.votes) == ("f", None)
    assert corpus.left_out == {"same audio under different labels": 2, "unknown emotion": 1}


def test_the_original_speaker_table_of_crema_d_is_supported(tmp_path: Path) -> None:
    touch(tmp_path / "crema_d", "AudioWAV/1002_DFA_NEU_XX.wav")
    table = tmp_path / "crema_d" / "VideoDemographics.csv"
    table.write_text("ActorID,Age,Sex,Race,Ethnicity\n1002,21,Female,Caucasian,Not Hispanic\n")
    assert read_corpus("crema_d", tmp_path).clips[0].sex == "f"


def test_emodb_boredom_is_left_out_and_counted(tmp_path: Path) -> None:
    touch(tmp_path / "emodb", "03a01Fa.wav", "08a01La.wav", "08b02Wb.wav")
    corpus = read_corpus("emodb", tmp_path)
    assert [(clip.speaker, clip.sex, clip.emotion) for clip in corpus.clips] == [
        ("03", "m", "happy"),
        ("08", "f", "angry"),
    ]
    assert corpus.left_out == {"boredom: not one of the eight classes": 1}


def test_of_identical_audio_one_clip_is_kept_or_none_if_the_labels_differ(tmp_path: Path) -> None:
    names = ["1001_IEO_ANG_HI", "1001_IEO_ANG_LO", "1001_TIE_SAD_XX", "1001_TIE_HAP_XX"]
    touch(tmp_path / "crema_d", *(f"{name}.wav" for name in names), "1001_WSI_SAD_XX.wav")
    corpus = read_corpus("crema_d", tmp_path)
    digests = dict(zip(names, "aabb", strict=True)) | {"1001_WSI_SAD_XX": "c"}
    unwanted = content_duplicates(corpus.clips, digests)
    assert unwanted == {
        "1001_IEO_ANG_LO": "same audio as another clip",
        "1001_TIE_SAD_XX": "same audio under different labels",
        "1001_TIE_HAP_XX": "same audio under different labels",
    }
    rest = corpus.without(unwanted)
    assert [clip.name for clip in rest.clips] == ["1001_IEO_ANG_HI", "1001_WSI_SAD_XX"]
    assert rest.left_out == {
        "same audio as another clip": 1,
        "same audio under different labels": 2,
    }


def test_clips_of_unsupported_classes_are_left_out_and_counted(tmp_path: Path) -> None:
    touch(tmp_path / "crema_d", "1001_IEO_ANG_HI.wav", "1001_TIE_SAD_XX.wav", "1002_TIE_SAD_XX.wav")
    corpus = read_corpus("crema_d", tmp_path)
    rest = corpus.of_classes({"angry", "happy"})
    assert [clip.name for clip in rest.clips] == ["1001_IEO_ANG_HI"]
    assert rest.left_out == {"sad: not a class of this model": 2}
    assert corpus.of_classes({"angry", "sad"}) == corpus


def test_missing_and_unknown_corpora_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERD_CORPORA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        corpora_root()
    assert corpora_root(tmp_path) == tmp_path
    with pytest.raises(InputError, match="ravdess"):
        read_corpus("ravdess", tmp_path)
    (tmp_path / "ravdess").mkdir()
    with pytest.raises(InputError, match="no clip"):
        read_corpus("ravdess", tmp_path)
    with pytest.raises(UsageError, match="iemocap"):
        read_corpus("iemocap", tmp_path)


@pytest.mark.corpora
def test_the_real_corpora_are_complete(real_corpora: Path) -> None:
    counts = {}
    for name in ("ravdess", "crema_d", "emodb"):
        corpus = read_corpus(name, real_corpora)
        counts[name] = (len(corpus.clips), len(corpus.speakers), len(corpus.emotions))
        assert len({clip.name for clip in corpus.clips}) == len(corpus.clips)
    assert counts == {"ravdess": (1439, 24, 8), "crema_d": (6123, 75, 6), "emodb": (454, 10, 6)}
