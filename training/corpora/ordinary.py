"""Ordinary speech: people who read, give commands or talk, without acting an emotion.

A folder for each source, and beside them ``manifest.csv`` with a line for each recording: ``path``,
``kind``, ``language``, ``speaker``, ``licence``, ``origin``, ``duration_s``. Speech has the kinds
:data:`SPEECH`; other sound (:data:`SOUND`) serves only to measure false alarms, and room responses
(``rir``) are neither.

For splits the sources stand in for speakers: not only voices must stay out of the test but also the
way in which a source was recorded, which a network learns just as readily.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from training.corpora.clip import Clip, Corpus
from training.corpora.table import number, read_table

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "manifest.csv"
SPEECH = frozenset({"read", "command", "talk"})
"""Kinds of recordings with speech."""
SOUND = frozenset({"sound", "music"})
"""Kinds without speech."""
_ROOM = "rir"
"""Kind of room responses."""
_COLUMNS = ("path", "kind", "language", "speaker", "licence", "origin", "duration_s")


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording of ordinary speech or sound; as a rule one line of the manifest."""

    path: Path
    source: str
    """Its publisher, by the name of its folder."""
    kind: str
    language: str
    """Without its country; ``other`` if the manifest does not name one, ``-`` without speech."""
    duration_s: float
    speaker: str = ""
    licence: str = ""
    origin: str = ""


def read_recordings(root: Path, kinds: frozenset[str] = SPEECH | SOUND) -> list[Recording]:
    """The recordings that the manifest names, in the order of their paths.

    Args:
        root: Folder of the corpus.
        kinds: Kinds to return.

    Raises:
        InputError: The manifest is missing or unreadable, lacks a column, or has a wrong line.
    """
    return sorted(
        (one for one in _read_manifest(root) if one.kind in kinds), key=lambda one: one.path
    )


def _read_manifest(root: Path) -> list[Recording]:
    return read_table(root / MANIFEST, _COLUMNS, lambda row: _recording(root, row))


def _recording(root: Path, row: dict[str, str]) -> Recording:
    # As it may have been written under Windows.
    path = PurePosixPath(row["path"].replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise ValueError(f"path is {row['path']!r}, and not SOURCE/FILE below this folder")
    return Recording(
        path=root / path,
        source=path.parts[0],
        kind=row["kind"],
        language=_language(row["language"]) if row["kind"] in SPEECH else "-",
        speaker=row["speaker"],
        licence=row["licence"],
        origin=row["origin"],
        duration_s=number(row, "duration_s", float),
    )


def _language(label: str) -> str:
    """A language without its country; ``other`` if the label does not name one.

    Some of the labels come from the names of files, and only those of the form ``de``, ``de-DE``,
    ``de_DE`` or ``en (Mandarin accent)`` name a language.
    """
    named = re.fullmatch(r"([a-z]{2})(?:[-_][A-Z]{2}|( \(.+\)))?", label)
    return f"{named[1]}{named[2] or ''}" if named else "other"


def read(root: Path) -> Corpus:
    """The ordinary speech below ``root`` as a corpus; each recording may hold many utterances."""
    everything = _read_manifest(root)
    recordings = sorted((one for one in everything if one.kind in SPEECH), key=lambda one: one.path)
    unknown = Counter(one.kind for one in everything if one.kind not in SPEECH | SOUND | {_ROOM})
    return Corpus(
        name="ordinary",
        title=f"Ordinary speech from {len({one.source for one in recordings})} sources",
        licence="by source: CC0, CC BY, public domain, Apache-2.0, MIT, CC BY-SA",
        source="docs/training.md",
        clips=tuple(
            Clip(
                path=one.path,
                corpus="ordinary",
                speaker=one.source,
                emotion="neutral",
                key=one.path.relative_to(root).as_posix(),
                cut="utterances",
            )
            for one in recordings
        ),
        left_out={f"of the unknown kind {kind!r}": count for kind, count in unknown.items()},
    )
