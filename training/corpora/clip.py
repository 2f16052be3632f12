"""Clips, corpora, and duplicates."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64"})
"""Suffixes of audio files; other files in the folder of a corpus are ignored."""
UNKNOWN_SPEAKER = "unknown"
"""Speaker of clips where the corpus does not name one."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One recording of one acted utterance."""

    path: Path
    """The audio file."""
    corpus: str
    """Short name of the corpus, e.g. ``ravdess``."""
    speaker: str
    """Identifier of the speaker in the corpus; unique together with ``corpus``."""
    emotion: str
    """The acted emotion: one of serd's eight classes."""
    sex: str | None = None
    """``f``, ``m``, or None where the corpus does not say."""
    votes: dict[str, float] | None = None
    """Votes of listeners on the audio alone, as shares that sum to 1; None if there are none."""
    intensity: str | None = None
    """Intensity, in the corpus's own terms."""
    text: str | None = None
    """The corpus's own code for the sentence."""
    cut: Literal["whole", "utterances", "auto"] = "whole"
    """Whether the file is one utterance, or speech to be cut into utterances as the daemon does;
    ``auto``: cut if it is too long to be one."""
    key: str | None = None
    """Unique name within the corpus, if the file name is not unique."""

    @property
    def name(self) -> str:
        """The key, by default the file name without suffix."""
        return self.key or self.path.stem

    @property
    def id(self) -> str:
        """Name together with the corpus, unique over all corpora."""
        return f"{self.corpus}/{self.name}"

    @property
    def voice(self) -> str:
        """Speaker together with the corpus, unique over all corpora: ``ravdess/07``."""
        return f"{self.corpus}/{self.speaker}"


class Corpus(msgspec.Struct, frozen=True, kw_only=True):
    """The usable clips of one data set."""

    name: str
    """Short name: ``ravdess``."""
    title: str
    """The name given by its authors."""
    licence: str
    """Licence, in a few words."""
    source: str
    """Where it is published."""
    clips: tuple[Clip, ...]
    """In the order of their names."""
    left_out: dict[str, int] = {}
    """Numbers of files left out, by reason."""

    @property
    def speakers(self) -> tuple[str, ...]:
        """Every speaker once, in order."""
        return tuple(sorted({clip.speaker for clip in self.clips}))

    @property
    def knows_speakers(self) -> bool:
        """Whether the speaker of every clip is known."""
        return all(clip.speaker != UNKNOWN_SPEAKER for clip in self.clips)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes of the corpus, sorted."""
        return tuple(sorted({clip.emotion for clip in self.clips}))

    def without(self, unwanted: Mapping[str, str]) -> Corpus:
        """The corpus without some clips.

        Args:
            unwanted: Names of clips to leave out, with the reason.
        """
        counts = Counter(self.left_out)
        counts.update(reason for name, reason in unwanted.items() if name in self._names())
        return msgspec.structs.replace(
            self,
            clips=tuple(clip for clip in self.clips if clip.name not in unwanted),
            left_out=dict(counts),
        )

    def unique(self) -> Corpus:
        """The corpus with the first clip of each name; the others are counted.

        A corpus that was unpacked twice, or is present in two formats, has each clip twice.
        """
        first: dict[str, Clip] = {}
        for clip in self.clips:
            first.setdefault(clip.name, clip)
        counts = Counter(self.left_out)
        if surplus := len(self.clips) - len(first):
            counts["same name as another clip"] += surplus
        return msgspec.structs.replace(self, clips=tuple(first.values()), left_out=dict(counts))

    def of_classes(self, labels: Collection[str]) -> Corpus:
        """The corpus without the clips of classes that a model does not have."""
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
    """Clips to leave out because another file contains the same audio.

    Of files with the same label the first stays. Files with different labels are all left out,
    because it is unknown which label is right.

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
