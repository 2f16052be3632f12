"""Readers of speech corpora in the layout in which their authors publish them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from serd.errors import InputError, UsageError
from training.corpora import crema_d, emodb, folders, nemo, ordinary, ravdess, savee, tess
from training.corpora.clip import AUDIO_SUFFIXES, Clip, Corpus, content_duplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


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


READERS: Mapping[str, Callable[[Path], Corpus]] = {
    "ravdess": ravdess.read,
    "crema_d": crema_d.read,
    "emodb": emodb.read,
    "nemo": nemo.read,
    "ordinary": ordinary.read,
    "tess": tess.read,
    "savee": savee.read,
    "folders": folders.read,
}
"""A new corpus needs a module with ``read(root) -> Corpus`` and a line here; one with a folder for
each emotion needs neither, only a file ``corpus.yaml`` (:mod:`training.corpora.folders`)."""

_BESIDE = Path(__file__).parents[2].parent / "shared" / "corpora"


def corpora_root(chosen: str | Path | None = None) -> Path:
    """The folder that contains a folder for each corpus.

    Args:
        chosen: From the command line. Otherwise ``$SERD_CORPORA``, otherwise
            ``../shared/corpora`` seen from the repository.

    Raises:
        InputError: There is no such folder.
    """
    named = chosen or os.environ.get("SERD_CORPORA")
    root = Path(named).expanduser() if named else _BESIDE
    if not root.is_dir():
        raise InputError(
            f"There is no folder of corpora at {root}",
            remedy="name it with --corpora or $SERD_CORPORA; docs/training.md says what it holds",
        )
    return root


def read_corpus(name: str, root: Path) -> Corpus:
    """Read one corpus, with one clip of each name.

    Args:
        name: A key of :data:`READERS`, or the name of a folder with a ``corpus.yaml`` in it.
        root: The folder that holds the corpora. The corpus's own folder may be written with
            capitals, hyphens or underscores (``CREMA-D``).

    Raises:
        UsageError: There is no reader for that name.
        InputError: Its folder is missing or contains none of its clips.
    """
    folder = _folder(name, root)
    described = folder is not None and (folder / folders.DESCRIPTION).is_file()
    reader = READERS.get(name)
    if reader is None and not described:
        raise UsageError(
            f"Unknown corpus {name!r}",
            remedy=f"there are: {', '.join(READERS)}; and any folder with a {folders.DESCRIPTION}",
        )
    if folder is None:
        raise InputError(f"The corpus {name!r} has no folder in {root}")
    corpus = folders.read(folder, name) if reader is None else reader(folder)
    if not corpus.clips:
        raise InputError(f"{folder} holds no clip of {corpus.title}")
    return corpus.unique()


def corpus_folder(name: str, root: Path) -> Path:
    """The folder of a corpus.

    Raises:
        InputError: There is none.
    """
    folder = _folder(name, root)
    if folder is None:
        raise InputError(f"The corpus {name!r} has no folder in {root}")
    return folder


def _folder(name: str, root: Path) -> Path | None:
    folders = (entry for entry in sorted(root.iterdir()) if entry.is_dir())
    return next((entry for entry in folders if _key(entry.name) == _key(name)), None)


def read_corpora(names: Iterable[str], root: Path) -> dict[str, Corpus]:
    """Read several corpora; see :func:`read_corpus`."""
    return {name: read_corpus(name, root) for name in names}


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
