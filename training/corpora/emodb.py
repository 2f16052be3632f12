"""EMO-DB: 10 German actors, 10 sentences, 7 emotions (Burkhardt et al., 2005).

Files are named ``SSTTTEV``: speaker, sentence, emotion (its German initial), version. Boredom is
none of serd's classes: its clips are counted and left out. Used to test across corpora only.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from training.corpora.clip import Clip, Corpus, audio_files

if TYPE_CHECKING:
    from pathlib import Path

EMOTION_BY_CODE = {
    "W": "angry",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
_NAME = re.compile(r"(\d\d)([a-z]\d\d)([A-Z])([a-z])")
_WOMEN = {"08", "09", "13", "14", "16"}


def read(root: Path) -> Corpus:
    """Read EMO-DB below ``root``."""
    clips: list[Clip] = []
    left_out: Counter[str] = Counter()
    for path in audio_files(root):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            left_out["not named as EMO-DB names its files"] += 1
            continue
        speaker, sentence, emotion, _ = match.groups()
        if emotion == "L":
            left_out["boredom: not one of the eight classes"] += 1
        elif emotion not in EMOTION_BY_CODE:
            left_out["unknown emotion"] += 1
        else:
            clips.append(
                Clip(
                    path=path,
                    corpus="emodb",
                    speaker=speaker,
                    emotion=EMOTION_BY_CODE[emotion],
                    sex="f" if speaker in _WOMEN else "m",
                    text=sentence,
                )
            )
    return Corpus(
        name="emodb",
        title="EMO-DB",
        licence="free for research",
        source="http://emodb.bilderbar.info",
        clips=tuple(clips),
        left_out=dict(left_out),
    )
