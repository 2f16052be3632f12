"""Readers of speech corpora in the layout in which their authors publish them."""

from __future__ import annotations

from training.corpora.clip import AUDIO_SUFFIXES, Clip, Corpus, content_duplicates
from training.corpora.readers import (
    READERS,
    corpora_root,
    corpus_folder,
    read_corpora,
    read_corpus,
)

__all__ = [
    "AUDIO_SUFFIXES",
    "READERS",
    "Clip",
    "Corpus",
    "content_duplicates",
    "corpora_root",
    "corpus_folder",
    "read_corpora",
    "read_corpus",
]
