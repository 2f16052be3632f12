from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.errors import ConfigError, InputError, UsageError
from tests.training.synthetic import write_ravdess
from tests.training.test_corpora import touch
from training.corpora import content_duplicates, read_corpus
from training.corpora.folders import WORDS
from training.corpora.ordinary import read_recordings
from training.dataset import held_out, make_split
from training.recipe import load_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from training.corpora import Corpus


def labels_of(corpus: Corpus) -> dict[str, tuple[str, str | None, str]]:
    """Speaker, sex and emotion of each clip."""
    return {clip.name: (clip.speaker, clip.sex, clip.emotion) for clip in corpus.clips}


def test_tess_is_read_as_published_and_copies_are_counted(tmp_path: Path) -> None:
    touch(
        tmp_path / "TESS",
        "OAF_angry/OAF_back_angry.wav",
        "OAF_neutral/OA_bite_neutral.wav",  # published without the F
        "OAF_Pleasant_surprise/OAF_bar_ps.wav",
        "YAF_fear/YAF_dog_fear.wav",
        "copy/YAF_fear/YAF_dog_fear.wav",
        "YAF_bored/YAF_dog_bored.wav",
        "YAF_fear/dog.wav",
    )
    corpus = read_corpus("tess", tmp_path)
    assert labels_of(corpus) == {
        "OAF_back_angry": ("OAF", "f", "angry"),
        "OA_bite_neutral": ("OAF", "f", "neutral"),
        "OAF_bar_ps": ("OAF", "f", "surprised"),
        "YAF_dog_fear": ("YAF", "f", "fearful"),
    }
    assert corpus.speakers == ("OAF", "YAF")
    assert corpus.left_out == {
        "same name as another clip": 1,
        "unknown emotion": 1,
        "not named as TESS names its files": 1,
    }
    assert "NC" in corpus.licence


@pytest.mark.parametrize("layout", ["AudioData/{0}/{1}.wav", "{0}_{1}.wav"])
def test_savee_is_read_in_both_layouts(tmp_path: Path, layout: str) -> None:
    names = [("DC", "a01"), ("DC", "sa02"), ("JE", "a01"), ("KL", "su15"), ("KL", "n30")]
    touch(tmp_path / "savee", *(layout.format(*name) for name in names))
    touch(tmp_path / "savee", "Info.txt", layout.format("XX", "a01"), layout.format("JK", "b01"))
    corpus = read_corpus("savee", tmp_path)
    assert labels_of(corpus) == {
        "DC_a01": ("DC", "m", "angry"),
        "DC_sa02": ("DC", "m", "sad"),
        "JE_a01": ("JE", "m", "angry"),
        "KL_n30": ("KL", "m", "neutral"),
        "KL_su15": ("KL", "m", "surprised"),
    }
    assert corpus.left_out == {"not named as SAVEE names its files": 1, "unknown emotion": 1}


def test_equal_file_names_of_two_speakers_are_two_clips(tmp_path: Path) -> None:
    touch(tmp_path / "savee", "DC/a01.wav", "JE/a01.wav", "JK/a01.wav")
    corpus = read_corpus("savee", tmp_path)
    unwanted = content_duplicates(corpus.clips, {"DC_a01": "x", "JE_a01": "y", "JK_a01": "y"})
    assert unwanted == {"JK_a01": "same audio as another clip"}
    assert [clip.name for clip in corpus.without(unwanted).clips] == ["DC_a01", "JE_a01"]


def test_folder_names_give_emotion_and_speaker(tmp_path: Path) -> None:
    touch(
        tmp_path / "folders",
        "Angry/anna/1.wav",
        "Angry/anna/1.flac",
        "bert/Happiness/1.wav",
        "bert/Pleasant Surprise/1.ogg",
        "boredom/anna/1.wav",
        "stray.wav",
    )
    corpus = read_corpus("folders", tmp_path)
    assert labels_of(corpus) == {
        "Angry/anna/1": ("anna", None, "angry"),
        "bert/Happiness/1": ("bert", None, "happy"),
        "bert/Pleasant Surprise/1": ("bert", None, "surprised"),
    }
    assert corpus.left_out == {
        "unknown emotion (boredom)": 1,
        "unknown emotion (no folder)": 1,
        "same name as another clip": 1,
    }
    assert corpus.knows_speakers


def test_a_description_defines_title_speakers_and_emotion_words(tmp_path: Path) -> None:
    root = tmp_path / "kitchen"
    touch(root, "wuetend/anna_1.wav", "wuetend/bert_1.wav", "sad/anna_2.wav", "calm/anna_3.wav")
    (root / "corpus.yaml").write_text(
        "title: My kitchen\nlicence: mine\nspeaker: '/(?P<speaker>[a-z]+)_'\n"
        "sex: {anna: f}\nemotions: {wuetend: angry, calm: null}\n"
    )
    corpus = read_corpus("kitchen", tmp_path)
    assert (corpus.name, corpus.title, corpus.licence) == ("kitchen", "My kitchen", "mine")
    assert labels_of(corpus) == {
        "sad/anna_2": ("anna", "f", "sad"),
        "wuetend/anna_1": ("anna", "f", "angry"),
        "wuetend/bert_1": ("bert", None, "angry"),
    }
    assert corpus.left_out == {"unknown emotion (calm)": 1}
    assert {clip.voice for clip in corpus.clips} == {"kitchen/anna", "kitchen/bert"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "title: x\nemotions:\n  x: cross",
            "corpus.yaml, line 3: emotions.x is 'cross', which is not valid .allowed are neutral",
        ),
        ("emotion: {x: angry}", "line 1: there is no key emotion .*did you mean emotions"),
        ("title: x\nsex: {anna: q}", "line 2: sex.anna is 'q'"),
        ("title: [x]", "line 1: title is not valid"),
        ("title: x\nlicence: a: b", "line 2: not valid YAML"),
        ("- x", "line 1: this is not a description of a corpus"),
        ("title: x\nspeaker: '('", "line 2: speaker is .* no regular expression"),
        ("speaker: '([a-z]+)'", "line 1: .* no group"),
    ],
)
def test_an_invalid_description_is_rejected(tmp_path: Path, text: str, complaint: str) -> None:
    touch(tmp_path / "mine", "sad/1.wav")
    (tmp_path / "mine" / "corpus.yaml").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_corpus("mine", tmp_path)


@pytest.mark.parametrize("second", ["copy/Actor_0{actor}/{name}.wav", "Actor_0{actor}/{name}.flac"])
def test_duplicated_clips_count_once(tmp_path: Path, second: str) -> None:
    names = [(actor, f"03-01-05-01-01-01-0{actor}") for actor in (1, 2, 3)]
    touch(tmp_path / "ravdess", *(f"Actor_0{actor}/{name}.wav" for actor, name in names))
    # Two of the three speakers are duplicated; they must not be dropped.
    copies = [second.format(actor=actor, name=name) for actor, name in names[:2]]
    touch(tmp_path / "ravdess", *copies)
    corpus = read_corpus("ravdess", tmp_path)
    assert corpus.speakers == ("01", "02", "03")
    assert len(corpus.clips) == 3
    assert corpus.left_out == {"same name as another clip": 2}
    # Nor must they be when the audio is compared.
    digests = {name: "x" + name for _, name in names}
    assert corpus.without(content_duplicates(corpus.clips, digests)).speakers == corpus.speakers


def test_a_folder_without_a_description_is_not_a_corpus(tmp_path: Path) -> None:
    touch(tmp_path / "mine", "sad/1.wav")
    with pytest.raises(UsageError, match="mine"):
        read_corpus("mine", tmp_path)


def test_a_corpus_without_speakers_can_be_read_but_not_split(tmp_path: Path) -> None:
    touch(tmp_path / "folders", "sad/1.wav", "angry/1.wav")
    corpus = read_corpus("folders", tmp_path)
    assert len(corpus.clips) == 2
    assert not corpus.knows_speakers
    with pytest.raises(UsageError, match="cannot be split") as rejected:
        make_split({"folders": corpus}, fold=1, validation={})
    assert "cross_corpora" in (rejected.value.remedy or "")


def test_emotion_words_map_to_the_eight_classes() -> None:
    assert set(WORDS.values()) == {
        "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised",
    }  # fmt: skip


def test_a_corpus_without_speakers_can_be_a_cross_corpus_test(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    import msgspec

    from tests.training.recipes import tiny_recipe
    from training.dataset import load_dataset

    write_ravdess(tmp_path / "ravdess", actors=range(1, 7))
    source = next((tmp_path / "ravdess").rglob("03-01-05-*.wav"))
    touch(tmp_path, "folders/angry/1.wav")
    (tmp_path / "folders/angry/1.wav").write_bytes(source.read_bytes())
    recipe = msgspec.structs.replace(tiny_recipe(), cross_corpora=("folders",))
    material = load_dataset(recipe, tmp_path, cache=tmp_path / "cache", jobs=1)
    assert [clip.emotion for clip in material.cross["folders"].clips] == ["angry"]
    assert load_recipe("default").cross_corpora == ("emodb",)


def test_nemo_speakers_and_emotions_come_from_its_folders(tmp_path: Path) -> None:
    touch(tmp_path / "nemo", "EB0/angry/a.opus", "EB0/neutral/b.opus", "WR0/surprised/c.opus")
    touch(tmp_path / "nemo", "WR0/bored/d.opus")
    corpus = read_corpus("nemo", tmp_path)
    assert labels_of(corpus) == {
        "a": ("EB0", "f", "angry"),
        "b": ("EB0", "f", "neutral"),
        "c": ("WR0", "m", "surprised"),
    }
    assert corpus.left_out == {"not in a folder named by an emotion": 1}


def test_ordinary_speech_uses_its_sources_as_speakers(tmp_path: Path) -> None:
    folder = tmp_path / "ordinary"
    touch(folder, "watson/a.opus", "precise/b.opus", "babycry/c.opus", "rirs/d.opus")
    header = "path,kind,language,speaker,licence,origin,duration_s"
    lines = [
        "watson/a.opus,read,fr,1,Apache-2.0,somewhere,12.5",
        "precise/b.opus,command,en,2,CC0,somewhere,1.0",
        "babycry/c.opus,sound,-,3,ODbL 1.0,somewhere,5.0",
        "rirs/d.opus,rir,-,4,Apache-2.0,somewhere,0.5",
    ]
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join([header, *lines]), encoding="utf-8")
    corpus = read_corpus("ordinary", tmp_path)
    assert corpus.speakers == ("precise", "watson")
    assert {clip.cut for clip in corpus.clips} == {"utterances"}
    assert [one.source for one in read_recordings(folder)] == ["babycry", "precise", "watson"]
    # As Excel writes it under Windows, with a kind that serd does not know.
    lines[0] = lines[0].replace("/", "\\")
    lines[1] = lines[1].replace("command", "song")
    manifest.write_bytes("\r\n".join([header, *lines]).encode("utf-8-sig"))
    corpus = read_corpus("ordinary", tmp_path)
    assert corpus.speakers == ("watson",)
    assert corpus.left_out == {"of the unknown kind 'song'": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,kind\nwatson/a.opus,read\n", "manifest.csv lacks the column language"),
        ("path;kind\nwatson/a.opus;read\n", "manifest.csv lacks the column path"),
        ("", "manifest.csv lacks the column path"),
        ("{header}\nwatson/a.opus,read\n", "manifest.csv, line 2: there are fewer values than"),
        ("{header}\na/b.opus,read,de,1,CC0,x,1\na/c.opus,read,de,1,CC0,x,zwei\n",
         "manifest.csv, line 3: duration_s is 'zwei', which is not a number"),
        ("{header}\n/etc/b.opus,read,de,1,CC0,x,1\n", "line 2: path is '/etc/b.opus', and not"),
        ("{header}\n../b.opus,read,de,1,CC0,x,1\n", "line 2: path is '../b.opus', and not SOURCE"),
        ("{header}\nb.opus,read,de,1,CC0,x,1\n", "line 2: path is 'b.opus', and not SOURCE/FILE"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_manifest_is_said(text: str, told: str, tmp_path: Path) -> None:
    header = "path,kind,language,speaker,licence,origin,duration_s"
    (tmp_path / "manifest.csv").write_text(text.format(header=header), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_recordings(tmp_path)
    assert told in str(caught.value)


def test_a_manifest_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes("path,kind\nMüller/a.opus,read\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"manifest\.csv is not UTF-8"):
        read_recordings(tmp_path)


def test_what_is_wrong_in_the_tables_of_crema_d_is_said(tmp_path: Path) -> None:
    touch(tmp_path / "crema_d", "1001_DFA_ANG_XX.wav")
    speakers, votes = (tmp_path / "crema_d" / name for name in ("speakers.csv", "voice_votes.csv"))
    speakers.write_text("speaker;sex\n1001;m\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"speakers\.csv lacks the column speaker"):
        read_corpus("crema_d", tmp_path)
    speakers.write_text("speaker,sex\n1001,m\n", encoding="utf-8")
    votes.write_text(
        "clip,anger,disgust,fear,happy,neutral,sad\n1001_DFA_ANG_XX,4,,0,0,1,0\n",
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=r"voice_votes\.csv, line 2: disgust is '', which is not"):
        read_corpus("crema_d", tmp_path)
    votes.write_text(
        "clip,anger,disgust,fear,happy,neutral,sad\n1001_DFA_ANG_XX,4,0,0,0,1,0\n",
        encoding="utf-8",
    )
    (clip,) = read_corpus("crema_d", tmp_path).clips
    assert clip.sex == "m"
    assert clip.votes is not None
    assert clip.votes["angry"] == 0.8


@pytest.mark.parametrize(
    ("label", "language"),
    [
        ("de", "de"),
        ("de_DE", "de"),
        ("zh-CN", "zh"),
        ("en (Mandarin accent)", "en (Mandarin accent)"),
        ("Us_En", "other"),
        ("dutch", "other"),
        ("multi", "other"),
    ],
)
def test_languages_are_read_without_their_countries(
    label: str, language: str, tmp_path: Path
) -> None:
    header = "path,kind,language,speaker,licence,origin,duration_s"
    lines = [f"watson/a.opus,read,{label},1,CC0,somewhere,1.5", "cry/b.opus,sound,-,2,CC0,x,1.0"]
    (tmp_path / "manifest.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    sound, speech = read_recordings(tmp_path)
    assert (speech.language, sound.language) == (language, "-")


def test_a_fold_that_does_not_exist_is_rejected() -> None:
    assert held_out("crema_d", fold=0) == frozenset()
    with pytest.raises(UsageError, match="folds 1 to 5, not 6"):
        held_out("crema_d", fold=6)
