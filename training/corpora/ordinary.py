"""Ordinary speech: people who read, command or talk, and nobody acts an emotion.

A folder for each source, and beside them ``manifest.csv`` with a line for each recording: ``path``,
``kind``, ``language``, ``speaker``, ``licence``, ``origin``, ``duration_s``. Speech is of the kinds
:data:`SPEECH`; what is no speech (:data:`SOUND`) is for false alarms alone, and room responses
(``rir``) are neither.

For training the sources are this corpus's speakers: what must not cross from training to test here
is not only a voice but the way in which a source is recorded, which a network learns just as
readily.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import msgspec

from serd.errors import InputError
from training.corpora.clip import Clip, Corpus

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "manifest.csv"
SPEECH = frozenset({"read", "command", "talk"})
"""Kinds of recordings in which somebody speaks."""
SOUND = frozenset({"sound", "music"})
"""Kinds in which nobody does."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the manifest."""

    path: Path
    source: str
    """Folder of the recording: who published it."""
    kind: str
    language: str
    speaker: str
    licence: str
    origin: str
    duration_s: float


def read_recordings(root: Path, kinds: frozenset[str] = SPEECH | SOUND) -> list[Recording]:
    """The recordings that the manifest names, in the order of their paths.

    Args:
        root: Folder of the corpus.
        kinds: Those that are wanted.

    Raises:
        InputError: There is no manifest, it cannot be read, or a line of it is not as it must be.
    """
    file = root / MANIFEST
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            found = [_recording(root, row) for row in csv.DictReader(lines) if row["kind"] in kinds]
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror}") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} has a line without one of the columns that it must have"
        ) from error
    return sorted(found, key=lambda recording: recording.path)


def _recording(root: Path, row: dict[str, str]) -> Recording:
    return Recording(
        path=root / row["path"],
        source=row["path"].split("/", maxsplit=1)[0],
        kind=row["kind"],
        language=row["language"],
        speaker=row["speaker"],
        licence=row["licence"],
        origin=row["origin"],
        duration_s=float(row["duration_s"]),
    )


def read(root: Path) -> Corpus:
    """The ordinary speech below ``root`` as a corpus; each recording may hold many utterances."""
    recordings = read_recordings(root, SPEECH)
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
    )
