"""RAVDESS: 24 actors, 2 sentences, 8 emotions (Livingstone and Russo, 2018).

Files are named ``MM-VV-EE-II-SS-RR-AA``: modality (03 = audio only), vocal channel (01 = speech,
02 = song), emotion, intensity, sentence, repetition, actor. Odd actors are men.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from training.corpora.clip import Clip, Corpus, audio_files

if TYPE_CHECKING:
    from pathlib import Path

EMOTION_BY_CODE = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")

# Actor 7's two repetitions of this sentence are one recording, published under both names.
_REPEATED = {"03-01-03-01-02-02-07"}


def read(root: Path) -> Corpus:
    """Read the speech of RAVDESS below ``root`` (``Actor_XX/*`` or any other nesting)."""
    clips: list[Clip] = []
    left_out: Counter[str] = Counter()
    for path in audio_files(root):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            left_out["not named as RAVDESS names its files"] += 1
            continue
        modality, channel, emotion, intensity, sentence, _, actor = match.groups()
        if modality != "03" or channel != "01":
            left_out["song or video, not speech"] += 1
        elif emotion not in EMOTION_BY_CODE:
            left_out["unknown emotion"] += 1
        elif path.stem in _REPEATED:
            left_out["same audio as another clip"] += 1
        else:
            clips.append(
                Clip(
                    path=path,
                    corpus="ravdess",
                    speaker=actor,
                    emotion=EMOTION_BY_CODE[emotion],
                    sex="m" if int(actor) % 2 else "f",
                    intensity={"01": "normal", "02": "strong"}.get(intensity),
                    text=sentence,
                )
            )
    return Corpus(
        name="ravdess",
        title="RAVDESS (speech)",
        licence="CC BY-NC-SA 4.0",
        source="https://zenodo.org/records/1188976",
        clips=tuple(clips),
        left_out=dict(left_out),
    )
