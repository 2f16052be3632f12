"""SAVEE: 4 Englishmen, 120 sentences each, 7 emotions (Haq and Jackson, 2009).

The authors publish ``AudioData/SS/ENN.wav``: a folder for each speaker, then emotion (one or two
letters) and number of the sentence. Others pass it on as ``SS_ENN.wav`` in one folder. Both are
read; a clip is known as ``SS_ENN`` either way.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from training.corpora.clip import Clip, Corpus, audio_files

if TYPE_CHECKING:
    from pathlib import Path

EMOTION_BY_CODE = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
SPEAKERS = frozenset({"DC", "JE", "JK", "KL"})
_NAME = re.compile(r"(?:([A-Z]{2})_)?([a-z]{1,2})(\d\d)")


def read(root: Path) -> Corpus:
    """Read SAVEE below ``root``."""
    clips: dict[str, Clip] = {}
    left_out: Counter[str] = Counter()
    for path in audio_files(root):
        match = _NAME.fullmatch(path.stem)
        speaker = (match[1] or path.parent.name) if match else ""
        if match is None or speaker not in SPEAKERS:
            left_out["not named as SAVEE names its files"] += 1
            continue
        emotion, number = match[2], match[3]
        key = f"{speaker}_{emotion}{number}"
        if emotion not in EMOTION_BY_CODE:
            left_out["unknown emotion"] += 1
        elif key in clips:
            left_out["same name as another clip"] += 1
        else:
            clips[key] = Clip(
                path=path,
                key=key,
                corpus="savee",
                speaker=speaker,
                emotion=EMOTION_BY_CODE[emotion],
                sex="m",
                text=f"{emotion}{number}",
            )
    return Corpus(
        name="savee",
        title="SAVEE",
        licence="free for research, after registration with its authors",
        source="http://kahlan.eps.surrey.ac.uk/savee/",
        clips=tuple(clips[key] for key in sorted(clips)),
        left_out=dict(left_out),
    )
