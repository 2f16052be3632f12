"""nEMO: Polish actors, six emotions (Christop, 2024).

Files lie in a folder for each speaker and, in it, one for each emotion: ``SPEAKER/EMOTION/*``.
There is no calm and no disgust.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from training.corpora.clip import Clip, Corpus, audio_files

if TYPE_CHECKING:
    from pathlib import Path

EMOTIONS = {
    "angry": "angry",
    "anger": "angry",
    "fearful": "fearful",
    "fear": "fearful",
    "happy": "happy",
    "happiness": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "sadness": "sad",
    "surprised": "surprised",
    "surprise": "surprised",
}
_WOMEN = frozenset({"EB0", "KD0", "MK0", "SM0"})


def read(root: Path) -> Corpus:
    """Read nEMO below ``root``."""
    clips: list[Clip] = []
    left_out: Counter[str] = Counter()
    for path in audio_files(root):
        emotion = EMOTIONS.get(path.parent.name)
        if emotion is None:
            left_out["not in a folder named by an emotion"] += 1
            continue
        speaker = path.parent.parent.name
        clips.append(
            Clip(
                path=path,
                corpus="nemo",
                speaker=speaker,
                emotion=emotion,
                sex="f" if speaker in _WOMEN else "m",
            )
        )
    return Corpus(
        name="nemo",
        title="nEMO",
        licence="CC BY-NC-SA 4.0",
        source="https://huggingface.co/datasets/amu-cai/nEMO",
        clips=tuple(clips),
        left_out=dict(left_out),
    )
