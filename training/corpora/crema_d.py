"""CREMA-D: 91 actors, 12 sentences, 6 emotions, judged by listeners (Cao et al., 2014).

Files are named ``SSSS_TTT_EMO_LV``: speaker, sentence, emotion, level (LO, MD, HI, XX). Beside
them may lie ``speakers.csv`` (speaker, age, sex; the authors' ``VideoDemographics.csv`` is read
too) and ``voice_votes.csv``: how many listeners heard which emotion in the voice alone.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from training.corpora.clip import Clip, Corpus, audio_files
from training.corpora.table import number, read_table

if TYPE_CHECKING:
    from pathlib import Path

EMOTION_BY_CODE = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_VOTE_COLUMNS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
}
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z0-9]{1,2})")

# Published three times as one recording under two labels; which one is right, nobody can say.
_CONTRADICTORY = {
    "1006_TIE_HAP_XX",
    "1006_TIE_NEU_XX",
    "1013_WSI_DIS_XX",
    "1013_WSI_SAD_XX",
    "1017_IWW_ANG_XX",
    "1017_IWW_FEA_XX",
}
_SILENT = {"1076_MTI_SAD_XX"}


def read(root: Path) -> Corpus:
    """Read CREMA-D below ``root``."""
    sexes, votes = _read_sexes(root), _read_votes(root)
    clips: list[Clip] = []
    left_out: Counter[str] = Counter()
    for path in audio_files(root):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            left_out["not named as CREMA-D names its files"] += 1
            continue
        speaker, sentence, emotion, level = match.groups()
        if emotion not in EMOTION_BY_CODE:
            left_out["unknown emotion"] += 1
        elif path.stem in _CONTRADICTORY:
            left_out["same audio under different labels"] += 1
        elif path.stem in _SILENT:
            left_out["silent"] += 1
        else:
            clips.append(
                Clip(
                    path=path,
                    corpus="crema_d",
                    speaker=speaker,
                    emotion=EMOTION_BY_CODE[emotion],
                    sex=sexes.get(speaker),
                    votes=votes.get(path.stem),
                    intensity=level,
                    text=sentence,
                )
            )
    return Corpus(
        name="crema_d",
        title="CREMA-D",
        licence="ODbL 1.0 / DbCL 1.0",
        source="https://github.com/CheyneyComputerScience/CREMA-D",
        clips=tuple(clips),
        left_out=dict(left_out),
    )


def _read_sexes(root: Path) -> dict[str, str]:
    for file, speaker, sex in (
        ("speakers.csv", "speaker", "sex"),
        ("VideoDemographics.csv", "ActorID", "Sex"),
    ):
        if (root / file).is_file():
            rows = read_table(root / file, (speaker, sex), lambda row: row)
            return {row[speaker]: row[sex][:1].lower() for row in rows}
    return {}


def _read_votes(root: Path) -> dict[str, dict[str, float]]:
    table = root / "voice_votes.csv"
    if not table.is_file():
        return {}

    def shares(row: dict[str, str]) -> tuple[str, dict[str, float]]:
        counts = {emotion: number(row, column, int) for column, emotion in _VOTE_COLUMNS.items()}
        total = sum(counts.values())
        return row["clip"], {name: count / total for name, count in counts.items() if total}

    found = read_table(table, ("clip", *_VOTE_COLUMNS), shares)
    return {clip: votes for clip, votes in found if votes}
