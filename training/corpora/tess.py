"""TESS: 2 actresses, 200 words, 7 emotions (Pichora-Fuller and Dupuis, 2020).

Files are named ``SSS_WORD_EMOTION``: actress (OAF, aged 64, or YAF, aged 26), the word said in
"Say the word ...", emotion (``ps`` is pleasant surprise). One file is published as ``OA_...``.
Copies found elsewhere hold the whole set twice, one inside the other: a name counts once.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from training.corpora.clip import Clip, Corpus, audio_files

if TYPE_CHECKING:
    from pathlib import Path

EMOTION_BY_CODE = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",
    "sad": "sad",
}
_NAME = re.compile(r"(OAF?|YAF)_([A-Za-z]+)_([A-Za-z]+)")


def read(root: Path) -> Corpus:
    """Read TESS below ``root``, whatever its folders are called."""
    clips: dict[str, Clip] = {}
    left_out: Counter[str] = Counter()
    for path in audio_files(root):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            left_out["not named as TESS names its files"] += 1
            continue
        actress, word, emotion = match.groups()
        if emotion.lower() not in EMOTION_BY_CODE:
            left_out["unknown emotion"] += 1
        elif path.stem in clips:
            left_out["same name as another clip"] += 1
        else:
            clips[path.stem] = Clip(
                path=path,
                corpus="tess",
                speaker="OAF" if actress == "OA" else actress,
                emotion=EMOTION_BY_CODE[emotion.lower()],
                sex="f",
                text=word.lower(),
            )
    return Corpus(
        name="tess",
        title="TESS",
        licence="CC BY-NC-ND 4.0",
        source="https://doi.org/10.5683/SP2/E8H2MF",
        clips=tuple(clips.values()),
        left_out=dict(left_out),
    )
