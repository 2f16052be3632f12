"""Finding speech: voice activity detection and the cutting of a stream into utterances."""

from __future__ import annotations

from serd.speech.segmenter import Counters, Segmenter
from serd.speech.utterance import (
    Begin,
    Discard,
    End,
    Extend,
    SegmentEvent,
    Utterance,
    trim_to_speech,
)
from serd.speech.vad import Vad, make_vad

__all__ = [
    "Begin",
    "Counters",
    "Discard",
    "End",
    "Extend",
    "SegmentEvent",
    "Segmenter",
    "Utterance",
    "Vad",
    "make_vad",
    "trim_to_speech",
]
