"""A clip, a corpus, and which clips say the same thing twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64"})
"""File names that a reader takes for speech; everything else in a corpus's folder is left alone."""
UNKNOWN_SPEAKER = "unknown"
"""Stands for whoever speaks where the corpus does not say."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One recording of one acted utterance."""

    path: Path
    """The audio file."""
    corpus: str
    """Short name of the corpus, e.g. ``ravdess``."""
    speaker: str
    """Who speaks, as the corpus numbers them; unique together with ``corpus``."""
    emotion: str
    """What the actor was asked for: one of serd's eight classes."""
    sex: str | None = None
    """``f``, ``m``, or None where the corpus does not say."""
    votes: dict[str, float] | None = None
    """What listeners heard in the voice alone, as shares that sum to 1; None where nobody asked."""
    intensity: str | None = None
    """The corpus's own word for how strongly it was acted."""
    text: str | None = None
    """The corpus's own code for the sentence."""
    cut: Literal["whole", "utterances", "auto"] = "whole"
    """Whether the file is one utterance, or speech to be cut into utterances as the daemon does;
    ``auto``: cut if it is too long to be one."""
    key: str | None = None
    """What tells the clip from all others of its corpus, where the file's name does not."""

    @property
    def name(self) -> str:
        """The clip's key: as a rule the file's name without its ending."""
        return self.key or self.path.stem

    @property
    def voice(self) -> str:
        """Speaker together with the corpus, unique over all corpora: ``ravdess/07``."""
        return f"{self.corpus}/{self.speaker}"


class Corpus(msgspec.Struct, frozen=True, kw_only=True):
    """The usable clips of one data set."""

    name: str
    """Short name: ``ravdess``."""
    title: str
    """The name that its authors gave it."""
    licence: str
    """Under which it is published, in a few words."""
    source: str
    """Where its authors publish it."""
    clips: tuple[Clip, ...]
    """In the order of their names."""
    left_out: dict[str, int] = {}
    """How many files were not taken, by reason."""

    @property
    def speakers(self) -> tuple[str, ...]:
        """Every speaker once, in order."""
        return tuple(sorted({clip.speaker for clip in self.clips}))

    @property
    def knows_speakers(self) -> bool:
        """Whether it is known of every clip who speaks."""
        return all(clip.speaker != UNKNOWN_SPEAKER for clip in self.clips)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes that the corpus has, in no particular order of merit: sorted."""
        return tuple(sorted({clip.emotion for clip in self.clips}))

    def without(self, unwanted: Mapping[str, str]) -> Corpus:
        """The corpus less some clips.

        Args:
            unwanted: For each name of a clip to leave out, the reason under which it is counted.
        """
        counts = Counter(self.left_out)
        counts.update(reason for name, reason in unwanted.items() if name in self._names())
        return msgspec.structs.replace(
            self,
            clips=tuple(clip for clip in self.clips if clip.name not in unwanted),
            left_out=dict(counts),
        )

    def unique(self) -> Corpus:
        """The corpus with one clip of each name, the first; the others are counted.

        A corpus that is unpacked twice, one copy inside the other, or that lies there in two
        formats, has each clip twice.
        """
        first: dict[str, Clip] = {}
        for clip in self.clips:
            first.setdefault(clip.name, clip)
        counts = Counter(self.left_out)
        if surplus := len(self.clips) - len(first):
            counts["same name as another clip"] += surplus
        return msgspec.structs.replace(self, clips=tuple(first.values()), left_out=dict(counts))

    def of_classes(self, labels: Collection[str]) -> Corpus:
        """The corpus less the clips of classes that a model does not have."""
        unknown = {clip.name: clip.emotion for clip in self.clips if clip.emotion not in labels}
        return self.without(
            {name: f"{emotion}: not a class of this model" for name, emotion in unknown.items()}
        )

    def _names(self) -> frozenset[str]:
        return frozenset(clip.name for clip in self.clips)


def audio_files(root: Path) -> list[Path]:
    """Every audio file below ``root``, in the order of their names."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(found, key=lambda path: (path.name, path.as_posix()))


def content_duplicates(clips: Iterable[Clip], digests: Mapping[str, str]) -> dict[str, str]:
    """Which clips must go because another file holds the very same audio.

    Of files with one label the first stays. Files that carry different labels all go, because
    nobody can say which label is right.

    Args:
        clips: Clips of one corpus.
        digests: A hash of the decoded audio by the clip's name.

    Returns:
        Name of a clip to leave out -> reason.
    """
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.name in digests:
            groups[digests[clip.name]].append(clip)
    unwanted: dict[str, str] = {}
    for group in groups.values():
        ordered = sorted(group, key=lambda clip: clip.name)
        if len({clip.emotion for clip in ordered}) > 1:
            unwanted |= {clip.name: "same audio under different labels" for clip in ordered}
        else:
            unwanted |= {clip.name: "same audio as another clip" for clip in ordered[1:]}
    return unwanted
