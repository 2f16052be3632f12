r"""Anybody's recordings: a folder for each emotion.

::

    mine/angry/one.wav              nobody knows who speaks
    mine/angry/anna/one.wav         anna speaks
    mine/anna/angry/one.wav         likewise

A folder whose name is a word for an emotion says what is felt. Other folders between the corpus
and the file say who speaks. ``corpus.yaml`` in the corpus's folder may say it otherwise::

    title: My own voices
    licence: mine
    source: the kitchen
    speaker: '(?P<speaker>[a-z]+)_\d+'   # searched for in the path below the corpus's folder
    sex: {anna: f, bert: m}
    emotions: {wuetend: angry, boredom: null}   # beside the words that are known anyway

Names are compared in Unicode's composed form: macOS writes the letters of a folder's name and their
accents one after the other. Of one recording in several formats (``one.wav``, ``one.mp3``) one is
taken.

Where nobody knows who speaks, no split can keep speakers apart. Such a corpus can be tested on,
not trained on.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from serd.errors import ConfigError
from serd.model.emotions import EMOTIONS
from serd.recordings import SUFFIXES
from training.corpora.clip import UNKNOWN_SPEAKER, Clip, Corpus
from training.document import read_document

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTION = "corpus.yaml"
"""The file in a corpus's folder that describes it; all of it may be left out."""

_WORDS = {
    "angry": "angry anger ang wütend wuetend wut zornig ärger ärgerlich",
    "calm": "calm ruhig gelassen",
    "disgust": "disgust disgusted dis ekel angeekelt",
    "fearful": "fearful fear afraid scared fea ängstlich aengstlich angst",
    "happy": "happy happiness joy joyful hap fröhlich froehlich froh freude glücklich",
    "neutral": "neutral neu",
    "sad": "sad sadness traurig trauer",
    "surprised": (
        "surprised surprise ps sur pleasant_surprise pleasant_surprised überrascht ueberrascht"
    ),
}
WORDS = {word: emotion for emotion, words in _WORDS.items() for word in words.split()}
"""Names of folders, in small letters with underscores, and the class that each stands for."""

_LOSSLESS = (".wav", ".flac", ".wave", ".aif", ".aiff", ".w64", ".caf")
"""Endings that are preferred where a recording is there in several formats."""

Emotion = Annotated[str, Meta(pattern=f"^({'|'.join(EMOTIONS)})$")]


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``corpus.yaml`` may say."""

    title: str | None = None
    """The corpus's name for people; otherwise that of its folder."""
    licence: str = "not stated"
    source: str = "not stated"
    speaker: str | None = None
    """A regular expression with a group ``speaker``, searched for in the path of a file below the
    corpus's folder; a file that it does not fit has no known speaker."""
    sex: dict[str, Literal["f", "m"]] = {}
    """By speaker."""
    emotions: dict[str, Emotion | None] = {}
    """Folder -> class, or null for what is to be left out."""


def read(root: Path, name: str = "folders") -> Corpus:
    """Read a corpus with a folder for each emotion.

    Args:
        root: Its folder.
        name: What it is called.

    Raises:
        ConfigError: Its ``corpus.yaml`` cannot be understood.
    """
    described = _describe(root / DESCRIPTION)
    words: dict[str, str | None] = {**WORDS}
    words |= {_word(folder): emotion for folder, emotion in described.emotions.items()}
    sexes = {composed(speaker): sex for speaker, sex in described.sex.items()}
    pattern = _pattern(root / DESCRIPTION, described.speaker)
    clips: list[Clip] = []
    left_out: Counter[str] = Counter()
    for path in recordings(root):
        inside = PurePosixPath(composed(path.relative_to(root).as_posix()))
        folders = inside.parts[:-1]
        place = next((at for at, part in enumerate(folders) if _word(part) in words), None)
        emotion = None if place is None else words[_word(folders[place])]
        if place is None or emotion is None:
            unknown = folders[0 if place is None else place] if folders else "no folder"
            left_out[f"unknown emotion ({unknown})"] += 1
            continue
        if pattern is not None:
            match = pattern.search(inside.as_posix())
            speaker = match["speaker"] if match else ""
        else:
            speaker = "-".join(folders[:place] + folders[place + 1 :])
        clips.append(
            Clip(
                path=path,
                # Without the ending: one.wav and one.mp3 are one recording.
                key=inside.with_suffix("").as_posix(),
                corpus=name,
                speaker=speaker or UNKNOWN_SPEAKER,
                emotion=emotion,
                sex=sexes.get(speaker),
            )
        )
    return Corpus(
        name=name,
        title=described.title or root.name,
        licence=described.licence,
        source=described.source,
        clips=tuple(clips),
        left_out=dict(left_out),
    ).unique()


def recordings(root: Path) -> list[Path]:
    """Every recording below ``root``: of each folder in order, the better of two formats first."""
    found = (
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )

    def order(path: Path) -> tuple[str, str, bool, str]:
        lossless = path.suffix.lower() in _LOSSLESS
        return composed(path.parent.as_posix()), composed(path.stem), not lossless, path.suffix

    return sorted(found, key=order)


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", text)


def _describe(file: Path) -> Description:
    if not file.is_file():
        return Description()
    return read_document(file, Description, "a description of a corpus")


def _pattern(file: Path, speaker: str | None) -> re.Pattern[str] | None:
    if speaker is None:
        return None
    try:
        pattern = re.compile(composed(speaker))
    except re.error as error:
        raise ConfigError(
            f"{_at(file)}: speaker is {speaker!r}, which is no regular expression: {error}",
            remedy="for names of folders leave speaker out; brackets are written \\( and \\)",
        ) from error
    if "speaker" not in pattern.groupindex:
        raise ConfigError(
            f"{_at(file)}: speaker is {speaker!r}, which has no group of that name",
            remedy="write (?P<speaker>...) around what names the speaker",
        )
    return pattern


def _at(file: Path) -> str:
    """File and line of the key ``speaker``."""
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    found = [number for number, line in enumerate(lines, 1) if line.startswith("speaker")]
    return f"{file}, line {found[0]}" if found else str(file)


def _word(folder: str) -> str:
    return composed(folder).strip().lower().replace(" ", "_").replace("-", "_")
